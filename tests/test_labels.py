"""Which labels and weights are refused, of every type and rank, eagerly, in TensorFlow graphs, by XLA and under JAX."""

import re

import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.labels import pixel_weights, read_masks, require_void_apart, void_id

LOGITS = np.zeros((1, 1, 3, 3), "float32")
TOLD = r"is no class \(0\.\.2\) and not void \(255\); "
WRONG = [
    *((name, 7) for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")),
    *((name, -1) for name in ("int8", "int16", "int32", "int64", "float16", "float32", "float64")),
    *((name, 0.5) for name in ("float16", "float32", "float64")),
    # Would be 0 or 1 in 32 bits.
    *((name, 2**32) for name in ("int64", "uint64")),
    ("int64", 2**32 + 1),
    ("float32", np.float32(1 / 255)),  # masks that were scaled as images are
    ("float32", float("nan")),
    ("float32", float("inf")),
]


@pytest.mark.parametrize(("dtype", "label"), WRONG)
def test_a_label_that_is_no_class_is_told(dtype, label):
    masks = tf.constant(np.array([[[0, label, 0]]], "object").astype(dtype))
    shown = f"{label:.5g}"[:6] if "float" in dtype else str(label)
    mend = "whole numbers: read them without scaling" if "float" in dtype else "map ids to 0, 1, "
    with pytest.raises(ValueError, match=rf"^label {shown}\S* {TOLD}.*{mend}"):
        read_masks(masks, LOGITS, 255)

    def sums(masks):
        return [tf.reduce_sum(tf.cast(part, "int32")) for part in read_masks(masks, LOGITS, 255)]

    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"\[label\] \[{shown}\S*\] \[{TOLD}.*{mend}"):
        tf.function(sums)(masks)
    # XLA has nothing that could raise it; losses and metrics make it NaN.
    assert [int(part) for part in tf.function(sums, jit_compile=True)(masks)] == [0, 2, 1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64", "int64", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("compiled", [None, False, True])
def test_classes_and_void_of_every_type(dtype, compiled):
    masks = tf.cast([[[2, 255, 1]]], dtype)
    read = read_masks if compiled is None else tf.function(read_masks, jit_compile=compiled)
    ids, counts, wrong = read(masks, LOGITS, 255)
    assert (ids.dtype, ids.numpy().tolist()) == (tf.int32, [[[2, 0, 1]]])
    assert counts.numpy().tolist() == [[[True, False, True]]]
    assert not wrong.numpy().any()


def test_boolean_masks_and_lists_are_two_classes():
    for masks in (np.array([[[True, False, True]]]), [[[True, False, True]]], [[[1, 0, 1]]]):
        ids, counts, _ = read_masks(masks, LOGITS[..., :2], 255)
        assert ids.numpy().tolist() == [[[1, 0, 1]]]
        assert counts.numpy().all()


def test_no_void_and_other_void_ids():
    masks = np.array([[[0, 2, 1]]])
    assert read_masks(masks, LOGITS, None).counts.numpy().all()
    # Keras' way to leave a class of the network out.
    assert read_masks(masks, LOGITS, 0).counts.numpy().tolist() == [[[False, True, True]]]
    with pytest.raises(ValueError, match=r"label 255 is no class \(0..2\) and there is no void \(ignore_class=None\)"):
        read_masks(np.array([[[255, 2, 1]]]), LOGITS, None)
    with pytest.raises(ValueError, match=r"label 255 is no class \(0..2\) and not void \(-1\)"):
        read_masks(np.array([[[-1, 255, 0]]]), LOGITS, -1)


@pytest.mark.parametrize(
    ("masks", "logits", "told"),
    [
        (np.zeros((1, 3)), LOGITS, r"\(1, 3\) have no batch axis: give mask\[None\]"),
        (np.zeros((1, 1, 3, 3)), LOGITS, r"\(1, 1, 3, 3\) are one-hot: .* np.argmax"),
        (np.zeros((1, 1, 3, 2)), LOGITS, r"got \(1, 1, 3, 2\) and \(1, 1, 3, 3\)"),
        (np.zeros((1, 3, 1)), LOGITS, r"got \(1, 3, 1\) and \(1, 1, 3, 3\); .*nearest neighbour"),
        (np.array([[["sky", "sea", "sea"]]]), LOGITS, "masks must hold numbers, got values of type str"),
        (np.zeros((1, 1, 3), "complex64"), LOGITS, "complex64"),
        (np.zeros((1, 1, 3)), LOGITS[0], r"logits must be \(B, H, W, C\), got \(1, 3, 3\)"),
        (np.zeros((1, 1, 3)), LOGITS[..., :1], "1 classes: there must be at least 2; .* num_classes=2"),
        (np.zeros((1, 1, 3)), np.zeros((1, 1, 3, 300)), "300 classes and ignore_class=255: .* ignore_class=-1"),
    ],
)
def test_other_shapes_and_types_are_told(masks, logits, told):
    with pytest.raises(ValueError, match=told):
        read_masks(masks, logits, 255)


def test_the_usual_void_id_is_no_class():
    require_void_apart(255, 255)
    require_void_apart(300, -1)
    require_void_apart(300, None)
    with pytest.raises(ValueError, match="num_classes=256 and ignore_class=255"):
        require_void_apart(256, 255)
    for value in (True, 2.0, "255"):
        with pytest.raises(ValueError, match=f"ignore_class must be a whole number, got {value!r}"):
            void_id(value)
    assert (void_id(None), void_id(np.int64(7))) == (None, 7)


ANY = tf.TensorSpec((None, None, None))


def test_sizes_that_only_a_running_graph_knows():
    """Masks on their side have as many pixels: what takes pixels in a row would not see it."""
    read = tf.function(lambda masks, logits: read_masks(masks, logits, 255).ids)
    read = read.get_concrete_function(ANY, tf.TensorSpec((None, None, None, 3)))
    assert read(tf.ones((2, 4, 6)), tf.zeros((2, 4, 6, 3))).shape == (2, 4, 6)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"masks of size\] \[2 6 4\].*\[2 4 6\]"):
        read(tf.ones((2, 6, 4)), tf.zeros((2, 4, 6, 3)))
    with pytest.raises(ValueError, match="set_shape"):
        tf.function(lambda masks: read_masks(masks, LOGITS, 255)).get_concrete_function(tf.TensorSpec(None))


@pytest.mark.parametrize("shape", [(), (2,), (2, 1), (2, 1, 1), (2, 1, 1, 1), (2, 4, 6), (2, 4, 6, 1)])
def test_weights_of_images_and_pixels(shape):
    weights = np.random.default_rng(0).random(shape)
    expected = weights.reshape((*weights.shape[:3], *(1,) * (3 - min(len(shape), 3))))
    found = pixel_weights(weights, np.zeros((2, 4, 6, 3)), "float64").numpy()
    assert np.array_equal(np.broadcast_to(found, (2, 4, 6)), np.broadcast_to(expected, (2, 4, 6)))


@pytest.mark.parametrize(
    "shape", [(1,), (3,), (2, 4), (4, 6), (1, 4, 6), (2, 1, 6), (2, 4, 1), (2, 6, 4), (2, 4, 6, 3)]
)
def test_other_weights_are_told(shape):
    told = f"{shape} beside logits (2, 4, 6, 3). `class_weight` of `fit` does not know masks (B, H, W)"
    with pytest.raises(ValueError, match=re.escape(told)):
        pixel_weights(np.ones(shape), np.zeros((2, 4, 6, 3)), "float32")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_none_are_told(weight):
    with pytest.raises(ValueError, match=f"sample_weight {weight:g} is not a finite number from 0 on"):
        pixel_weights([1.0, weight], np.zeros((2, 4, 6, 3)), "float32")
    read = tf.function(lambda weights: pixel_weights(weights, np.zeros((2, 4, 6, 3)), "float32"), jit_compile=True)
    assert np.array_equal(read(tf.constant([1.0, weight])).numpy().ravel(), [1, np.nan], equal_nan=True)


def test_weights_whose_size_only_a_running_graph_knows():
    read = tf.function(lambda weights, logits: pixel_weights(weights, logits, "float32"))
    read = read.get_concrete_function(ANY, tf.TensorSpec((None, None, None, 3)))
    assert read(tf.ones((2, 4, 6)), tf.zeros((2, 4, 6, 3))).shape == (2, 4, 6)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"sample_weight of size\] \[1 4 6\]"):
        read(tf.ones((1, 4, 6)), tf.zeros((2, 4, 6, 3)))


JAX = """
import jax, numpy as np
from keras_cacnet.labels import read_masks
from keras_cacnet.training.losses import SegmentationCrossentropy
from keras_cacnet.training.metrics import Crossentropy, MeanIoU, PixelAccuracy
logits = np.zeros((1, 1, 3, 3), "float32")
for label in (7, -1, 0.5):
    masks = np.array([[[0, label, 255]]], "float32")
    for call in (lambda: SegmentationCrossentropy()(masks, logits), lambda: MeanIoU(3).update_state(masks, logits)):
        try:
            call()
        except ValueError as error:
            print(error)
    print(jax.jit(SegmentationCrossentropy())(masks, logits))
    for metric in (MeanIoU(3), PixelAccuracy(3), Crossentropy()):
        state = jax.jit(metric.stateless_update_state)([v.value for v in metric.variables], masks, logits)
        print(jax.jit(metric.stateless_result)(state))
try:
    SegmentationCrossentropy()(np.array([[["sky"]]]), logits)
except ValueError as error:
    print(error)
"""


def test_jax_tells_them_or_gives_nan(run_on_jax):
    lines = run_on_jax(JAX).splitlines()
    for index, label in enumerate((7, -1, 0.5)):
        told, told_again, *values = lines[6 * index : 6 * index + 6]
        assert told.startswith(f"label {label} is no class (0..2) and not void (255)")
        assert told_again == told
        assert values == ["nan"] * 4
    assert lines[18] == "masks must hold numbers, got values of type str96"
