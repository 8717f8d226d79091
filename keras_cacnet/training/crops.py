"""The crops that a recipe trains on: how they are made, and the first of them to look at."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_cacnet.arguments import require_count
from keras_cacnet.datasets.source import SegmentationDataset
from keras_cacnet.pipeline.batches import training_batches
from keras_cacnet.pipeline.views import Views
from keras_cacnet.training.recipe import Recipe


def crop_settings(recipe: Recipe) -> dict[str, Any]:
    """Say what a recipe does to its crops, by the arguments of `training_batches` and `Views`.

    Example:
        >>> crop_settings(Recipe())["scale_range"]
        (0.5, 2.0)
    """
    return {
        "crop_size": recipe.crop_size,
        "scale_range": (recipe.scale_min, recipe.scale_max),
        "flip": recipe.flip,
        "image_size": recipe.image_size,
        "jitter": recipe.jitter,
    }


def first_crops(recipe: Recipe, dataset: SegmentationDataset, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Make the crops that a run would see first, to look at them before it is started.

    Args:
        recipe: the settings of the run.
        dataset: the data.
        count: the number of crops; beyond the images of the split they are those of the next epochs.

    Returns:
        Images, uint8 (count, crop_size, crop_size, 3), and masks, uint8 (count, crop_size, crop_size), with class
        indices and 255 for void.

    Raises:
        ValueError: no crop is asked for, or the data set has no such split.
        tf.errors.InvalidArgumentError: an example that cannot be read; `pipeline.reading_error` has its message.

    Example:
        See `visualization.batch_figure`.
    """
    count = require_count("count", count)
    source, classes, crops = dataset.source(recipe.split), dataset.classes, crop_settings(recipe)
    if recipe.cached_views:
        views = Views(recipe.cached_views, **crops)
        numbers = [int(views.number(tf.constant(g, "int64"), len(source), recipe.seed)) for g in range(count)]
        pairs = [next(iter(views.stream(source, classes, number, number + 1))) for number in numbers]
        images, masks = (np.stack(part) for part in zip(*pairs, strict=True))
    else:
        batches = training_batches(source, classes, batch_size=count, steps=1, seed=recipe.seed, **crops)
        images, masks = (part.numpy() for part in next(iter(batches)))
    return np.round(images).astype("uint8"), masks
