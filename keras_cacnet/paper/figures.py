"""The paper's Figures 3 and 4 for trained networks: predictions and weights, drawn."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.reading import read_example, read_image
from keras_cacnet.datasets.source import Example
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.evaluation.prediction import predict_ids
from keras_cacnet.models.interface import require_class_count
from keras_cacnet.visualization import WeightedImage, channel_maps, choose_channels, comparison_figure, weighting_figure

Channels = dict[str, tuple[int, ...]]


def predictions_figure(networks: Mapping[str, keras.Model], examples: Sequence[Example], classes: ClassTable) -> Any:
    """Draw Figure 3: image, ground truth and what every network predicts.

    Args:
        networks: by the title of their column, such as "Baseline" and "Ours".
        examples: the images, a row each; their masks are the ground truth, all of them or none.
        classes: the classes of the networks and of the masks.

    Returns:
        The figure, uint8 (height, width, 3).

    Raises:
        ValueError: no images, some with and some without mask, an image or a mask that cannot be read or predicted (it
            is named), or a network of other classes.

    Reference:
        Figure 3 of the CaC-Net paper.
    """
    for model in networks.values():
        _require_classes(model, classes)
    read = [_read(example, classes) for example in require_truths(examples)]
    columns: dict[str, list[np.ndarray]] = {}
    if read[0][1] is not None:
        columns["Ground truth"] = [truth for _, truth in read if truth is not None]
    for title, model in networks.items():
        columns[title] = [_predict(model, example, image) for example, (image, _) in zip(examples, read, strict=True)]
    return comparison_figure([image for image, _ in read], columns, classes)


def context_figure(
    model: keras.Model,
    examples: Sequence[Example],
    classes: ClassTable,
    head: int = 1,
    count: int = 1,
    seed: int = 0,
    by: str | Sequence[int] = "random",
) -> tuple[np.ndarray, list[Channels]]:
    """Draw Figure 4: image, ground truth, maps of X, X* and W, and result.

    Channels at random are drawn on the first image and are the same for all, as listed ones are; by "largest-change"
    every image has its own.

    Args:
        model: a `CaCNet` with heads.
        examples: the images, a row each; their masks are the ground truth, all of them or none.
        classes: the classes of the network and of the masks.
        head: number of the head, from 1 on.
        count: channels per image, one below the other.
        seed: draws the channels.
        by: "random", "largest-change" or the channels themselves, see `choose_channels`.

    Returns:
        The figure, uint8 (height, width, 3), and the channels shown of every image.

    Raises:
        ValueError: as `predictions_figure`, or a network without weights to show, a head that it does not have, or
            channels that cannot be chosen so (see `choose_channels`).

    Reference:
        Figure 4 of the CaC-Net paper.
    """
    _require_classes(model, classes)
    weighting_maps = weighting_function(model)
    shown: list[WeightedImage] = []
    chosen: list[Channels] = []
    for example in require_truths(examples):
        image, truth = _read(example, classes)
        ids = _predict(model, example, image)
        maps = weighting_maps(image)
        name = f"head_{head}"
        if name not in maps:
            raise ValueError(f"the network has no head {head}; it has {', '.join(maps)}")
        maps = {name: maps[name]}
        again = chosen and by != "largest-change"
        chosen.append(chosen[0] if again else choose_channels(maps, count, seed, by))
        shown.append(WeightedImage(image, ids, channel_maps(maps, chosen[-1]), truth))
    return weighting_figure(shown, classes), chosen


def weighting_function(model: keras.Model) -> Callable[[np.ndarray], dict[str, dict[str, Any]]]:
    """Compile `CaCNet.weighting_maps` for images of any size.

    Args:
        model: a `CaCNet` with heads.

    Returns:
        A function of one image, (H, W, 3) in 0..255, that gives X, W and X* by head. Compiled, the backbone's
        features of a large photograph are not all held to the end.

    Raises:
        ValueError: the model has no weights to show, or Keras runs on another backend than TensorFlow.
    """
    require_tensorflow("prediction")
    if not hasattr(model, "weighting_maps"):
        raise ValueError(f"model {model.name!r} has no weighting_maps: only a CaCNet has weights to show")
    compiled = tf.function(model.weighting_maps, [tf.TensorSpec((1, None, None, 3))], autograph=False)
    compiled.get_concrete_function()
    return lambda image: compiled(image[None].astype("float32"))


def require_truths(examples: Sequence[Example]) -> Sequence[Example]:
    """The examples; a ValueError where there are none, or some have a ground truth and some have not."""
    if not examples:
        raise ValueError("there are no images for the figure")
    without = [example for example in examples if example.mask is None]
    if without and len(without) < len(examples):
        having = next(example for example in examples if example.mask is not None)
        raise ValueError(
            f"{without[0].image_origin} has no ground truth, {having.image_origin} has {having.mask_origin}: name the "
            "folder of all masks (--labels), or draw images without one in a figure of their own"
        )
    return examples


def _require_classes(model: keras.Model, classes: ClassTable) -> None:
    require_tensorflow("prediction")
    require_class_count(model, len(classes))


def _read(example: Example, classes: ClassTable) -> tuple[np.ndarray, np.ndarray | None]:
    if example.mask is None:
        return read_image(example.image, example.image_origin), None
    return read_example(example, classes)


def _predict(model: keras.Model, example: Example, image: np.ndarray) -> np.ndarray:
    try:
        return predict_ids(model, image)
    except ValueError as error:
        raise ValueError(f"{example.image_origin}: {error}") from error
