"""Handles of presets on a hub, and the folder that the hub's own client brings them to."""

import importlib
from pathlib import Path
from typing import Any

from keras_cacnet.wording import did_you_mean

HUBS = {
    "kaggle": ("kagglehub", "kaggle://OWNER/MODEL/keras/VARIANT", (4, 5)),
    "hf": ("huggingface_hub", "hf://OWNER/MODEL", (2,)),
}
"""Of every scheme the client's package, the form of a handle, and how many parts one has (Kaggle's may end in a
version)."""


def is_handle(preset: str) -> bool:
    """Tell whether a preset is named by a handle on a hub, and not by a path.

    Example:
        >>> is_handle("hf://someone/streets"), is_handle("runs/streets")
        (True, False)
    """
    return "://" in preset


def fetched(handle: str) -> Path:
    """Have a hub's client download a preset; what is in its cache already is not downloaded again.

    Args:
        handle: `"kaggle://OWNER/MODEL/keras/VARIANT"`, with or without `/VERSION`, or `"hf://OWNER/MODEL"`.

    Returns:
        The folder on this machine.

    Raises:
        ValueError: no such hub, or a handle of another form.
        ImportError: the hub's client is not installed; the message names it.
        FileNotFoundError: the client cannot get it; the message has its reason.

    Example:
        >>> fetched("hf://streets")
        Traceback (most recent call last):
        ValueError: hf://streets: a handle there is hf://OWNER/MODEL
    """
    scheme, _, name = handle.partition("://")
    if scheme not in HUBS:
        known = ", ".join(f"{hub}://" for hub in HUBS)
        raise ValueError(f"{handle}: presets are fetched from {known}{did_you_mean(scheme, HUBS)}")
    package, form, lengths = HUBS[scheme]
    parts = name.split("/")
    if len(parts) not in lengths or not all(parts):
        raise ValueError(f"{handle}: a handle there is {form}")
    try:
        client = importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{handle} needs the package {package} ({error}): pip install {package}") from error
    try:
        return Path(_download(scheme, client, name))
    except Exception as error:
        # Whatever a client raises of networks, names and rights.
        reason = next(iter(f"{type(error).__name__}: {error}".splitlines()))
        raise FileNotFoundError(f"{handle} cannot be fetched by {package}: {reason}") from error


def _download(scheme: str, client: Any, name: str) -> str:
    return client.model_download(name) if scheme == "kaggle" else client.snapshot_download(repo_id=name)
