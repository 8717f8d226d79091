"""What a run is made of: network, data augmentation and schedule, as one checked value."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any

from keras_cacnet.models.settings import (
    FREEZE,
    ONE_SIZE,
    REWEIGHTINGS,
    WHOLE_BACKBONE,
    WITHOUT_KERNELS,
    require_input_size,
    require_loss_stride,
    require_se_loss_weight,
)
from keras_cacnet.pipeline.jitter import Jitter
from keras_cacnet.training.losses.frequencies import CLASS_WEIGHTS, require_class_weights
from keras_cacnet.training.losses.words import NAMES, loss_terms
from keras_cacnet.training.recipe_settings import Origin, ours, paper, require_type, setting, setting_of, setting_text
from keras_cacnet.wording import did_you_mean

PRECISIONS = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
    "float64": "float64",
}
"""The precisions of a recipe, each with Keras' dtype policy; weights are float32 in half precision too."""

OPTIMIZERS = ("sgd", "adamw")
"""The optimizers of a recipe."""

SCHEDULES = ("poly", "cosine", "constant")
"""What the learning rate does over a run."""

CACHED_DTYPES = ("float16", "float32", "float64")
"""What cached features are kept in."""

FROM_SCRATCH = {"learning_rate": 0.02, "head_factor": 1.0}
"""The rates for a backbone that starts from random weights: `Recipe(**FROM_SCRATCH)`. A recipe's defaults, a twentieth
of that and ten times as much for the head, are for one that starts from ImageNet's."""

_SCHEDULE = paper("Section 4.1, Training Setting")
_NETWORK = paper("Section 4.1, Network Structure")
_ENCODING = ours("PyTorch-Encoding's; the paper does not say")
_NO_MORE = ours("the paper has none")
_ONLY = paper("Section 4.1: only flips and scales")

ONE_IMAGE = (
    "1 training image is too few for the pooled branch, whose batch norm sees one value per image: add images, at "
    "least 2 are needed, or set global_pooling=false"
)
"""Said before any batch_size, none of which would do."""


@dataclass(frozen=True)
class Recipe:
    """The settings of one training run; the defaults are the paper's for PASCAL Context with ResNet-50.

    Only the ImageNet weights are left out of them, which have to be fetched; without them take `FROM_SCRATCH`. Every
    field says what it is and who chose its default, see `origin`; `keras_cacnet.paper` has those of the paper by name.

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

    split: str = setting("train", "split to train on", paper("Sections 4.2 to 4.4"))
    validation_split: str | None = setting(
        "val", "split scored between epochs, where there is one; or none", ours("the paper gives the final score only")
    )
    backbone: str = setting("resnet50", "name of the backbone", paper("Tables 1 and 8 to 10"))
    weights: str | None = setting(None, "weights of the backbone: imagenet, a local path, or none", _NETWORK)
    output_stride: int = setting(8, "image size over feature size: 8, 16 or 32", _NETWORK)
    head_channels: int = setting(
        512, "channels of reduction, heads and pooled branch", ours("what the paper's Table 7 adds up to")
    )
    num_heads: int = setting(
        2, "number of heads; 0 with global_pooling=false is the FCN baseline", paper("Section 3.3, Table 3")
    )
    kernel_sizes: tuple[int, ...] = setting((3,), "kernel size of all heads, or one per head", paper("Table 4"))
    dilation_rates: tuple[int, ...] = setting((1, 2, 3), "dilation rates of every head", paper("Table 5"))
    reweighting: str = setting("cac", f"what ends every head: {', '.join(REWEIGHTINGS)}", paper("Table 6"))
    se_loss_weight: float = setting(
        0.0, "factor of EncNet's semantic encoding loss, with reweighting=enc", ours("not in Table 6")
    )
    global_pooling: bool = setting(True, "the pooled branch", paper("Section 3.3, Table 1"))
    auxiliary_weight: float = setting(0.2, "factor of the auxiliary loss", _ENCODING)
    dropout: float = setting(0.1, "dropout before the classifiers", _ENCODING)
    freeze: str = setting("none", f"what is not trained: {', '.join(FREEZE)}", ours("the paper trains all"))
    loss_stride: int = setting(
        1, "pixels per position of the grid on which the loss is taken", ours("every pixel, as PyTorch-Encoding has it")
    )
    loss: str = setting(
        "crossentropy",
        f"{', '.join(NAMES)}, or a sum such as crossentropy+0.5*dice",
        ours("the paper names none"),
    )
    class_weights: str | None = setting(
        None,
        f"weights of the classes: {', '.join(CLASS_WEIGHTS)}, or numbers such as 1,2,0.5 or car:2,pole:3; or none",
        _NO_MORE,
    )
    label_smoothing: float = setting(0.0, "share of the target that is spread over all classes", _NO_MORE)
    image_size: int | None = setting(
        None,
        "working size: long side that images are brought to first, in pixels; or none",
        ours("the paper has no large ones"),
    )
    crop_size: int = setting(512, "side of the training crops, in pixels", _SCHEDULE)
    batch_size: int = setting(16, "crops a step", _SCHEDULE)
    epochs: int = setting(120, "passes over the training images", _SCHEDULE)
    learning_rate: float = setting(0.001, "initial learning rate of the backbone", _SCHEDULE)
    head_factor: float = setting(10.0, "learning rate of everything but the backbone over the backbone's", _ENCODING)
    optimizer: str = setting("sgd", f"{' or '.join(OPTIMIZERS)}", _SCHEDULE)
    momentum: float = setting(0.9, "momentum of SGD", _SCHEDULE)
    weight_decay: float = setting(1e-4, "L2 weight decay, inside the momentum; AdamW's is decoupled", _SCHEDULE)
    schedule: str = setting("poly", f"what the learning rate does: {', '.join(SCHEDULES)}", _SCHEDULE)
    poly_power: float = setting(0.9, "exponent of the poly learning-rate policy", _SCHEDULE)
    warmup_steps: int = setting(0, "steps over which the learning rate rises first", _ENCODING)
    ema: float = setting(0.0, "momentum of a moving average of the weights, such as 0.999; 0 for none", _NO_MORE)
    accumulate: int = setting(1, "parts of a batch that are computed one after the other, for memory", _NO_MORE)
    recompute: bool = setting(
        False, "compute backbone and re-weightings a second time in the backward pass, for memory", _NO_MORE
    )
    early_stopping: int | None = setting(
        None, "scores in a row without a better one after which the run stops; or none", ours("the paper never stops")
    )
    scale_min: float = setting(0.5, "smallest random scale", _SCHEDULE)
    scale_max: float = setting(2.0, "largest random scale", _SCHEDULE)
    flip: bool = setting(True, "random horizontal flips", _SCHEDULE)
    brightness: float = setting(0.0, "largest relative change of the brightness", _ONLY)
    contrast: float = setting(0.0, "largest relative change of the contrast", _ONLY)
    saturation: float = setting(0.0, "largest relative change of the saturation", _ONLY)
    hue: float = setting(0.0, "largest turn of the hue, as a share of the circle, up to 0.5", _ONLY)
    rotation: float = setting(0.0, "largest angle by which crops are turned, in degrees", _ONLY)
    blur: float = setting(0.0, "largest standard deviation of a Gaussian blur, in pixels", _ONLY)
    cutout: float = setting(0.0, "largest side of a square that is cut out, as a share of the crop's", _ONLY)
    cached_views: int = setting(
        0, "augmented views of every image whose features are kept on disk, with a frozen backbone", ours("for speed")
    )
    cached_dtype: str = setting(
        "float16", f"what cached features are kept in: {', '.join(CACHED_DTYPES)}", ours("half the disk")
    )
    precision: str = setting(
        "float32",
        f"what the network computes in: {', '.join(PRECISIONS)}; float64 is for comparisons",
        ours("the paper does not say"),
    )
    seed: int = setting(0, "seed of weights, order and augmentation", ours("any will do"))
    validate_every: int = setting(1, "epochs between scores on the validation images", ours("for the curve"))

    def __post_init__(self) -> None:
        for entry in fields(self):
            if isinstance(value := getattr(self, entry.name), list):
                object.__setattr__(self, entry.name, tuple(value))
            require_type(self, entry.name)
        for name in ("head_channels", "crop_size", "batch_size", "epochs", "validate_every", "accumulate"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "head_factor", "poly_power", "scale_min"):
            self._require(name, 0 < getattr(self, name) < float("inf"), "a positive number")
        self._require("seed", 0 <= self.seed < 2**32, "0 or more and below 2**32")
        for name in ("num_heads", "auxiliary_weight", "weight_decay", "cached_views", "warmup_steps"):
            self._require(name, 0 <= getattr(self, name) < float("inf"), "0 or more")
        for name in ("momentum", "dropout", "ema", "label_smoothing"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("kernel_sizes", "dilation_rates"):
            self._require(name, all(number >= 1 for number in getattr(self, name)), "numbers of at least 1")
        self._require("scale_max", self.scale_min <= self.scale_max < float("inf"), f"from scale_min={self.scale_min}")
        self._require("output_stride", self.output_stride in (8, 16, 32), "8, 16 or 32")
        self._require_word("precision", PRECISIONS)
        self._require_word("freeze", FREEZE)
        self._require_word("cached_dtype", CACHED_DTYPES)
        self._require_word("optimizer", OPTIMIZERS)
        self._require_word("schedule", SCHEDULES)
        loss_terms(self.loss, self.label_smoothing)
        if self.class_weights is not None:
            require_class_weights(self.class_weights)
        _ = self.jitter
        patience = self.early_stopping
        self._require("early_stopping", patience is None or patience >= 1, "at least 1, or none")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size={self.batch_size} must be a multiple of accumulate={self.accumulate}")
        self._require("image_size", self.image_size is None or self.image_size >= 1, "at least 1, or none")
        require_loss_stride(self.loss_stride, self.output_stride)
        require_input_size(self.reweighting, self.input_size)
        require_se_loss_weight(self.se_loss_weight, self.reweighting, self.num_heads)
        self._require("kernel_sizes", len(self.kernel_sizes) in (1, self.num_heads), "one, or one per head")
        self._require_effect()
        one = self.batch_size == self.accumulate
        given = (
            "batch_size=1" if self.accumulate == 1 else f"batch_size={self.batch_size} in as many parts (accumulate)"
        )
        if one and self.global_pooling:
            raise ValueError(
                f"{given} cannot train the pooled branch, whose batch norm sees one value per image: "
                "take a batch_size of at least 2, or global_pooling=false"
            )
        if one and self.num_heads and 1 in self.kernel_sizes and self.reweighting != "fixed":
            raise ValueError(
                f"{given} cannot train kernels of size 1, whose batch norm sees one value per channel: "
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
        if self.freeze not in WHOLE_BACKBONE:
            lacks["cached_views"] = "the features of a backbone that is trained change (freeze=backbone keeps them)"
        if self.freeze == "all_but_classifier":
            lacks["recompute"] = "nothing before the classifiers has a gradient (freeze)"
        if self.optimizer != "sgd":
            lacks["momentum"] = f"optimizer={self.optimizer} has moments of its own"
        if self.schedule != "poly":
            lacks["poly_power"] = f"schedule={self.schedule} has no exponent"
        if self.validation_split is None:
            lacks["early_stopping"] = "validation_split=none gives no score"
        if not self.cached_views:
            lacks["cached_dtype"] = "no features are cached (cached_views)"
        for name, reason in lacks.items():
            value = getattr(self, name)
            if reason and value != setting_of(self, name).default:
                raise ValueError(f"{name}={setting_text(value)} would have no effect: {reason}; leave it out")

    def _require_word(self, name: str, known: Collection[str]) -> None:
        hint = did_you_mean(getattr(self, name), known)
        self._require(name, getattr(self, name) in known, f"one of {', '.join(known)}", hint)

    def _require(self, name: str, holds: bool, wanted: str, hint: str = "") -> None:
        if not holds:
            raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r}{hint}")

    @property
    def jitter(self) -> Jitter:
        """How far colours, angle and sharpness of the crops may change."""
        return Jitter(**{entry.name: getattr(self, entry.name) for entry in fields(Jitter)})

    @property
    def input_size(self) -> int | None:
        """The only size of images that the network takes, the crops'; None where it takes any."""
        return self.crop_size if self.reweighting in ONE_SIZE else None

    def to_json(self) -> dict[str, Any]:
        """Give the recipe as values that JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Recipe":
        """Read the recipe that `to_json` wrote.

        Raises:
            ValueError: a field that no recipe has.
        """
        known = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"a recipe has no {', '.join(unknown)}; its fields are {', '.join(sorted(known))}")
        return cls(**values)


def origin(name: str) -> Origin:
    """Tell who chose the default of a setting.

    Example:
        >>> origin("dropout").whose, origin("poly_power").whose
        ('ours', 'paper')
    """
    return setting_of(Recipe, name).metadata["origin"]
