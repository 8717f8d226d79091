"""The heads that stand on a backbone: CaC-Net's, the FCN's, and Table 7's competitors, each as a checked value."""

from keras_cacnet.models.heads.apcnet import APCHead
from keras_cacnet.models.heads.base import HEAD_LAYERS, Head, HeadContext
from keras_cacnet.models.heads.cacnet import CaCHead
from keras_cacnet.models.heads.dmnet import DMHead
from keras_cacnet.models.heads.encnet import EncHead
from keras_cacnet.models.heads.fcn import FCNHead
from keras_cacnet.models.heads.pspnet import PSPHead
from keras_cacnet.wording import did_you_mean

HEADS: dict[str, type[Head]] = {
    "cacnet": CaCHead,
    "fcn": FCNHead,
    "apcnet": APCHead,
    "dmnet": DMHead,
    "encnet": EncHead,
    "pspnet": PSPHead,
}
"""The heads that go by name, with their own default context."""

__all__ = [
    "HEADS",
    "HEAD_LAYERS",
    "APCHead",
    "CaCHead",
    "DMHead",
    "EncHead",
    "FCNHead",
    "Head",
    "HeadContext",
    "PSPHead",
    "head_of",
]


def head_of(head: str | Head) -> Head:
    """Find a head by its name, or take the one that is given.

    Args:
        head: one of `HEADS`, or a `Head`.

    Returns:
        The head; by name, with its default settings.

    Raises:
        ValueError: an unknown name, or something that is no head; the message has the known names.

    Example:
        >>> head_of("fcn")
        FCNHead(channels=512)
    """
    if isinstance(head, Head):
        return head
    if isinstance(head, str) and head in HEADS:
        return HEADS[head]()
    raise ValueError(
        f"there is no head {head!r}{did_you_mean(head, HEADS)}; give one of {', '.join(HEADS)}, or an instance of Head"
    )


def __dir__() -> list[str]:
    return sorted(__all__)
