"""EncNet's head: one weight per channel from a context encoding, which also has to tell the classes of the image."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_cacnet.layers.context_encoding import ContextEncodingLayer
from keras_cacnet.models.heads.base import Head, Settings, checked_count, classifier, conv_norm_relu, wide_dtype
from keras_cacnet.models.heads.cacnet import checked_se_loss_weight


@keras.saving.register_keras_serializable("keras_cacnet")
@dataclass(frozen=True)
class EncHead(Head):
    """A 3x3 reduction, a `ContextEncodingLayer`, the classifier; in `fit` the semantic encoding loss.

    The connections to the earlier stages that PyTorch-Encoding adds for PASCAL VOC and Context are not part of it,
    nor of mmsegmentation's configurations.

    Args:
        channels: channels of the reduction.
        codewords: size of the dictionary.
        se_loss_weight: factor of the semantic encoding loss; 0 leaves it out.

    Raises:
        ValueError: fewer than 1 channel, or a negative factor.

    Example:
        >>> head = EncHead(channels=8, codewords=4)
        >>> sorted(head.decoder(16, Settings(num_classes=5)).output)
        ['encoding', 'logits']

    Reference:
        Zhang et al., "Context Encoding for Semantic Segmentation", CVPR 2018; 32 codewords and the factor 0.2 are
        PyTorch-Encoding's.
    """

    codewords: int = 32
    se_loss_weight: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_count(self.codewords, "codewords")
        checked_se_loss_weight(self.se_loss_weight, "enc", num_heads=1)

    def outputs(self, features: Any, settings: Settings) -> dict[str, Any]:
        reduced = conv_norm_relu(features, self.channels, 3, "reduction", settings)
        layer = ContextEncodingLayer(
            self.codewords, settings.synchronized, return_encoding=True, name="encoding", dtype=wide_dtype(settings)
        )
        weighted, encoding = layer(reduced)
        outputs = {"logits": classifier(weighted, "classifier", settings)}
        return {**outputs, "encoding": encoding} if self.se_loss_weight else outputs
