"""From a source of examples to batches: which example when, and which process reads it."""

import threading

import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.source import Source
from keras_cacnet.pipeline.augmentation import PADDING, augment, brought_to
from keras_cacnet.pipeline.calls import PARALLEL, call, ends_at_once
from keras_cacnet.pipeline.examples import count_of, read
from keras_cacnet.pipeline.jitter import Jitter

_COUNTS = 8
"""Batches after which an iteration over training batches counts, more than Keras and TensorFlow read ahead."""


def training_batches(
    source: Source,
    classes: ClassTable,
    *,
    batch_size: int,
    crop_size: int,
    steps: int,
    seed: int,
    start_step: int = 0,
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    image_size: int | None = None,
    jitter: Jitter | None = None,
    shard: tuple[int, int] = (0, 1),
    num_parallel_calls: int = PARALLEL,
) -> tf.data.Dataset:
    """Make the augmented batches of the steps `start_step` to `steps` of a training run.

    A batch depends on the number of its step and nothing else: example g (counted from the start of the run) is
    number `shuffle(g % N)` of the source, under a permutation drawn from (seed, g // N), augmented with the seed
    (seed, g). So it is the same for any number of readers, each example comes once in N, and a stream that
    starts at a step equals the rest of one that starts at 0, bit for bit.

    Read again, the stream goes on: where the first iteration had the steps `start_step` to `steps`, the second has as
    many that follow them, and so on. So the epochs of `model.fit(batches, epochs=3)` differ, each with steps of its
    own, and equal three streams that start where the one before ended. An iteration that was left before its last
    batch and its eighth does not count, and the next begins where it began: a look at some batches changes nothing,
    nor does the iteration that Keras' `fit` begins and leaves under a strategy.

    Args:
        source: the examples.
        classes: the data set's classes.
        batch_size: examples per batch, over all replicas.
        crop_size: height and width of the crops.
        steps: number of the step before which an iteration ends; the run's length where `start_step` is 0.
        seed: of the order and the augmentation, 0 or greater.
        start_step: number of the first step.
        scale_range: see `augment`.
        flip: see `augment`.
        image_size: see `augment`.
        jitter: see `augment`.
        shard: (index, count) where several processes share every batch: only the examples of this one are read,
            a run of `batch_size / count` that follows those of the process before.
        num_parallel_calls: examples that are read at the same time; by default one a processor.

    Returns:
        `steps - start_step` batches of n = batch_size / count examples: images, float32
        (n, crop_size, crop_size, 3) in 0..255, and masks, uint8 (n, crop_size, crop_size) with class indices and
        `VOID`.

    Raises:
        ValueError: an argument is out of range, or the source is empty. An example that cannot be read raises
            from the iteration; `reading_error` has its message.

    Reference:
        Section 4.1, Training Setting.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("crop_size", crop_size, 1),
        ("steps", steps, 1),
        ("seed", seed, 0),
        ("start_step", start_step, 0),
    ):
        if value < least:
            raise ValueError(f"{name} has to be {least} or greater; received {value}.")
    if start_step > steps:
        raise ValueError(f"start_step has to be no greater than steps, {steps}; received {start_step}.")
    if not 0 < scale_range[0] <= scale_range[1]:
        raise ValueError(f"scale_range has to be two numbers with 0 < smallest <= largest; received {scale_range}.")
    check_shard(shard)
    if batch_size % shard[1]:
        raise ValueError(f"batch_size has to be a multiple of the shards, {shard[1]}; received {batch_size}.")
    count, share = count_of(source), batch_size // shard[1]

    def example_of(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        g = place // share * batch_size + shard[0] * share + place % share
        image, mask = read(source, classes, shuffled(g, count, seed))
        example_seed = tf.stack([tf.constant(seed, "int64"), g])
        return augment(image, mask, example_seed, crop_size, scale_range, flip, image_size, jitter=jitter)

    turns, length = _Turns(), steps - start_step
    stream = turns.begin().flat_map(
        lambda turn: tf.data.Dataset.range(length * share).map(
            lambda place: (turn, (start_step + turn * length) * share + place)
        )
    )
    stream = stream.map(
        lambda turn, place: (turn, *example_of(place)), num_parallel_calls=num_parallel_calls, deterministic=True
    )
    stream = stream.batch(share, drop_remainder=True).prefetch(2).enumerate()
    # Behind the prefetching, so that a batch counts when it is taken and not when it is ready.
    stream = stream.map(lambda number, batch: turns.count(number, batch, min(length, _COUNTS)), num_parallel_calls=None)
    return ends_at_once(stream.apply(tf.data.experimental.assert_cardinality(length)))


def shuffled(g: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """Compute the number in its source of example g, counted from the start of a run: each comes once in `count`.

    Example:
        >>> sorted(int(shuffled(g, 4, seed=1)) for g in tf.range(4, 8, dtype="int64"))
        [0, 1, 2, 3]
    """
    epoch_seed = tf.stack([tf.constant(seed, "int64"), g // count])
    return tf.random.experimental.index_shuffle(g % count, epoch_seed, max_index=count - 1)


def evaluation_batches(
    source: Source,
    classes: ClassTable,
    *,
    batch_size: int = 1,
    image_size: int | None = None,
    replicas: int = 1,
    shard: tuple[int, int] = (0, 1),
    num_parallel_calls: int = PARALLEL,
) -> tf.data.Dataset:
    """Make batches of all examples of a source, in order, at their own size.

    The last batch is filled up with examples whose masks are void all over, so that every batch is whole and
    `model.evaluate` scores a source of any size on any number of replicas, which share a batch. Metrics are not
    touched by them; the `loss` that Keras reports is a mean over images and counts them,
    `keras_cacnet.metrics.Crossentropy` does not.

    Args:
        source: the examples.
        classes: the data set's classes.
        image_size: the long side to which images are brought, and their masks with them; by default none is.
        batch_size: examples per batch; above 1 all images have to be of one size. A multiple of the replicas where
            they share a batch.
        replicas: where each has batches of its own: the number of batches is filled up to a multiple of it.
        shard: (index, count) where several processes share the batches: of every count this one has one.
        num_parallel_calls: examples that are read at the same time; by default one a processor.

    Returns:
        Batches of images, float32 (batch_size, height, width, 3) in 0..255, and masks, uint8
        (batch_size, height, width) with class indices and `VOID`.

    Raises:
        ValueError: an argument is out of range, or the source is empty. An example that cannot be read raises from
            the iteration; `reading_error` has its message. So do images of several sizes in one batch, as
            TensorFlow's `InvalidArgumentError`.
    """
    for name, value in (("batch_size", batch_size), ("replicas", replicas)):
        if value < 1:
            raise ValueError(f"{name} has to be 1 or greater; received {value}.")
    check_shard(shard)
    count = count_of(source)
    batches = -(-count // batch_size)

    def example_of(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        index = (place // batch_size * shard[1] + shard[0]) * batch_size + place % batch_size
        return brought_to(*_read_or_void(source, classes, index, count), image_size)

    own = len(range(shard[0], batches + -batches % replicas, shard[1]))
    stream = tf.data.Dataset.range(own * batch_size).map(
        example_of, num_parallel_calls=num_parallel_calls, deterministic=True
    )
    return ends_at_once(stream.batch(batch_size, drop_remainder=True).prefetch(2))


def window_batches(
    source: Source,
    classes: ClassTable,
    size: int,
    *,
    image_size: int | None = None,
    replicas: int = 1,
    shard: tuple[int, int] = (0, 1),
    num_parallel_calls: int = PARALLEL,
) -> tf.data.Dataset:
    """Cut every example of a source into windows of one size, for a network that takes no other.

    The windows lie side by side, so that every pixel is scored once. What they lack on the right and at the bottom
    is filled up as in training, with `PADDING` and `VOID`.

    Args:
        source: the examples.
        classes: the data set's classes.
        size: height and width of the windows.
        image_size: as for `evaluation_batches`.
        replicas: where each has batches of its own: the number of batches is filled up to a multiple of it, with
            masks that are void all over.
        shard: (index, count) where several processes share the batches: of every count this one has one.
        num_parallel_calls: examples that are read at the same time; by default one a processor.

    Returns:
        A batch of every example, in order, of all its windows by rows: images, float32 (n, size, size, 3) in
        0..255, and masks, uint8 (n, size, size) with class indices and `VOID`.

    Raises:
        ValueError: the source is empty, or the size is below 1. An example that cannot be read raises from the
            iteration; `reading_error` has its message.
    """
    for name, value in (("size", size), ("replicas", replicas)):
        if value < 1:
            raise ValueError(f"{name} has to be 1 or greater; received {value}.")
    check_shard(shard)
    count = count_of(source)

    def windows_of(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = brought_to(*_read_or_void(source, classes, index, count), image_size)
        windows = _windows(image, size, PADDING)
        return windows, _windows(mask[..., None], size, VOID)[..., 0]

    stream = tf.data.Dataset.range(count + -count % replicas).shard(shard[1], shard[0])
    stream = stream.map(windows_of, num_parallel_calls=num_parallel_calls, deterministic=True)
    return ends_at_once(stream.prefetch(2))


class _Turns:
    """Which time a stream is read: the turn that its next iteration has."""

    def __init__(self) -> None:
        self._next = 0
        self._lock = threading.Lock()

    def begin(self) -> tf.data.Dataset:
        """Give the turn of an iteration, asked for when its first batch is."""
        return tf.data.Dataset.from_tensors(0).map(lambda _: tf.ensure_shape(call(self._turn, [], tf.int64), ()))

    def count(self, number: tf.Tensor, batch: tuple[tf.Tensor, ...], enough: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Count the images and masks of a batch; with the last that is needed the turn is over."""
        turn, images, masks = batch

        def over() -> tf.Tensor:
            return call(self._end, [turn[0]], tf.int64)

        ended = tf.cond(tf.equal(number, enough - 1), over, lambda: tf.constant(0, tf.int64))
        with tf.control_dependencies([ended]):
            return tf.identity(images), tf.identity(masks)

    def _turn(self) -> np.int64:
        return np.int64(self._next)

    def _end(self, turn: np.int64) -> np.int64:
        with self._lock:
            self._next = max(self._next, int(turn) + 1)
        return turn


def check_shard(shard: tuple[int, int]) -> None:
    """Refuse a shard that is not an index and a count."""
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard has to be (index, count) with 0 <= index < count; received {shard}.")


def _windows(pixels: tf.Tensor, size: int, fill: float) -> tf.Tensor:
    """Pixels (height, width, c) as windows (n, size, size, c)."""
    height, width = tf.unstack(tf.shape(pixels)[:2])
    missing = [[0, -height % size], [0, -width % size], [0, 0]]
    pixels = tf.pad(pixels, missing, constant_values=tf.cast(fill, pixels.dtype))
    channels = pixels.shape[-1]
    rows = tf.reshape(pixels, (-1, size, tf.shape(pixels)[1] // size, size, channels))
    return tf.reshape(tf.transpose(rows, (0, 2, 1, 3, 4)), (-1, size, size, channels))


def _read_or_void(source: Source, classes: ClassTable, index: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    image, mask = read(source, classes, tf.minimum(index, count - 1))
    return image, tf.where(index < count, mask, tf.constant(VOID, mask.dtype))
