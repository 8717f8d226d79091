"""What every head is: a value with its settings that builds the graph from the backbone's features to logits.

Layers are named after their part (`reduction_*`, `head_1_*`, `context_1_*`, `pooling`, `encoding`, `fusion_*`,
`classifier`, `presence`, `auxiliary_*`), so that learning-rate factors and costs can be told by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import keras

from keras_cacnet.layers.base import at_least_float32
from keras_cacnet.layers.normalization import batch_normalization

HEAD_LAYERS = r"^(reduction|head_\d+|context_\d+|pooling|encoding|fusion|classifier|presence|auxiliary)(_|/|$)"


class Settings(NamedTuple):
    """What a network tells its head: classes, dropout, batch norms and dtype."""

    num_classes: int
    dropout: float = 0.1  # share of channels-at-positions dropped before the classifier
    synchronized: bool = False  # synchronise every batch norm
    dtype: Any = "float32"  # dtype policy of every layer; classifiers compute in float32 at least


@dataclass(frozen=True)
class Head:
    """A head of a `SegmentationNetwork`; subclasses are frozen dataclasses whose fields are its settings.

    A subclass gives `outputs`. Registered with `keras.saving.register_keras_serializable` it can be saved.

    Args:
        channels: channels of its parts.

    Raises:
        ValueError: fewer than 1 channel.

    Reference:
        Table 7 of the CaC-Net paper.
    """

    channels: int = 512
    se_loss_weight = 0.0  # a field where the outputs have an "encoding" for the semantic encoding loss

    def __post_init__(self) -> None:
        checked_count(self.channels, "channels")

    def outputs(self, features: Any, settings: Settings) -> dict[str, Any]:
        """The head's graph.

        Args:
            features: symbolic features of the backbone's last stage.
            settings: what the network tells the head.

        Shapes:
            - features: (B, h, w, c)

        Returns:
            "logits", (B, h, w, num_classes) in float32 at least; with a semantic encoding loss also "encoding",
            (B, anything).
        """
        raise NotImplementedError(f"{type(self).__name__} needs outputs")

    def decoder(self, feature_channels: int, settings: Settings) -> keras.Model:
        """The head as a model of its own.

        Args:
            feature_channels: channels of the backbone's last stage.
            settings: what the network tells the head.

        Shapes:
            - input: (B, h, w, feature_channels); any B, h and w

        Returns:
            A functional model "decoder" that gives the dict of `outputs`.

        Raises:
            ValueError: a semantic encoding loss, and no encoding among the outputs.
        """
        features = feature_input(feature_channels, settings)
        outputs = self.outputs(features, settings)
        if self.se_loss_weight and "encoding" not in outputs:
            raise ValueError(
                f"se_loss_weight={self.se_loss_weight} needs an encoding of the image, and {self} gives "
                f"{', '.join(outputs)} alone"
            )
        return keras.Model(features, outputs, name="decoder")

    def get_config(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Head":
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
        }
        return cls(**settings)


def feature_input(channels: int, settings: Settings) -> Any:
    """The symbolic input of a head: features of any batch, height and width."""
    return keras.Input((None, None, channels), name="features", dtype=_compute_dtype(settings))


def conv_norm_relu(x: Any, channels: int, size: int, name: str, settings: Settings) -> Any:
    """Convolution without bias, batch norm, ReLU: `NAME_conv`, `NAME_norm`, `NAME_relu`."""
    x = convolution(channels, size, f"{name}_conv", settings.dtype)(x)
    x = batch_normalization(f"{name}_norm", settings.synchronized, settings.dtype)(x)
    return keras.layers.ReLU(name=f"{name}_relu", dtype=settings.dtype)(x)


def convolution(channels: int, size: int, name: str, dtype: Any, use_bias: bool = False) -> keras.layers.Layer:
    """A "same" convolution with He's initial values."""
    return keras.layers.Conv2D(
        channels,
        size,
        padding="same",
        use_bias=use_bias,
        data_format="channels_last",
        kernel_initializer="he_normal",
        name=name,
        dtype=dtype,
    )


def joined(branches: Sequence[Any], name: str, dtype: Any) -> Any:
    """The branches side by side, channel after channel."""
    return keras.layers.Concatenate(name=name, dtype=dtype)(branches) if len(branches) > 1 else branches[0]


def classified_context(features: Any, modules: Sequence[Any], fused: int | None, settings: Settings) -> Any:
    """Logits from features and what context modules made of them, side by side.

    Args:
        features: symbolic features.
        modules: what the modules give, of the features' size.
        fused: channels of the 3x3 convolution, batch norm and ReLU before the classifier; None leaves them out.
        settings: what the network tells the head.

    Returns:
        Symbolic logits, in float32 at least.
    """
    x = joined([features, *modules], "concatenate", settings.dtype)
    if fused is not None:
        x = conv_norm_relu(x, fused, 3, "fusion", settings)
    return classifier(x, "classifier", settings)


def classifier(x: Any, name: str, settings: Settings) -> Any:
    """Dropout and a 1x1 convolution to the classes, in float32 at least."""
    dtype = wide_dtype(settings)
    x = keras.layers.Dropout(settings.dropout, name=f"{name}_dropout", dtype=dtype)(x)
    return keras.layers.Conv2D(settings.num_classes, 1, data_format="channels_last", name=name, dtype=dtype)(x)


def presence_classifier(settings: Settings) -> keras.layers.Layer:
    """The FC of the semantic encoding loss, from an encoding to one logit per class, in float32 at least."""
    return keras.layers.Dense(settings.num_classes, name="presence", dtype=wide_dtype(settings))


def wide_dtype(settings: Settings) -> str:
    """The dtype of what must neither overflow nor be rounded to half precision: float32 at least."""
    return at_least_float32(_compute_dtype(settings))


def checked_count(value: int, name: str) -> None:
    """ValueError where a value is no whole number from 1 on."""
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")


def checked_grid(sizes: Sequence[int], name: str) -> tuple[int, ...]:
    """The sizes as a tuple, if there is at least one and all are whole numbers from 1 on; ValueError otherwise."""
    if isinstance(sizes, int) or len(sizes) == 0:
        raise ValueError(f"{name} must be a sequence of at least one size, got {sizes!r}")
    if any(isinstance(size, bool) or int(size) != size or size < 1 for size in sizes):
        raise ValueError(f"{name} must be whole numbers from 1 on, got {tuple(sizes)!r}")
    return tuple(int(size) for size in sizes)


def _compute_dtype(settings: Settings) -> str:
    return keras.dtype_policies.get(settings.dtype).compute_dtype
