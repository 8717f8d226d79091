"""The stream of batches: order, resumption, and parallel readers."""

import hashlib
import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cacnet.datasets import VOID, ClassTable, Example, open_dataset, read_example
from keras_cacnet.pipeline import evaluation_batches, training_batches, window_batches

TABLE = ClassTable(("a", "b", "c"), ((0, 0, 0),) * 3, (0, 1, 2))
SIZES = [(40, 30), (24, 50), (33, 33), (20, 20), (61, 37), (30, 44), (25, 25)]


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Source(list):
    """Seven examples; example i is of grey level 30 i + 20. Readers can be told to dawdle."""

    def __init__(self, slow=False):
        rng = np.random.default_rng(0)
        self.slow = slow
        self.read = []
        for i, size in enumerate(SIZES):
            mask = rng.integers(0, 4, size, "uint8")
            mask[mask == 3] = VOID
            super().append(Example(f"e{i}", png(np.full((*size, 3), 30 * i + 20, "uint8")), png(mask)))

    def __getitem__(self, index):
        self.read.append(index)
        if self.slow:
            # Readers overtake each other.
            time.sleep(0.002 * (index % 3))
        return super().__getitem__(index)


def stream(source=None, **options):
    options = {"batch_size": 3, "crop_size": 32, "steps": 14, "seed": 7} | options
    return training_batches(source or Source(), TABLE, **options)


def arrays(batches):
    return [(images.numpy(), masks.numpy()) for images, masks in batches]


def assert_equal_streams(one, other):
    assert len(one) == len(other)
    for (images, masks), (images_too, masks_too) in zip(one, other, strict=True):
        np.testing.assert_array_equal(images, images_too)
        np.testing.assert_array_equal(masks, masks_too)


def order(batches):
    """Which example each image is of, read off its grey level."""
    return [round((float(image.max()) - 20) / 30) for images, _ in arrays(batches) for image in images]


def test_types_and_shapes_are_known_beforehand():
    batches = stream()
    images, masks = batches.element_spec
    assert images == tf.TensorSpec((3, 32, 32, 3), tf.float32)
    assert masks == tf.TensorSpec((3, 32, 32), tf.uint8)
    assert int(batches.cardinality()) == 14
    assert int(stream(start_step=4).cardinality()) == 10


def test_same_batches_whatever_the_number_of_readers():
    one = arrays(stream(num_parallel_calls=1))
    for parallel in (2, 8, tf.data.AUTOTUNE):
        assert_equal_streams(one, arrays(stream(Source(slow=True), num_parallel_calls=parallel)))


@pytest.mark.parametrize("start", [1, 5, 13, 14])
def test_a_later_start_gives_the_rest(start):
    assert_equal_streams(arrays(stream())[start:], arrays(stream(start_step=start)))


def test_more_steps_go_on():
    assert_equal_streams(arrays(stream()), arrays(stream(steps=20))[:14])


def test_each_example_once_an_epoch_in_another_order_each():
    count = len(SIZES)
    seen = order(stream(scale_range=(1.0, 1.0)))
    epochs = [tuple(seen[i : i + count]) for i in range(0, len(seen) - count + 1, count)]
    assert len(epochs) == 6
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert len(set(epochs)) == 6


def test_first_places_are_spread():
    seen = order(stream(batch_size=1, steps=60 * len(SIZES), scale_range=(1.0, 1.0)))
    # 60 epochs and 7 examples: that a given one is never the first has a probability of 1e-4.
    assert set(seen[:: len(SIZES)]) == set(range(len(SIZES)))


def test_an_example_looks_another_way_each_epoch():
    source = [Source()[2]]
    batches = arrays(stream(source, batch_size=1, steps=6))
    assert len({masks.tobytes() for _, masks in batches}) == 6


def joined(*streams):
    return [batch for one in streams for batch in arrays(one)]


def test_read_again_the_stream_goes_on():
    again = stream(start_step=2, steps=6)
    assert_equal_streams(joined(again, again, again), arrays(stream(start_step=2, steps=14)))


@pytest.mark.parametrize("count", [2, 3])
def test_read_again_shares_go_on(count):
    whole = arrays(stream(batch_size=6, steps=8))
    shards = [stream(batch_size=6, steps=4, shard=(i, count)) for i in range(count)]
    shares = [joined(shard, shard) for shard in shards]
    both = [tuple(np.concatenate(parts) for parts in zip(*step, strict=True)) for step in zip(*shares, strict=True)]
    assert_equal_streams(both, whole)


@pytest.mark.parametrize("strategy", [None, "MirroredStrategy"])
@pytest.mark.parametrize("steps", [6, 13])
def test_epochs_of_fit_are_those_of_three_starts(strategy, steps):
    """What a network sees in `fit(train, epochs=3)`, without `steps_per_epoch`."""
    # Under a strategy `fit` begins an iteration beside the epochs'.
    scope = getattr(tf.distribute, strategy)(["CPU:0"]) if strategy else tf.distribute.get_strategy()
    seen = []

    class Seeing(keras.Model):
        def train_step(self, batch):
            tf.numpy_function(lambda images, masks: seen.append((images, masks)) or 0, batch, tf.int64)
            return {"loss": tf.constant(0.0)}

    with scope.scope():
        inputs = keras.Input((32, 32, 3))
        model = Seeing(inputs, keras.layers.Conv2D(1, 1)(inputs))
        model.compile("sgd", "mse", jit_compile=False)
    model.fit(stream(steps=steps), epochs=3, verbose=0, shuffle=False)
    starts = [stream(start_step=epoch * steps, steps=(epoch + 1) * steps) for epoch in range(3)]
    assert_equal_streams(seen, joined(*starts))


def test_a_look_at_some_batches_changes_nothing():
    batches = stream()
    for _ in range(3):
        looked = arrays(batches.take(5))
    assert_equal_streams(looked, arrays(stream())[:5])
    assert_equal_streams(arrays(batches), arrays(stream()))


def test_long_parts_go_on():
    """Read for eight batches or more an iteration counts, so that no loop over a part of it sees the same again."""
    batches = stream()
    parts = [arrays(batches.take(9)) for _ in range(2)]
    assert_equal_streams(parts[0], arrays(stream())[:9])
    assert_equal_streams(parts[1], arrays(stream(start_step=14, steps=28))[:9])


def test_seeds_differ():
    one, other = arrays(stream()), arrays(stream(seed=8))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(one, other, strict=True))


def digest(batches):
    return hashlib.sha256(b"".join(a.tobytes() + b.tobytes() for a, b in arrays(batches))).hexdigest()


def test_equal_in_another_process():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_batches as t; print(t.digest(t.stream()))"
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(stream())


def test_reading_happens_side_by_side():
    gate = threading.Barrier(2, timeout=20)

    class Gated(Source):
        def __getitem__(self, index):
            if len(self.read) < 2:
                self.read.append(index)
                # Passes only where two readers are here at once.
                gate.wait()
            return super().__getitem__(index)

    assert len(arrays(stream(Gated(), steps=2, num_parallel_calls=2))) == 2


def test_evaluation_is_whole_and_in_order():
    source = Source(slow=True)
    batches = arrays(evaluation_batches(source, TABLE))
    assert len(batches) == len(SIZES)
    for example, (image, mask) in zip(Source(), batches, strict=True):
        expected, expected_mask = read_example(example, TABLE)
        np.testing.assert_array_equal(image, expected[None])
        np.testing.assert_array_equal(mask, expected_mask[None])
        assert image.dtype == np.float32
        assert mask.dtype == np.uint8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size has to be 1 or greater; received 0"),
        ({"crop_size": -1}, "crop_size has to be 1 or greater; received -1"),
        ({"steps": 0}, "steps has to be 1"),
        ({"seed": -1}, "seed has to be 0 or greater; received -1"),
        ({"start_step": 15}, "start_step has to be no greater than steps, 14; received 15"),
        ({"start_step": -1}, "start_step has to be 0"),
        ({"scale_range": (0.0, 1.0)}, "scale_range"),
        ({"scale_range": (2.0, 1.0)}, "scale_range"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        stream(**options)


def test_nothing_to_read():
    for make in (
        lambda: training_batches([], TABLE, batch_size=1, crop_size=8, steps=1, seed=0),
        lambda: evaluation_batches([], TABLE),
    ):
        with pytest.raises(ValueError, match="no examples"):
            make()


def test_camvid(shared_data):
    data = open_dataset(shared_data / "camvid")
    options = {"batch_size": 4, "crop_size": 96, "steps": 1, "seed": 0}
    [(images, masks)] = training_batches(data.source("train"), data.classes, **options)
    assert images.shape == (4, 96, 96, 3)
    assert 0 <= float(tf.reduce_min(images)) <= float(tf.reduce_max(images)) <= 255
    assert set(np.unique(masks)) <= {*range(11), VOID}


def test_windows_hold_every_pixel_once():
    source = Source()
    batches = window_batches(source, TABLE, 24)
    assert batches.cardinality() == len(SIZES)  # which Keras warns of where it is unknown
    for example, (images, masks) in zip(source, arrays(batches), strict=True):
        image, mask = read_example(example, TABLE)
        height, width = mask.shape
        place = iter(zip(images, masks, strict=True))
        assert len(images) == -(-height // 24) * -(-width // 24)
        for top in range(0, height, 24):
            for left in range(0, width, 24):
                pixels, ids = next(place)
                assert (pixels.shape, ids.shape) == ((24, 24, 3), (24, 24))
                assert (pixels.dtype, ids.dtype) == ("float32", "uint8")
                h, w = min(24, height - top), min(24, width - left)
                np.testing.assert_array_equal(pixels[:h, :w], image[top : top + 24, left : left + 24])
                np.testing.assert_array_equal(ids[:h, :w], mask[top : top + 24, left : left + 24])
                assert (pixels[h:] == 0).all()
                assert (pixels[:, w:] == 0).all()
                assert (ids[h:] == VOID).all()
                assert (ids[:, w:] == VOID).all()
    with pytest.raises(ValueError, match="size has to be 1 or greater; received 0"):
        window_batches(source, TABLE, 0)
    with pytest.raises(ValueError, match="no examples"):
        window_batches([], TABLE, 8)


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 7), (3, 3), (4, 2), (7, 1), (9, 1)])
def test_evaluation_fills_the_last_batch_up_with_void(batch_size, batches):
    source = Source()
    if batch_size > 1:
        for i in range(len(source)):
            image, mask = np.full((8, 9, 3), i, "uint8"), np.full((8, 9), i % 3, "uint8")
            list.__setitem__(source, i, Example(f"e{i}", png(image), png(mask)))
    stream = evaluation_batches(source, TABLE, batch_size=batch_size)
    assert int(stream.cardinality()) == batches
    assert stream.element_spec[0].shape[0] == batch_size
    plain = [(x, y) for xs, ys in arrays(evaluation_batches(source, TABLE)) for x, y in zip(xs, ys, strict=True)]
    filled = [(x, y) for xs, ys in arrays(stream) for x, y in zip(xs, ys, strict=True)]
    assert_equal_streams(filled[: len(plain)], plain)
    assert all(np.all(mask == VOID) for _, mask in filled[len(plain) :])


def test_evaluation_refuses_no_batch():
    with pytest.raises(ValueError, match="batch_size has to be 1 or greater; received 0"):
        evaluation_batches(Source(), TABLE, batch_size=0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_every_batch(count):
    """Side by side, what each reads is the whole batch, and nobody reads what belongs to another."""
    whole = arrays(stream(batch_size=6, start_step=2, steps=6))
    sources = [Source() for _ in range(count)]
    options = {"batch_size": 6, "start_step": 2, "steps": 6}
    shares = [arrays(stream(source, **options, shard=(i, count))) for i, source in enumerate(sources)]
    joined = [tuple(np.concatenate(parts) for parts in zip(*step, strict=True)) for step in zip(*shares, strict=True)]
    assert_equal_streams(joined, whole)
    assert all(len(source.read) == 4 * 6 // count for source in sources)


@pytest.mark.parametrize("make", [evaluation_batches, lambda *words, **options: window_batches(*words, 24, **options)])
@pytest.mark.parametrize(("replicas", "count"), [(2, 1), (4, 2), (3, 3), (8, 2)])
def test_replicas_have_batches_of_their_own(make, replicas, count):
    """Each example comes once, in the order of the replicas; the rest is void all over."""
    plain = arrays(make(Source(), TABLE))
    shards = [arrays(make(Source(), TABLE, replicas=replicas, shard=(i, count))) for i in range(count)]
    assert {len(shard) for shard in shards} == {-(-7 // replicas) * replicas // count}
    filled = [batch for turn in zip(*shards, strict=True) for batch in turn]
    assert_equal_streams(filled[:7], plain)
    assert all(np.all(masks == VOID) for _, masks in filled[7:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: stream(batch_size=3, shard=(0, 2)), "batch_size has to be a multiple of the shards, 2; received 3"),
        (lambda: stream(shard=(2, 2)), r"shard has to be \(index, count\).*received \(2, 2\)"),
        (lambda: evaluation_batches(Source(), TABLE, replicas=0), "replicas has to be 1 or greater; received 0"),
        (lambda: window_batches(Source(), TABLE, 8, shard=(-1, 2)), r"received \(-1, 2\)"),
    ],
)
def test_shares_that_there_are_not(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_no_stream_has_the_thread_that_its_end_would_wait_for():
    for batches in (stream(), evaluation_batches(Source(), TABLE), window_batches(Source(), TABLE, 32)):
        assert batches.options().autotune.enabled is False
