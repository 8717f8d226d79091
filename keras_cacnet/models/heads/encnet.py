"""EncNet's head: one weight per channel from a context encoding, which also has to tell the classes of the image."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_cacnet.arguments import require_count, require_number
from keras_cacnet.layers.context_encoding import ContextEncodingLayer
from keras_cacnet.models.heads.base import Head, HeadContext, classifier, conv_norm_relu, wide_dtype


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
        >>> sorted(head.decoder(16, HeadContext(num_classes=5)).output)
        ['encoding', 'logits']

    Reference:
        Zhang et al., "Context Encoding for Semantic Segmentation", CVPR 2018; 32 codewords and the factor 0.2 are
        PyTorch-Encoding's.
    """

    codewords: int = 32
    se_loss_weight: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep(codewords=require_count("codewords", self.codewords))
        self._keep(se_loss_weight=require_number("se_loss_weight", self.se_loss_weight))

    def outputs(self, features: Any, context: HeadContext) -> dict[str, Any]:
        reduced = conv_norm_relu(features, self.channels, 3, "reduction", context)
        layer = ContextEncodingLayer(
            self.codewords, context.synchronized, return_encoding=True, name="encoding", dtype=wide_dtype(context)
        )
        weighted, encoding = layer(reduced)
        outputs = {"logits": classifier(weighted, "classifier", context)}
        return {**outputs, "encoding": encoding} if self.se_loss_weight else outputs
