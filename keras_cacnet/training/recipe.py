"""What a run is made of: network, data augmentation and schedule, as one checked value, in Python and as KEY=VALUE."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from keras_cacnet.models.settings import (
    FREEZE,
    ONE_SIZE,
    REWEIGHTINGS,
    WITHOUT_KERNELS,
    require_input_size,
    require_loss_stride,
    require_se_loss_weight,
)
from keras_cacnet.wording import did_you_mean


class Origin(NamedTuple):
    """Who chose the value of a setting, the paper or, where it is silent, this project; and where, or why."""

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

CACHED_DTYPES = ("float16", "float32", "float64")
"""What cached features are kept in."""

FROM_SCRATCH = {"learning_rate": 0.02, "head_factor": 1.0}
"""The rates for a backbone that starts from random weights: `Recipe(**FROM_SCRATCH)`. A recipe's defaults, a twentieth
of that and ten times as much for the head, are for one that starts from ImageNet's."""

_SCHEDULE = paper("Section 4.1, Training Setting")
_NETWORK = paper("Section 4.1, Network Structure")
_ENCODING = ours("PyTorch-Encoding's; the paper does not say")


@dataclass(frozen=True)
class Recipe:
    """The settings of one training run; the defaults are the paper's for PASCAL Context with ResNet-50.

    Only the ImageNet weights are left out of them, which have to be fetched; without them take `FROM_SCRATCH`. Every
    field says what it is and who chose its default, see `origin`; `keras_cacnet.paper` has those
    of the paper by name.

    Raises:
        ValueError: a value of the wrong type or outside its range, or one that would have no effect; the message
            names the field and the value.

    Example:
        >>> Recipe(crop_size=256, epochs=30).learning_rate
        0.001
        >>> Recipe(crop_size=256, epochs=30, **FROM_SCRATCH).learning_rate
        0.02

    Reference:
        Section 4.1 of the CaC-Net paper.
    """

    split: str = _setting("train", "split to train on", paper("Sections 4.2 to 4.4"))
    validation_split: str | None = _setting(
        "val", "split scored between epochs, where there is one; or none", ours("the paper gives the final score only")
    )
    backbone: str = _setting("resnet50", "name of the backbone", paper("Tables 1 and 8 to 10"))
    weights: str | None = _setting(None, "weights of the backbone: imagenet, a local path, or none", _NETWORK)
    output_stride: int = _setting(8, "image size over feature size: 8, 16 or 32", _NETWORK)
    head_channels: int = _setting(
        512, "channels of reduction, heads and pooled branch", ours("what the paper's Table 7 adds up to")
    )
    num_heads: int = _setting(
        2, "number of heads; 0 with global_pooling=false is the FCN baseline", paper("Section 3.3, Table 3")
    )
    kernel_sizes: tuple[int, ...] = _setting((3,), "kernel size of all heads, or one per head", paper("Table 4"))
    dilation_rates: tuple[int, ...] = _setting((1, 2, 3), "dilation rates of every head", paper("Table 5"))
    reweighting: str = _setting("cac", f"what ends every head: {', '.join(REWEIGHTINGS)}", paper("Table 6"))
    se_loss_weight: float = _setting(
        0.0, "factor of EncNet's semantic encoding loss, with reweighting=enc", ours("not in Table 6")
    )
    global_pooling: bool = _setting(True, "the pooled branch", paper("Section 3.3, Table 1"))
    auxiliary_weight: float = _setting(0.2, "factor of the auxiliary loss", _ENCODING)
    dropout: float = _setting(0.1, "dropout before the classifiers", _ENCODING)
    freeze: str = _setting("none", f"what is not trained: {', '.join(FREEZE)}", ours("the paper trains all"))
    loss_stride: int = _setting(
        1, "pixels per position of the grid on which the loss is taken", ours("every pixel, as PyTorch-Encoding has it")
    )
    image_size: int | None = _setting(
        None,
        "working size: long side that images are brought to first, in pixels; or none",
        ours("the paper has no large ones"),
    )
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
    cached_views: int = _setting(
        0, "augmented views of every image whose features are kept on disk, with a frozen backbone", ours("for speed")
    )
    cached_dtype: str = _setting(
        "float16", f"what cached features are kept in: {', '.join(CACHED_DTYPES)}", ours("half the disk")
    )
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
        self._require("seed", 0 <= self.seed < 2**32, "0 or more and below 2**32")
        for name in ("num_heads", "auxiliary_weight", "weight_decay", "cached_views"):
            self._require(name, 0 <= getattr(self, name) < float("inf"), "0 or more")
        for name in ("momentum", "dropout"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("kernel_sizes", "dilation_rates"):
            self._require(name, all(number >= 1 for number in getattr(self, name)), "numbers of at least 1")
        self._require("scale_max", self.scale_min <= self.scale_max < float("inf"), f"from scale_min={self.scale_min}")
        self._require("output_stride", self.output_stride in (8, 16, 32), "8, 16 or 32")
        for name, known in (("precision", PRECISIONS), ("freeze", FREEZE), ("cached_dtype", CACHED_DTYPES)):
            self._require(name, getattr(self, name) in known, f"one of {', '.join(known)}")
        self._require("image_size", self.image_size is None or self.image_size >= 1, "at least 1, or none")
        require_loss_stride(self.loss_stride, self.output_stride)
        require_input_size(self.reweighting, self.input_size)
        require_se_loss_weight(self.se_loss_weight, self.reweighting, self.num_heads)
        self._require("kernel_sizes", len(self.kernel_sizes) in (1, self.num_heads), "one, or one per head")
        self._require_effect()
        if self.batch_size == 1 and self.global_pooling:
            raise ValueError(
                "batch_size=1 cannot train the pooled branch, whose batch norm sees one value per image: "
                "take a batch_size of at least 2, or global_pooling=false"
            )
        if self.batch_size == 1 and self.num_heads and 1 in self.kernel_sizes and self.reweighting != "fixed":
            raise ValueError(
                "batch_size=1 cannot train kernels of size 1, whose batch norm sees one value per channel: "
                "take a batch_size of at least 2, or larger kernels"
            )

    def _require_effect(self) -> None:
        """Refuse settings of what this recipe does not have."""
        lacks = {
            "reweighting": None if self.num_heads else "num_heads=0 has no heads to end",
            "kernel_sizes": None if self.num_heads else "num_heads=0 has no kernels",
        }
        if self.num_heads and self.reweighting in WITHOUT_KERNELS:
            lacks["kernel_sizes"] = f"reweighting={self.reweighting} has no kernels"
        lacks["dilation_rates"] = lacks["kernel_sizes"]
        if self.freeze == "none":
            lacks["cached_views"] = "the features of a backbone that is trained change (freeze=backbone keeps them)"
        if not self.cached_views:
            lacks["cached_dtype"] = "no features are cached (cached_views)"
        for name, reason in lacks.items():
            value, default = getattr(self, name), next(one.default for one in fields(self) if one.name == name)
            if reason and value != default:
                raise ValueError(f"{name}={setting_text(value)} would have no effect: {reason}; leave it out")

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r}")

    def _require_type(self, name: str) -> None:
        value, kind = getattr(self, name), _kind(name)
        values, wanted = ((value,), kind) if kind is not tuple else (value, int)
        # A bool is an int to Python, and an int will do for a float.
        fits = kind is not tuple or (isinstance(value, tuple) and value)
        allowed = (int, float) if wanted is float else wanted
        fits = fits and all(isinstance(one, allowed) and isinstance(one, bool) == (wanted is bool) for one in values)
        if not fits and not (value is None and _may_be_none(name)):
            raise ValueError(f"{name} must be {_KINDS[kind]}, got {value!r}")

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

    def rate_warning(self) -> str | None:
        """Say in words that the learning rate is meant for the other kind of start, for a run that begins afresh.

        Example:
            >>> Recipe(weights="imagenet").rate_warning(), Recipe(**FROM_SCRATCH).rate_warning()
            (None, None)
            >>> Recipe().rate_warning()
            'learning_rate=0.001 is for a pretrained backbone, and this one starts from random weights: ...'
        """
        scratch, default = FROM_SCRATCH["learning_rate"], Recipe.learning_rate
        if self.freeze != "none":
            frozen = f"freeze={self.freeze} keeps a backbone of random weights as it is: give it weights, or train it"
            return frozen if self.weights is None else None
        if self.weights is None and self.learning_rate < scratch / 2:
            rates = " ".join(f"{name}={value:g}" for name, value in FROM_SCRATCH.items())
            return (
                f"learning_rate={self.learning_rate} is for a pretrained backbone, and this one starts from random "
                f"weights: it would learn little; set {rates}, or give it weights"
            )
        if self.weights is not None and self.learning_rate >= scratch:
            return (
                f"learning_rate={self.learning_rate} is for a backbone that starts from random weights, and would "
                f"undo those of weights={self.weights}: set learning_rate={default} head_factor={Recipe.head_factor:g}"
            )
        return None

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
        """The only size of images that the network takes, the crops'; None where it takes any."""
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


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Change a recipe by words such as `epochs=30`.

    Args:
        recipe: what the words change; everything else stays.
        settings: KEY=VALUE each. Numbers are written as in Python, bools as true and false, several numbers as
            1,2,3, and nothing, where a setting may have no value, as none. The last word for a key counts.

    Returns:
        The changed recipe.

    Raises:
        ValueError: a word without "=", a key that no recipe has (the message names the nearest one), a value of
            another type (it says which, with an example), or whatever a recipe refuses.

    Example:
        >>> changed = with_settings(Recipe(), ["epochs=30", "kernel_sizes=3,5", "weights=imagenet"])
        >>> changed.epochs, changed.kernel_sizes, changed.weights
        (30, (3, 5), 'imagenet')
        >>> with_settings(Recipe(), ["epoch=30"])
        Traceback (most recent call last):
        ValueError: no setting is called 'epoch'; did you mean epochs? The settings are split, ...
    """
    names = [entry.name for entry in fields(Recipe)]
    given: dict[str, Any] = {}
    for word in settings:
        key, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not key:
            raise ValueError(f"{word!r} is no setting: write KEY=VALUE, such as epochs=30")
        if key not in names:
            hint = did_you_mean(key, names) or "."
            raise ValueError(f"no setting is called {key!r}{hint} The settings are {', '.join(names)}")
        given[key] = _value(key, text)
    return Recipe(**{**vars(recipe), **given})


def changes(before: Recipe, after: Recipe) -> list[str]:
    """The settings in which one recipe differs from another, as `with_settings` reads them.

    Example:
        >>> changes(Recipe(), Recipe(epochs=30, flip=False))
        ['epochs=30', 'flip=false']
    """
    new = vars(after)
    return [f"{name}={setting_text(new[name])}" for name, value in vars(before).items() if new[name] != value]


def setting_text(value: Any) -> str:
    """Write a value as `with_settings` reads it.

    Example:
        >>> setting_text((1, 2)), setting_text(None), setting_text(True), setting_text(1e-4)
        ('1,2', 'none', 'true', '0.0001')
    """
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def origin(name: str) -> Origin:
    """Who chose the default of a setting.

    Example:
        >>> origin("dropout").whose, origin("poly_power").whose
        ('ours', 'paper')
    """
    return next(entry for entry in fields(Recipe) if entry.name == name).metadata["origin"]


_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a name",
    tuple: "whole numbers, separated by commas",
}
_BOOLS = {"true": True, "false": False}


def _value(key: str, text: str) -> Any:
    kind = _kind(key)
    if text == "none" and _may_be_none(key):
        return None
    try:
        if kind is tuple:
            return tuple(int(number) for number in text.strip("()").rstrip(",").split(","))
        if kind is bool:
            return _BOOLS[text.lower()]
        if kind is str and not text:
            raise ValueError
        return kind(text)
    except (ValueError, KeyError):
        example = next(entry.default for entry in fields(Recipe) if entry.name == key)
        wanted = _KINDS[kind] + (", or none" if _may_be_none(key) else "")
        example = "imagenet" if example is None else setting_text(example)
        raise ValueError(f"{key} must be {wanted}, such as {key}={example}; got {text!r}") from None


def _kind(name: str) -> type:
    """The type of a setting: int, float, bool, str or tuple (of int)."""
    hint = _hints()[name]
    return get_origin(hint) if get_origin(hint) is tuple else (*get_args(hint), hint)[0]


def _may_be_none(name: str) -> bool:
    return type(None) in get_args(_hints()[name])


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Recipe)
