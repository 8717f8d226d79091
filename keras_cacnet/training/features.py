"""The features of a frozen backbone, computed once and kept on disk for all epochs of all runs that take the same."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from keras_cacnet.pipeline.calls import call
from keras_cacnet.pipeline.views import Views
from keras_cacnet.progress import ProgressBar
from keras_cacnet.wording import size_text

FORM = 2
"""Counts up with whatever changes what a cache holds."""

_SHARD_BYTES = 2**25
_BATCH = 16
_MASKS = "masks"


@dataclass(frozen=True)
class Features:
    """The features of all views of a source's images, in a folder of arrays.

    A view has the levels that the network trains on, "P5" and with an auxiliary head "P4", and its mask on the grid of
    the loss; where that reaches over the view it is void.

    Args:
        folder: where they are; a folder for only this source, this backbone and these views, see `features_key`.
        views: which views.
        images: number of images in the source.
        shapes: height, width and channels of every level.
        grid: height and width of the masks.
        dtype: what the features are kept in.
    """

    folder: Path
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
        views: Views,
        dtype: str,
        digest: str,
        folder: str | os.PathLike[str] | None = None,
    ) -> "Features":
        """Say which features a network needs of a source, and where they are kept.

        Args:
            model: the network; its backbone is frozen.
            source: the images and masks.
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
            model, views, dtype, digest
        )
        return cls(place, views, len(source), shapes, (grid, grid), dtype)

    @property
    def count(self) -> int:
        """Number of views."""
        return self.views.count * self.images

    @property
    def bytes(self) -> int:
        """What all of it takes on disk."""
        return self.count * self._view_bytes

    @property
    def _view_bytes(self) -> int:
        values = sum(math.prod(shape) for shape in self.shapes.values())
        return values * np.dtype(self.dtype).itemsize + math.prod(self.grid)

    @property
    def shard_size(self) -> int:
        """Views in a file: some 32 MB."""
        return max(1, _SHARD_BYTES // self._view_bytes)

    def missing(self) -> list[int]:
        """The numbers of the shards that are not there, or not whole."""
        return [shard for shard in range(-(-self.count // self.shard_size)) if self._opened(shard) is None]

    def fill(self, model: SegmentationNetwork, source: Source, classes: ClassTable, verbose: str | int = 1) -> None:
        """Compute what is not there yet, a shard at a time: broken off, it goes on with the next one.

        Args:
            model: the network whose features they are.
            source: the images and masks.
            classes: the data set's classes.
            verbose: as for `keras.Model.fit`: 0 says nothing, 2 what it takes, 1 and "auto" how far it has come too.

        Raises:
            OSError: there is no room on the disk, or the folder cannot be written.
            ValueError: a feature is beyond what `dtype` holds.
        """
        missing = self.missing()
        needed = min(len(missing) * self.shard_size, self.count) * self._view_bytes
        self._require_room(needed)
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
        spans = [range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.count)) for shard in missing]
        bar = ProgressBar("features", sum(map(len, spans)), "views") if verbose in ("auto", 1) else None
        for shard, span in zip(missing, spans, strict=True):
            arrays = self._empty(len(span))
            batches = self.views.stream(source, classes, span.start, span.stop).batch(_BATCH).prefetch(2)
            done = 0
            for images, masks in batches:
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
            self._write(shard, arrays)

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
        shards = range(-(-self.count // self.shard_size))
        opened = [_Rows.of(arrays) for number in shards if (arrays := self._opened(number)) is not None]
        if len(opened) < len(shards):
            raise ValueError(f"{self.folder} is not complete: fill it first")
        share, names = batch_size // shard[1], (*self.shapes, _MASKS)

        def gather(numbers: np.ndarray) -> tuple[np.ndarray, ...]:
            places = [divmod(int(number), self.shard_size) for number in numbers]
            return tuple(np.stack([opened[one][name].read(place) for one, place in places]) for name in names)

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
        return stream.map(batch, num_parallel_calls=2, deterministic=True).prefetch(2)

    def _empty(self, count: int) -> dict[str, np.ndarray]:
        arrays = {name: np.zeros((count, *shape), self.dtype) for name, shape in self.shapes.items()}
        return {**arrays, _MASKS: np.full((count, *self.grid), VOID, "uint8")}

    def _write(self, shard: int, arrays: dict[str, np.ndarray]) -> None:
        """A folder of arrays under a name of its own, renamed when it is whole."""
        place = self.folder / f"{shard:05d}"
        part = Path(tempfile.mkdtemp(prefix=f".{shard:05d}.", dir=self.folder))
        try:
            for name, values in arrays.items():
                with (part / f"{name}.npy").open("wb") as file:
                    np.save(file, values)
                    file.flush()
                    os.fsync(file.fileno())
            if self._opened(shard) is None:
                shutil.rmtree(place, ignore_errors=True)
                # Another process may have been first; it has written the same.
                with suppress(OSError):
                    os.replace(part, place)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _opened(self, shard: int) -> dict[str, np.memmap] | None:
        """The arrays of a shard, mapped; None where they are not there or not whole."""
        count = min(self.shard_size, self.count - shard * self.shard_size)
        wanted = {name: ((count, *array.shape[1:]), array.dtype) for name, array in self._empty(0).items()}
        try:
            arrays = {name: np.load(self.folder / f"{shard:05d}" / f"{name}.npy", mmap_mode="r") for name in wanted}
        except (OSError, ValueError, EOFError):
            return None
        whole = all((array.shape, array.dtype) == wanted[name] for name, array in arrays.items())
        return arrays if whole else None

    def _require_room(self, needed: int) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise OSError(
                f"{self.folder} cannot be written ({error.strerror or error}): name another folder for what is "
                "cached by the variable KERAS_CACNET_DATA, or set cached_views=0"
            ) from error
        # Room for what else a run writes.
        if needed and needed * 1.05 > (free := shutil.disk_usage(self.folder).free):
            raise OSError(
                f"the features of {self.count:,} views take {size_text(needed)}, and {self.folder} has room for "
                f"{size_text(free)}: set fewer cached_views, a smaller crop_size or cached_views=0, or name another "
                "disk by the variable KERAS_CACNET_DATA"
            )

    def _text(self, needed: int) -> str:
        what = f"{self.count:,} views of {self.images:,} images, {size_text(self.bytes)} in {self.folder}"
        if not needed:
            return f"features: {what}, all there"
        free = size_text(shutil.disk_usage(self.folder).free)
        there = "" if needed >= self.bytes else f", {size_text(needed)} of it still to be computed"
        return f"features: {what}{there} ({free} are free); read from there, and fastest where that much memory is free"


def features_key(model: SegmentationNetwork, views: Views, dtype: str, digest: str) -> str:
    """Sum up all that features depend on: images, masks, backbone, views, and the grid of the loss.

    Args:
        model: the network.
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
    facts = [FORM, digest, dtype, asdict(views), grid, layers]
    total.update(json.dumps(facts, default=str, sort_keys=True).encode())
    for variable in model.backbone.variables:
        if variable.dtype != "uint32":  # the random state of a dropout does nothing here
            total.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return total.hexdigest()


class _Rows(NamedTuple):
    """The rows of an array in a file, each read when it is asked for.

    TensorFlow keeps what a stream calls as long as the process lives, and mappings would stay open with it: a process
    that trains one network after another would run out of files.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, arrays: dict[str, np.memmap]) -> dict[str, "_Rows"]:
        return {
            name: cls(str(array.filename), array.offset, array.shape[1:], array.dtype) for name, array in arrays.items()
        }

    def read(self, row: int) -> np.ndarray:
        count = math.prod(self.shape)
        start = self.offset + row * count * self.dtype.itemsize
        return np.fromfile(self.path, self.dtype, count, offset=start).reshape(self.shape)


def _wide(levels: dict[str, Any]) -> dict[str, Any]:
    """In what NumPy knows; it has no bfloat16."""
    narrow = ("bfloat16", "float16")
    return {name: tf.cast(x, "float32") if x.dtype.name in narrow else x for name, x in levels.items()}
