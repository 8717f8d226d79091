"""What an experiment is made of: network, data augmentation and schedule, as one checked value."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from keras_cacnet.models.reweighting import ONE_SIZE, REWEIGHTINGS, checked_reweighting


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Recipe:
    """The settings of one training run; the defaults are the paper's for PASCAL Context with ResNet-50.

    Where the paper is silent the defaults are PyTorch-Encoding's: the head's learning-rate factor 10, the
    auxiliary weight 0.2, dropout 0.1.

    Raises:
        ValueError: a value outside its range; the message names the field and the value.

    Example:
        >>> Recipe(crop_size=256, epochs=30).learning_rate
        0.001

    Reference:
        Section 4.1 of the CaC-Net paper.
    """

    split: str = _setting("train", "split to train on")
    validation_split: str | None = _setting("val", "split scored between epochs, where there is one; or none")
    backbone: str = _setting("resnet50", "name of the backbone")
    weights: str | None = _setting(None, "weights of the backbone: imagenet or a local path")
    output_stride: int = _setting(8, "image size over feature size: 8, 16 or 32")
    head_channels: int = _setting(512, "channels of reduction, heads and pooled branch")
    num_heads: int = _setting(2, "number of heads; 0 with --no-global-pooling is the FCN baseline")
    kernel_sizes: tuple[int, ...] = _setting((3,), "kernel size of all heads, or one per head")
    dilation_rates: tuple[int, ...] = _setting((1, 2, 3), "dilation rates of every head")
    reweighting: str = _setting("cac", f"what stands in the heads (Table 6): {', '.join(REWEIGHTINGS)}")
    global_pooling: bool = _setting(True, "the pooled branch")
    auxiliary_weight: float = _setting(0.2, "factor of the auxiliary loss")
    dropout: float = _setting(0.1, "dropout before the classifiers")
    crop_size: int = _setting(512, "side of the training crops, in pixels")
    batch_size: int = _setting(16, "crops a step")
    epochs: int = _setting(120, "passes over the training images")
    learning_rate: float = _setting(0.001, "initial learning rate of the backbone")
    head_factor: float = _setting(10.0, "learning rate of everything but the backbone over the backbone's")
    momentum: float = _setting(0.9, "momentum of SGD")
    weight_decay: float = _setting(1e-4, "L2 weight decay, inside the momentum")
    poly_power: float = _setting(0.9, "exponent of the poly learning-rate policy")
    scale_min: float = _setting(0.5, "smallest random scale")
    scale_max: float = _setting(2.0, "largest random scale")
    flip: bool = _setting(True, "random horizontal flips")
    seed: int = _setting(0, "seed of weights, order and augmentation")
    validate_every: int = _setting(1, "epochs between scores on the validation images")

    def __post_init__(self) -> None:
        for name in ("head_channels", "crop_size", "batch_size", "epochs", "validate_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "head_factor", "poly_power", "scale_min"):
            self._require(name, 0 < getattr(self, name) < float("inf"), "a positive number")
        for name in ("num_heads", "auxiliary_weight", "weight_decay", "seed"):
            self._require(name, 0 <= getattr(self, name) < float("inf"), "0 or more")
        for name in ("momentum", "dropout"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._require("scale_max", self.scale_max >= self.scale_min, f"at least scale_min={self.scale_min}")
        self._require("output_stride", self.output_stride in (8, 16, 32), "8, 16 or 32")
        checked_reweighting(self.reweighting, self._input_size())
        self._require("kernel_sizes", len(self.kernel_sizes) in (1, self.num_heads), "one, or one per head")
        if self.batch_size == 1 and self.global_pooling:
            raise ValueError(
                "batch_size=1 cannot train the pooled branch, whose batch norm sees one value per image: "
                "take a batch_size of at least 2, or global_pooling=False"
            )

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r}")

    def network_arguments(self) -> dict[str, Any]:
        """The arguments of `CaCNet` in this recipe, but for the number of classes."""
        names = (
            *("backbone", "weights", "output_stride", "head_channels", "num_heads", "dilation_rates"),
            *("reweighting", "global_pooling", "auxiliary_weight", "dropout"),
        )
        sizes = self.kernel_sizes if len(self.kernel_sizes) == self.num_heads else self.kernel_sizes[0]
        return {
            **{name: getattr(self, name) for name in names},
            "kernel_sizes": sizes,
            "input_size": self._input_size(),
        }

    def _input_size(self) -> int | None:
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
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**settings)
