"""The heads that stand on a backbone: CaC-Net's, the FCN's, and Table 7's competitors, each as a checked value."""

import difflib

from keras_cacnet.models.heads.apcnet import APCHead
from keras_cacnet.models.heads.base import HEAD_LAYERS, Head, Settings
from keras_cacnet.models.heads.cacnet import CaCHead
from keras_cacnet.models.heads.dmnet import DMHead
from keras_cacnet.models.heads.encnet import EncHead
from keras_cacnet.models.heads.fcn import FCNHead
from keras_cacnet.models.heads.pspnet import PSPHead

HEADS: dict[str, type[Head]] = {
    "cacnet": CaCHead,
    "fcn": FCNHead,
    "apcnet": APCHead,
    "dmnet": DMHead,
    "encnet": EncHead,
    "pspnet": PSPHead,
}
"""The heads that go by name, with their own default settings."""

__all__ = [
    "HEADS",
    "HEAD_LAYERS",
    "APCHead",
    "CaCHead",
    "DMHead",
    "EncHead",
    "FCNHead",
    "Head",
    "PSPHead",
    "Settings",
    "checked_head",
]


def checked_head(head: str | Head) -> Head:
    """A head by its name, or the one that is given.

    Args:
        head: one of `HEADS`, or a `Head`.

    Returns:
        The head; by name, with its default settings.

    Raises:
        ValueError: an unknown name, or something that is no head; the message has the known names.

    Example:
        >>> checked_head("fcn")
        FCNHead(channels=512)
    """
    if isinstance(head, Head):
        return head
    if head in HEADS:
        return HEADS[head]()
    near = difflib.get_close_matches(str(head).lower(), HEADS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"There is no head {head!r}.{hint} Give one of {', '.join(HEADS)}, or an instance of Head.")
