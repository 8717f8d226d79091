"""Handles of presets on a hub, against stand-ins for the hubs' clients."""

import sys
import types

import pytest

from keras_cacnet.models.hubs import fetched


@pytest.mark.parametrize(
    ("handle", "told"),
    [
        ("s3://someone/coast", r"presets are fetched from kaggle://, hf://"),
        ("kagle://someone/coast", r"did you mean kaggle\?"),
        ("kaggle://someone/coast", r"a handle there is kaggle://OWNER/MODEL/keras/VARIANT"),
        ("kaggle://a/b/keras/c/1/2", r"a handle there is kaggle"),
        ("hf://coast", r"a handle there is hf://OWNER/MODEL"),
        ("hf://someone/", r"a handle there is hf://OWNER/MODEL"),
    ],
)
def test_other_handles_are_refused_before_a_client_is_asked(handle, told):
    with pytest.raises(ValueError, match=told):
        fetched(handle)


@pytest.mark.parametrize(
    ("handle", "package"), [("hf://someone/coast", "huggingface_hub"), ("kaggle://a/b/keras/c/2", "kagglehub")]
)
def test_a_client_that_is_not_installed_is_named(monkeypatch, handle, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{handle} needs the package {package} .*: pip install {package}"):
        fetched(handle)


@pytest.mark.parametrize(
    ("handle", "package"), [("hf://someone/coast", "huggingface_hub"), ("kaggle://a/b/keras/c/2", "kagglehub")]
)
def test_the_reason_of_a_client_is_in_the_message(monkeypatch, handle, package):
    def fails(*_, **__):
        raise PermissionError("403: gated\nask its owner")

    client = types.SimpleNamespace(model_download=fails, snapshot_download=fails)
    monkeypatch.setitem(sys.modules, package, client)
    told = f"{handle} cannot be fetched by {package}: PermissionError: 403: gated$"
    with pytest.raises(FileNotFoundError, match=told):
        fetched(handle)


def test_the_functions_are_those_that_the_clients_have():
    kagglehub, huggingface_hub = (pytest.importorskip(name) for name in ("kagglehub", "huggingface_hub"))
    assert "handle" in kagglehub.model_download.__code__.co_varnames
    assert callable(huggingface_hub.snapshot_download)
