"""The FCN: the paper's baseline, and its auxiliary head."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_cacnet.models.heads.base import Head, HeadContext, classifier, conv_norm_relu, feature_input


@keras.saving.register_keras_serializable("keras_cacnet")
@dataclass(frozen=True)
class FCNHead(Head):
    """A 3x3 convolution, batch norm, ReLU, and the classifier: the paper's baseline.

    Args:
        channels: channels of the convolution.

    Raises:
        ValueError: fewer than 1 channel.

    Example:
        >>> FCNHead(channels=8).decoder(16, HeadContext(num_classes=5)).count_params()  # 9*16*8 + 4*8 + 8*5 + 5
        1229

    Reference:
        Table 1 of the CaC-Net paper, "FCN"; Long et al., "Fully Convolutional Networks for Semantic Segmentation",
        CVPR 2015.
    """

    def outputs(self, features: Any, context: HeadContext) -> dict[str, Any]:
        reduced = conv_norm_relu(features, self.channels, 3, "reduction", context)
        return {"logits": classifier(reduced, "classifier", context)}


def auxiliary_head(feature_channels: int, context: HeadContext) -> keras.Model:
    """Make the FCN head of the auxiliary loss on Res-4 (Section 4.1), with a quarter of its channels.

    Args:
        feature_channels: channels of the backbone's last stage but one.
        context: what the network tells the head.

    Returns:
        A functional model "auxiliary", (B, h, w, feature_channels) -> (B, h, w, num_classes).

    Example:
        >>> auxiliary_head(16, HeadContext(num_classes=5)).count_params()  # 9*16*4 + 4*4 + 4*5 + 5
        617
    """
    features = feature_input(feature_channels, context)
    x = conv_norm_relu(features, max(feature_channels // 4, 1), 3, "auxiliary", context)
    return keras.Model(features, classifier(x, "auxiliary_classifier", context), name="auxiliary")
