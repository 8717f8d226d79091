"""What an experiment is made of: network, data augmentation and schedule, as one checked value."""

from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from keras_cacnet.models.heads.cacnet import require_se_loss_weight
from keras_cacnet.models.heads.modules import ONE_SIZE, REWEIGHTINGS, require_input_size


class Origin(NamedTuple):
    """Who chose the value of a setting: the paper, or we where it is silent; and where, or why."""

    whose: str
    where: str

    def __str__(self) -> str:
        return f"{self.whose}: {self.where}"


def paper(where: str) -> Origin:
    """A value that the paper gives.

    Example:
        >>> str(paper("Table 3"))
        'paper: Table 3'
    """
    return Origin("paper", where)


def ours(why: str) -> Origin:
    """A value that the paper does not give, with the reason for it."""
    return Origin("ours", why)


def _setting(default: Any, text: str, origin: Origin) -> Any:
    return field(default=default, metadata={"help": text, "origin": origin})


PRECISIONS = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
    "float64": "float64",
}
"""The precisions of a recipe, each with Keras' dtype policy; weights are float32 in half precision too."""

_SCHEDULE = paper("Section 4.1, Training Setting")
_NETWORK = paper("Section 4.1, Network Structure")
_ENCODING = ours("PyTorch-Encoding's; the paper does not say")


@dataclass(frozen=True)
class Recipe:
    """The settings of one training run; the defaults are the paper's for PASCAL Context with ResNet-50.

    Only the ImageNet weights are left out of them, which have to be fetched. Every field says what it is and who
    chose its default, see `origin`; `keras_cacnet.experiments` has a recipe for every experiment of the paper.

    Raises:
        ValueError: a value of the wrong type or outside its range; the message names the field and the value.

    Example:
        >>> Recipe(crop_size=256, epochs=30).learning_rate
        0.001

    Reference:
        Section 4.1 of the CaC-Net paper.
    """

    split: str = _setting("train", "split to train on", paper("Sections 4.2 to 4.4"))
    validation_split: str | None = _setting(
        "val", "split scored between epochs, where there is one; or none", ours("the paper tells of the end alone")
    )
    backbone: str = _setting("resnet50", "name of the backbone", paper("Tables 1 and 8 to 10"))
    weights: str | None = _setting(None, "weights of the backbone: imagenet, a local path, or none", _NETWORK)
    output_stride: int = _setting(8, "image size over feature size: 8, 16 or 32", _NETWORK)
    head_channels: int = _setting(
        512, "channels of reduction, heads and pooled branch", ours("what the sums of the paper's Table 7 ask for")
    )
    num_heads: int = _setting(
        2, "number of heads; 0 with global_pooling=false is the FCN baseline", paper("Section 3.3, Table 3")
    )
    kernel_sizes: tuple[int, ...] = _setting((3,), "kernel size of all heads, or one per head", paper("Table 4"))
    dilation_rates: tuple[int, ...] = _setting((1, 2, 3), "dilation rates of every head", paper("Table 5"))
    reweighting: str = _setting("cac", f"what stands in the heads: {', '.join(REWEIGHTINGS)}", paper("Table 6"))
    se_loss_weight: float = _setting(
        0.0, "factor of EncNet's semantic encoding loss, with reweighting=enc", ours("Table 6 does not tell of it")
    )
    global_pooling: bool = _setting(True, "the pooled branch", paper("Section 3.3, Table 1"))
    auxiliary_weight: float = _setting(0.2, "factor of the auxiliary loss", _ENCODING)
    dropout: float = _setting(0.1, "dropout before the classifiers", _ENCODING)
    crop_size: int = _setting(512, "side of the training crops, in pixels", _SCHEDULE)
    batch_size: int = _setting(16, "crops a step", _SCHEDULE)
    epochs: int = _setting(120, "passes over the training images", _SCHEDULE)
    learning_rate: float = _setting(0.001, "initial learning rate of the backbone", _SCHEDULE)
    head_factor: float = _setting(10.0, "learning rate of everything but the backbone over the backbone's", _ENCODING)
    momentum: float = _setting(0.9, "momentum of SGD", _SCHEDULE)
    weight_decay: float = _setting(1e-4, "L2 weight decay, inside the momentum", _SCHEDULE)
    poly_power: float = _setting(0.9, "exponent of the poly learning-rate policy", _SCHEDULE)
    scale_min: float = _setting(0.5, "smallest random scale", _SCHEDULE)
    scale_max: float = _setting(2.0, "largest random scale", _SCHEDULE)
    flip: bool = _setting(True, "random horizontal flips", _SCHEDULE)
    precision: str = _setting(
        "float32",
        f"what the network computes in: {', '.join(PRECISIONS)}; float64 is for comparisons",
        ours("the paper does not say"),
    )
    seed: int = _setting(0, "seed of weights, order and augmentation", ours("any will do"))
    validate_every: int = _setting(1, "epochs between scores on the validation images", ours("for the curve"))

    def __post_init__(self) -> None:
        for entry in fields(self):
            if isinstance(value := getattr(self, entry.name), list):
                object.__setattr__(self, entry.name, tuple(value))
            self._require_type(entry.name)
        for name in ("head_channels", "crop_size", "batch_size", "epochs", "validate_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "head_factor", "poly_power", "scale_min"):
            self._require(name, 0 < getattr(self, name) < float("inf"), "a positive number")
        for name in ("num_heads", "auxiliary_weight", "weight_decay", "seed"):
            self._require(name, 0 <= getattr(self, name) < float("inf"), "0 or more")
        for name in ("momentum", "dropout"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("kernel_sizes", "dilation_rates"):
            self._require(name, all(number >= 1 for number in getattr(self, name)), "numbers of at least 1")
        self._require("scale_max", self.scale_min <= self.scale_max < float("inf"), f"from scale_min={self.scale_min}")
        self._require("output_stride", self.output_stride in (8, 16, 32), "8, 16 or 32")
        self._require("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        require_input_size(self.reweighting, self.input_size)
        require_se_loss_weight(self.se_loss_weight, self.reweighting, self.num_heads)
        self._require("kernel_sizes", len(self.kernel_sizes) in (1, self.num_heads), "one, or one per head")
        if self.batch_size == 1 and self.global_pooling:
            raise ValueError(
                "batch_size=1 cannot train the pooled branch, whose batch norm sees one value per image: "
                "take a batch_size of at least 2, or global_pooling=False"
            )

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r}")

    def _require_type(self, name: str) -> None:
        value, kind = getattr(self, name), setting_kind(name)
        values, wanted = ((value,), kind) if kind is not tuple else (value, int)
        # A bool is an int to Python, and an int will do for a float.
        fits = kind is not tuple or (isinstance(value, tuple) and value)
        allowed = (int, float) if wanted is float else wanted
        fits = fits and all(isinstance(one, allowed) and isinstance(one, bool) == (wanted is bool) for one in values)
        if not fits and not (value is None and may_be_none(name)):
            raise ValueError(f"{name} must be {KINDS[kind]}, got {value!r}")

    def network_arguments(self) -> dict[str, Any]:
        """The arguments of `CaCNet` in this recipe, but for the number of classes."""
        names = (
            *("backbone", "weights", "output_stride", "head_channels", "num_heads", "dilation_rates"),
            *("reweighting", "se_loss_weight", "global_pooling", "auxiliary_weight", "dropout"),
        )
        sizes = self.kernel_sizes if len(self.kernel_sizes) == self.num_heads else self.kernel_sizes[0]
        return {
            **{name: getattr(self, name) for name in names},
            "kernel_sizes": sizes,
            "input_size": self.input_size,
            "dtype": self.dtype_policy,
        }

    @property
    def dtype_policy(self) -> str:
        """The name of Keras' dtype policy for this precision.

        Example:
            >>> Recipe().dtype_policy, Recipe(precision="bfloat16").dtype_policy
            ('float32', 'mixed_bfloat16')
        """
        return PRECISIONS[self.precision]

    @property
    def input_size(self) -> int | None:
        """The one size that images need to have, the crops'; None where the network takes any."""
        return self.crop_size if self.reweighting in ONE_SIZE else None

    def to_json(self) -> dict[str, Any]:
        """The recipe as values that JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Recipe":
        """The recipe that `to_json` wrote.

        Raises:
            ValueError: a field that no recipe has.
        """
        known = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"a recipe has no {', '.join(unknown)}; its fields are {', '.join(sorted(known))}")
        return cls(**values)


KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a name",
    tuple: "whole numbers, separated by commas",
}
"""The types of settings, in words."""


def origin(name: str) -> Origin:
    """Who chose the default of a setting.

    Example:
        >>> origin("dropout").whose, origin("poly_power").whose
        ('ours', 'paper')
    """
    return next(entry for entry in fields(Recipe) if entry.name == name).metadata["origin"]


def setting_kind(name: str) -> type:
    """The type of a setting: int, float, bool, str or tuple (of int).

    Example:
        >>> setting_kind("epochs"), setting_kind("weights"), setting_kind("kernel_sizes")
        (<class 'int'>, <class 'str'>, <class 'tuple'>)
    """
    hint = _hints()[name]
    return get_origin(hint) if get_origin(hint) is tuple else (*get_args(hint), hint)[0]


def may_be_none(name: str) -> bool:
    """Whether a setting can be left out.

    Example:
        >>> may_be_none("validation_split"), may_be_none("split")
        (True, False)
    """
    return type(None) in get_args(_hints()[name])


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Recipe)
