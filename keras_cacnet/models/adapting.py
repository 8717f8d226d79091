"""A network anew for other classes or settings, with all the weights that still fit."""

from typing import Any, NamedTuple

import keras

from keras_cacnet.wording import did_you_mean, listed

SETTINGS = ("num_classes", "auxiliary_weight", "dropout", "loss_stride", "recompute", "name", "synchronized")
"""What of a network may be changed with its weights kept: none of it touches more than classifiers."""

_SHOWN = 4


class Adapted(NamedTuple):
    """A network anew, and what it has kept.

    Args:
        network: the new network.
        kept: the layers whose weights it has from the other.
        new: the layers whose weights are drawn anew, with the reason.
    """

    network: Any
    kept: tuple[str, ...]
    new: dict[str, str]

    def to_text(self) -> str:
        """Say in one line what was kept.

        Example:
            >>> Adapted(None, ("decoder/reduction_conv",), {"decoder/classifier": "2 -> 5 classes"}).to_text()
            'kept the weights of 1 of 2 layers; new: decoder/classifier (2 -> 5 classes)'
        """
        total = len(self.kept) + len(self.new)
        anew = listed((f"{name} ({reason})" for name, reason in self.new.items()), _SHOWN, none="none")
        return f"kept the weights of {len(self.kept)} of {total} layers; new: {anew}"


def adapted(network: Any, *, new_classes: bool = False, **changes: Any) -> Adapted:
    """Build a network anew with other settings, and give it the weights of the old one wherever they fit.

    Another `num_classes` leaves only the classifiers to be trained anew; the class table, which is that of the old
    classes, is not taken over then.

    Args:
        network: a `SegmentationNetwork`.
        new_classes: whether the classes are others even where their number is the same.
        changes: the settings that change, of `SETTINGS`.

    Returns:
        The new network, not compiled, and what it has kept.

    Raises:
        ValueError: another setting, or a value that the network refuses.

    Example:
        >>> import keras_cacnet as kc
        >>> five = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=16)
        >>> found = adapted(five, num_classes=12)
        >>> found.network.num_classes, sorted(found.new)
        (12, ['auxiliary/auxiliary_classifier', 'decoder/classifier'])
    """
    for name in changes:
        if name not in SETTINGS:
            raise ValueError(
                f"{name} cannot be changed with the weights kept; what can be is {', '.join(SETTINGS)}"
                f"{did_you_mean(name, SETTINGS)}"
            )
    config = network.get_config()
    new_classes = new_classes or changes.get("num_classes", network.num_classes) != network.num_classes
    if new_classes:
        config["task"] = {name: value for name, value in config["task"].items() if name != "classes"}
    new = type(network).from_config({**config, **changes})
    there, kept, anew = weighted_layers(network), [], {}
    for name, layer in weighted_layers(new).items():
        old = there.get(name)
        of_classes = new_classes and ("classifier" in layer.name or layer.name == "presence")
        if old is not None and not of_classes and [w.shape for w in old.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(old.get_weights())
            kept.append(name)
        elif old is None:
            anew[name] = "not there before"
        else:
            numbers = f"{network.num_classes} -> {new.num_classes}"
            anew[name] = f"{numbers if network.num_classes != new.num_classes else 'other'} classes"
    return Adapted(new, tuple(kept), anew)


def weighted_layers(network: Any) -> dict[str, keras.layers.Layer]:
    """List the layers of a network that hold weights, by the name of their part and their own.

    Args:
        network: a `SegmentationNetwork`.

    Example:
        >>> import keras_cacnet as kc
        >>> network = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=16, auxiliary_weight=0)
        >>> list(weighted_layers(network))[-1]
        'decoder/classifier'
    """
    found: dict[str, keras.layers.Layer] = {}
    for part in filter(None, (network.backbone, network.decoder, network.auxiliary, network.presence)):
        layers = part.layers if isinstance(part, keras.Model) else [part]
        found |= {f"{part.name}/{layer.name}": layer for layer in layers if layer.weights}
    return found
