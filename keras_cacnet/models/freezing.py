"""What of a network is trained and what stays as it is."""

from typing import Any

import keras

from keras_cacnet.models.settings import FREEZE


def freeze(network: Any, parts: str) -> None:
    """Freeze parts of a network, and have all others train.

    What is frozen keeps its weights, batch norms in it their statistics too, whose training is inference then; it has
    no weight decay, and a frozen backbone no gradient. A saved network comes back as it was. A network that has been
    compiled has to be compiled again.

    Args:
        network: a `SegmentationNetwork`.
        parts: "none"; "backbone_norms", the backbone's batch norms, whose statistics of a large data set are better
            than those of small batches; "backbone"; or "all_but_classifier", which trains only the last convolution,
            and those of the losses beside the segmentation's.

    Raises:
        ValueError: another word.

    Example:
        >>> from keras_cacnet.models import CaCNet
        >>> network = CaCNet(5, backbone="resnet14_narrow", head_channels=16, auxiliary_weight=0)
        >>> freeze(network, "all_but_classifier")
        >>> [weight.path for weight in network.trainable_variables]
        ['classifier/kernel', 'classifier/bias']
    """
    if parts not in FREEZE:
        raise ValueError(f"freeze must be one of {', '.join(FREEZE)}, got {parts!r}")
    # Under TensorFlow, Keras hands a flag down only where it changes.
    network.trainable = False
    network.trainable = True
    if parts == "none":
        return
    if parts == "backbone_norms":
        for layer in network.backbone._flatten_layers(include_self=False):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        return
    network.backbone.trainable = False
    if parts == "all_but_classifier":
        for part in filter(None, (network.decoder, network.auxiliary)):
            for layer in part.layers:
                layer.trainable = "classifier" in layer.name
