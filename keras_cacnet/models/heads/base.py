"""What every head is: a value with its settings that builds the graph from the backbone's features to logits.

Layers are named after their part (`reduction_*`, `head_1_*`, `context_1_*`, `pooling`, `encoding`, `fusion_*`,
`classifier`, `presence`, `auxiliary_*`), so that learning-rate factors and costs can be told by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import keras

from keras_cacnet.arguments import require_count
from keras_cacnet.layers.base import at_least_float32
from keras_cacnet.layers.normalization import batch_normalization

HEAD_LAYERS = r"^(reduction|head_\d+|context_\d+|pooling|encoding|fusion|classifier|presence|auxiliary)(_|/|$)"
"""Names of the layers behind the backbone, as a regular expression: those with the heads' learning rate."""


class HeadContext(NamedTuple):
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
    positions = None  # type: tuple[int, int] | None  # a field where the head takes features of one size only

    def __post_init__(self) -> None:
        self._keep(channels=require_count("channels", self.channels))

    def _keep(self, **checked: Any) -> None:
        """Put checked values into the fields of the frozen dataclass."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def outputs(self, features: Any, context: HeadContext) -> dict[str, Any]:
        """Build the head's graph.

        Args:
            features: symbolic features of the backbone's last stage.
            context: what the network tells the head.

        Shapes:
            - features: (B, h, w, c)

        Returns:
            "logits", (B, h, w, num_classes) in float32 at least; with a semantic encoding loss also "encoding",
            (B, anything).
        """
        raise NotImplementedError(f"{type(self).__name__} needs outputs")

    def decoder(self, feature_channels: int, context: HeadContext) -> keras.Model:
        """Build the head as a model of its own.

        Args:
            feature_channels: channels of the backbone's last stage.
            context: what the network tells the head.

        Shapes:
            - input: (B, h, w, feature_channels); any B, h and w

        Returns:
            A functional model "decoder" that gives the dict of `outputs`.

        Raises:
            ValueError: a semantic encoding loss, and no encoding among the outputs.
        """
        features = feature_input(feature_channels, context)
        outputs = self.outputs(features, context)
        if self.se_loss_weight and "encoding" not in outputs:
            raise ValueError(
                f"se_loss_weight={self.se_loss_weight} needs an encoding of the image, and {self} gives "
                f"only {', '.join(outputs)}"
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


def feature_input(channels: int, context: HeadContext) -> Any:
    """Make the symbolic input of a head: features of any batch, height and width."""
    return keras.Input((None, None, channels), name="features", dtype=_compute_dtype(context))


def conv_norm_relu(x: Any, channels: int, size: int, name: str, context: HeadContext) -> Any:
    """Apply a convolution without bias, batch norm and ReLU: `NAME_conv`, `NAME_norm`, `NAME_relu`."""
    x = convolution(channels, size, f"{name}_conv", context.dtype)(x)
    x = batch_normalization(f"{name}_norm", context.synchronized, context.dtype)(x)
    return keras.layers.ReLU(name=f"{name}_relu", dtype=context.dtype)(x)


def convolution(channels: int, size: int, name: str, dtype: Any, use_bias: bool = False) -> keras.layers.Layer:
    """Make a "same" convolution with He's initial values."""
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
    """Join branches side by side, channel after channel."""
    return keras.layers.Concatenate(name=name, dtype=dtype)(branches) if len(branches) > 1 else branches[0]


def classified_context(features: Any, modules: Sequence[Any], fused: int | None, context: HeadContext) -> Any:
    """Compute logits from features and what context modules made of them, side by side.

    Args:
        features: symbolic features.
        modules: what the modules give, of the features' size.
        fused: channels of the 3x3 convolution, batch norm and ReLU before the classifier; None leaves them out.
        context: what the network tells the head.

    Returns:
        Symbolic logits, in float32 at least.
    """
    x = joined([features, *modules], "concatenate", context.dtype)
    if fused is not None:
        x = conv_norm_relu(x, fused, 3, "fusion", context)
    return classifier(x, "classifier", context)


def classifier(x: Any, name: str, context: HeadContext) -> Any:
    """Apply dropout and a 1x1 convolution to the classes, in float32 at least."""
    dtype = wide_dtype(context)
    x = keras.layers.Dropout(context.dropout, name=f"{name}_dropout", dtype=dtype)(x)
    return keras.layers.Conv2D(context.num_classes, 1, data_format="channels_last", name=name, dtype=dtype)(x)


def presence_classifier(context: HeadContext) -> keras.layers.Layer:
    """Apply the FC of the semantic encoding loss, from an encoding to one logit per class, in float32 at least."""
    return keras.layers.Dense(context.num_classes, name="presence", dtype=wide_dtype(context))


def wide_dtype(context: HeadContext) -> str:
    """Give the dtype of what must neither overflow nor be rounded to half precision: float32 at least."""
    return at_least_float32(_compute_dtype(context))


def positions(size: Sequence[int], stride: int) -> tuple[int, int]:
    """Give the height and width of the features of an image, in positions.

    Example:
        >>> positions((33, 64), 8)
        (5, 8)
    """
    height, width = (-(-side // stride) for side in size)
    return height, width


def _compute_dtype(context: HeadContext) -> str:
    return keras.dtype_policies.get(context.dtype).compute_dtype
