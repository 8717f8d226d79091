"""The features of a frozen backbone, computed once for all epochs of all runs that take the same."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.records import cache_folder
from keras_cacnet.datasets.source import Source
from keras_cacnet.files import user_path, write_json
from keras_cacnet.models.network import SegmentationNetwork
from keras_cacnet.models.objective import on_grid
from keras_cacnet.models.settings import RES4_STRIDE
from keras_cacnet.pipeline.batches import check_shard
from keras_cacnet.pipeline.calls import call, ends_at_once
from keras_cacnet.pipeline.views import Views
from keras_cacnet.progress import ProgressBar
from keras_cacnet.training.feature_shards import FeatureShards
from keras_cacnet.wording import size_text

FORM = 2
"""Counts up with whatever changes what a cache holds."""

_BATCH = 16
_MASKS = "masks"


@dataclass(frozen=True)
class Features:
    """The features of all views of a source's images, in a folder of arrays.

    A view has the levels that the network trains on, "P5" and with an auxiliary head "P4", and its mask on the grid of
    the loss; where that reaches over the view it is void.

    Args:
        folder: where they are; a folder for only this source, these classes, this backbone and these views, see
            `features_key`.
        classes: by which masks are read.
        views: which views.
        images: number of images in the source.
        shapes: height, width and channels of every level.
        grid: height and width of the masks.
        dtype: what the features are kept in.
    """

    folder: Path
    classes: ClassTable
    views: Views
    images: int
    shapes: dict[str, tuple[int, int, int]]
    grid: tuple[int, int]
    dtype: str

    @classmethod
    def of(
        cls,
        model: SegmentationNetwork,
        source: Source,
        classes: ClassTable,
        views: Views,
        dtype: str,
        digest: str,
        folder: str | os.PathLike[str] | None = None,
    ) -> "Features":
        """Say which features a network needs of a source, and where they are kept.

        Args:
            model: the network; its backbone is frozen.
            source: the images and masks.
            classes: the data set's classes.
            views: the views of them.
            dtype: what the features are kept in.
            digest: of the contents of the source, see `datasets.fingerprint`.
            folder: the folder of all caches; by default "features" beside the records of data sets, see
                `datasets.cache_folder`.

        Raises:
            ValueError: the backbone is trained.
        """
        if model.backbone.trainable_variables:
            raise ValueError("the features of a backbone that is trained change: freeze it first (freeze=backbone)")
        strides = {"P5": model.output_stride, "P4": min(model.output_stride, RES4_STRIDE)}
        names = ("P5",) if model.auxiliary is None else ("P4", "P5")
        padded = -(-views.crop_size // model.output_stride) * model.output_stride
        sides = {name: padded // strides[name] for name in names}
        shapes = {name: (sides[name], sides[name], int(model.backbone.output[name].shape[-1])) for name in names}
        grid = padded // model.loss_stride
        place = (cache_folder() / "features" if folder is None else user_path(folder)) / features_key(
            model, classes, views, dtype, digest
        )
        return cls(place, classes, views, len(source), shapes, (grid, grid), dtype)

    @property
    def count(self) -> int:
        """Number of views."""
        return self.views.count * self.images

    @property
    def bytes(self) -> int:
        """What all of it takes on disk."""
        return self.count * self.shards.row_bytes

    @property
    def shards(self) -> FeatureShards:
        """The files that they are kept in."""
        levels = {name: (shape, self.dtype) for name, shape in self.shapes.items()}
        return FeatureShards(self.folder, self.count, {**levels, _MASKS: (self.grid, "uint8")})

    def fill(self, model: SegmentationNetwork, source: Source, verbose: str | int = 1) -> None:
        """Compute what is not there yet, a shard at a time: broken off, it goes on with the next one.

        Args:
            model: the network whose features they are.
            source: the images and masks.
            verbose: as for `keras.Model.fit`: 0 says nothing, 2 what it takes, 1 and "auto" how far it has come too.

        Raises:
            OSError: there is no room on the disk, or the folder cannot be written.
            ValueError: a feature is beyond what `dtype` holds.
        """
        shards = self.shards
        missing = shards.missing()
        needed = sum(len(shards.rows(shard)) for shard in missing) * shards.row_bytes
        shards.require_room(needed)
        if verbose:
            print(self._text(needed))
        if not missing:
            return
        write_json(self.folder / "features.json", {"form": FORM, "images": self.images, **asdict(self.views)})
        compute = tf.function(
            lambda images: _wide(model.features(images)),
            input_signature=[tf.TensorSpec((None, self.views.crop_size, self.views.crop_size, 3), model.input.dtype)],
            autograph=False,
        )
        spans = [shards.rows(shard) for shard in missing]
        bar = ProgressBar("features", sum(map(len, spans)), "views") if verbose in ("auto", 1) else None
        for shard, span in zip(missing, spans, strict=True):
            arrays = self._empty(len(span))
            batches = self.views.stream(source, self.classes, span.start, span.stop).batch(_BATCH)
            done = 0
            for images, masks in ends_at_once(batches.prefetch(2)):
                part = slice(done, done := done + len(masks))
                coarse = on_grid(masks.numpy(), model.loss_stride)
                arrays[_MASKS][part, : coarse.shape[1], : coarse.shape[2]] = coarse
                for name, values in compute(tf.cast(images, model.input.dtype)).items():
                    with np.errstate(over="ignore"):
                        arrays[name][part] = keras.ops.convert_to_numpy(values)
                    if not np.isfinite(arrays[name][part]).all():
                        raise ValueError(
                            f"features {name} are not finite in {self.dtype}: set cached_dtype=float32, and look at "
                            "the weights of the backbone where that does not help"
                        )
                if bar is not None:
                    bar.add(len(masks))
            shards.write(shard, arrays)

    def batches(
        self, *, batch_size: int, steps: int, seed: int, start_step: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> tf.data.Dataset:
        """Make the batches of the steps `start_step` to `steps` of a run, each by nothing but the number of its step.

        Args:
            batch_size: views per batch, over all replicas.
            steps: number of the step before which it ends.
            seed: of the order.
            start_step: number of the first step.
            shard: (index, count) where several processes share every batch, as for `pipeline.training_batches`.

        Returns:
            Batches of a dict of the levels, (batch_size / count, h, w, c), and of masks on the grid of the loss.
        """
        check_shard(shard)
        gather, share = self.shards.reader(), batch_size // shard[1]

        def batch(step: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            first = step * batch_size + shard[0] * share
            examples = first + tf.range(share, dtype="int64")
            numbers = tf.map_fn(lambda g: self.views.number(g, self.images, seed), examples)
            kinds = (*[tf.as_dtype(self.dtype)] * len(self.shapes), tf.uint8)
            found = call(gather, [numbers], kinds)
            levels = {
                name: tf.ensure_shape(values, (share, *shape))
                for values, (name, shape) in zip(found[:-1], self.shapes.items(), strict=True)
            }
            return levels, tf.ensure_shape(found[-1], (share, *self.grid))

        stream = tf.data.Dataset.range(start_step, steps)
        return ends_at_once(stream.map(batch, num_parallel_calls=2, deterministic=True).prefetch(2))

    def _empty(self, count: int) -> dict[str, np.ndarray]:
        arrays = {name: np.zeros((count, *shape), self.dtype) for name, shape in self.shapes.items()}
        return {**arrays, _MASKS: np.full((count, *self.grid), VOID, "uint8")}

    def _text(self, needed: int) -> str:
        what = f"{self.count:,} views of {self.images:,} images, {size_text(self.bytes)} in {self.folder}"
        if not needed:
            return f"features: {what}, all there"
        free = size_text(shutil.disk_usage(self.folder).free)
        there = "" if needed >= self.bytes else f", {size_text(needed)} of it still to be computed"
        return f"features: {what}{there} ({free} are free); read from there, and fastest where that much memory is free"


def features_key(model: SegmentationNetwork, classes: ClassTable, views: Views, dtype: str, digest: str) -> str:
    """Sum up all that features depend on: images, masks and how they are read, backbone, views, the grid of the loss.

    Args:
        model: the network.
        classes: by which masks are read.
        views: the views.
        dtype: what the features are kept in.
        digest: of the contents of the source.

    Returns:
        Hexadecimal digits.
    """
    total = hashlib.blake2b(digest_size=16)
    layers = []
    for layer in model.backbone.layers:
        settings = {key: value for key, value in layer.get_config().items() if key not in ("name", "trainable")}
        layers.append([type(layer).__name__, settings])
    grid = [model.output_stride, model.loss_stride, model.auxiliary is None]
    facts = [FORM, digest, classes.to_json(), dtype, asdict(views), grid, layers]
    total.update(json.dumps(facts, default=str, sort_keys=True).encode())
    for variable in model.backbone.variables:
        if variable.dtype != "uint32":  # the random state of a dropout does nothing here
            total.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return total.hexdigest()


def _wide(levels: dict[str, Any]) -> dict[str, Any]:
    """In what NumPy knows; it has no bfloat16."""
    narrow = ("bfloat16", "float16")
    return {name: tf.cast(x, "float32") if x.dtype.name in narrow else x for name, x in levels.items()}
