import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.datasets.classes import VOID
from keras_cacnet.evaluation import WHOLE, Protocol, evaluate, scores
from keras_cacnet.training.loop import Loop, Validation

SIZES = [(5, 7), (12, 9), (8, 8), (1, 1), (31, 4), (6, 17)]


def batches_of(sizes, num_classes=5, seed=0, batch=1):
    rng = np.random.default_rng(seed)
    for height, width in sizes:
        mask = rng.integers(0, num_classes, (batch, height, width)).astype("uint8")
        mask[rng.random(mask.shape) < 0.2] = VOID
        yield rng.integers(0, 256, (batch, height, width, 3)).astype("float32"), mask


def slow_confusion(model, batches, num_classes):
    """One pixel at a time, from logits that Keras computes outside any compiled function."""
    matrix, void = np.zeros((num_classes, num_classes), "int64"), 0
    for images, masks in batches:
        logits = keras.ops.convert_to_numpy(model(images, training=False))
        for index in np.ndindex(masks.shape):
            if masks[index] == VOID:
                void += 1
            else:
                matrix[masks[index], int(np.argmax(logits[index]))] += 1
    return matrix, void


@pytest.mark.parametrize("batch", [1, 3])
def test_the_confusion_matrix_equals_a_slow_count(model, classes, batch):
    report = evaluate(model, batches_of(SIZES, batch=batch), classes, progress=False)
    expected, void = slow_confusion(model, batches_of(SIZES, batch=batch), 5)
    assert report.confusion.dtype == np.int64
    np.testing.assert_array_equal(report.confusion, expected)
    assert report.void_pixels == void > 0
    assert report.images == batch * len(SIZES)
    # The rows of the matrix are the truth: transposed it would be another one.
    assert (expected != expected.T).any()


def test_a_cacnet_is_scored_on_whole_images(classes):
    model = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8)
    sizes = [(33, 47), (64, 40)]
    report = evaluate(model, batches_of(sizes), classes, progress=False)
    expected, _ = slow_confusion(model, batches_of(sizes), 5)
    # Compiled and uncompiled may break a tie between two logits differently: 2 pixels of 4,000 are allowed.
    assert np.abs(report.confusion - expected).sum() <= 4
    assert report.pixels == expected.sum()


def test_a_data_set_or_its_examples_are_scored_as_their_batches_are(build_model, write_coast, tmp_path):
    model, data = build_model(2), kc.datasets.open_dataset(write_coast(tmp_path / "coast"))
    batches = kc.pipeline.evaluation_batches(data.source("train"), data.classes)
    wanted = evaluate(model, batches, data.classes, progress=False).confusion
    assert wanted.sum() == 4 * 40 * 44
    np.testing.assert_array_equal(evaluate(model, data, split="train", progress=False).confusion, wanted)
    found = evaluate(model, data.source("train"), data.classes, progress=False)
    np.testing.assert_array_equal(found.confusion, wanted)
    assert evaluate(model, data, progress=False).images == 2
    with pytest.raises(ValueError, match="classes is missing: give the ClassTable of the masks, or a data set"):
        evaluate(model, batches, progress=False)
    with pytest.raises(ValueError, match="did you mean val"):
        evaluate(model, data, split="vall", progress=False)


def test_one_trace_serves_all_sizes(model, classes):
    def data():
        yield from batches_of(SIZES)

    signature = (tf.TensorSpec((1, None, None, 3), tf.float32), tf.TensorSpec((1, None, None), tf.uint8))
    dataset = tf.data.Dataset.from_generator(data, output_signature=signature)
    assert evaluate(model, dataset, classes, progress=False).images == len(SIZES)
    assert model.get_layer("traced").traces == 1


def test_the_order_of_the_images_does_not_matter(model, classes):
    data = list(batches_of(SIZES))
    forward = evaluate(model, data, classes, progress=False)
    backward = evaluate(model, data[::-1], classes, progress=False)
    np.testing.assert_array_equal(forward.confusion, backward.confusion)


def test_images_are_let_go_as_soon_as_they_are_counted(model, classes):
    alive = weakref.WeakValueDictionary()
    most = 0

    def data():
        nonlocal most
        for number, (images, masks) in enumerate(batches_of([(8, 8)] * 40)):
            alive[number] = images
            most = max(most, len(alive))
            yield images, masks

    evaluate(model, data(), classes, progress=False)
    # This image, and the one before it while the loop still names it.
    assert most <= 3


def test_progress_into_a_file_is_lines(model, classes, capsys):
    evaluate(model, batches_of(SIZES), classes, count=len(SIZES))
    assert capsys.readouterr().out.splitlines()[-1] == f"scoring: {len(SIZES)} of {len(SIZES)} batches"
    evaluate(model, batches_of(SIZES), classes, progress=False)
    assert capsys.readouterr().out == ""


def test_a_dataset_that_knows_its_length_is_counted_down(model, classes, capsys):
    images, masks = next(batches_of([(6, 6)], batch=4))
    evaluate(model, tf.data.Dataset.from_tensor_slices((images, masks)).batch(2), classes)
    assert capsys.readouterr().out.splitlines()[-1] == "scoring: 2 of 2 batches"


def test_the_rule_for_absent_classes_reaches_the_report(model, classes):
    data = [(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4), "uint8"))]
    # A black image gives equal logits, hence class 0 everywhere, and the other four classes are absent.
    assert evaluate(model, data, classes, absent="ignore", progress=False).mean_iou == 1.0
    assert evaluate(model, data, classes, absent="zero", progress=False).mean_iou == 0.2
    with pytest.raises(ValueError, match="absent must be 'ignore' or 'zero', got 'skip'"):
        evaluate(model, data, classes, absent="skip")


def test_another_number_of_classes_is_refused_before_anything_is_read(build_model, classes):
    def data():
        raise AssertionError("read")
        yield

    with pytest.raises(ValueError, match=r"'small' predicts 7 classes, the class table has 5"):
        evaluate(build_model(num_classes=7), data(), classes, progress=False)


def test_no_images_are_refused(model, classes):
    with pytest.raises(ValueError, match="there are no images to evaluate"):
        evaluate(model, [], classes)


def test_logits_of_another_size_are_refused(classes):
    small = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1, strides=2)])
    with pytest.raises(ValueError, match=r"image 0: model '.*' gives logits \(3, 4\) for an image \(5, 7\)"):
        evaluate(small, batches_of(SIZES), classes, progress=False)


def test_a_mask_of_another_size_is_refused(model, classes):
    data = [*batches_of(SIZES[:2]), (np.zeros((1, 5, 7, 3)), np.zeros((1, 7, 5), "uint8"))]
    with pytest.raises(ValueError, match=r"image 2: images are \(1, 5, 7, 3\), masks \(1, 7, 5\)"):
        evaluate(model, data, classes, progress=False)


@pytest.mark.parametrize("shapes", [((5, 7, 3), (5, 7)), ((1, 5, 7, 4), (1, 5, 7)), ((1, 5, 7, 3), (1, 5, 7, 2))])
def test_batches_of_other_ranks_are_refused(model, classes, shapes):
    data = [(np.zeros(shapes[0]), np.zeros(shapes[1], "uint8"))]
    with pytest.raises(ValueError, match=r"image 0: batches are images \(B, H, W, 3\) and masks \(B, H, W\)"):
        evaluate(model, data, classes, progress=False)


def test_ids_outside_the_classes_are_refused_by_image(model, classes):
    images, masks = next(batches_of([(6, 6)], batch=3))
    masks[2, 0, 0] = 9
    with pytest.raises(
        ValueError,
        match=r"image 4: its mask has 9 \(1 pixel\); .* 0 to 4, and void is 255",
    ):
        evaluate(model, [*batches_of(SIZES[:2]), (images, masks)], classes, progress=False)


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.full((4, 6), -1), r"-1 \(24 pixels\)"),
        (np.full((4, 6), 255, "uint8") // 255 * 7, r"7 \(24 pixels\)"),
        (np.full((4, 6), 0.5, "float32"), r"0.5 \(24 pixels\)"),
        (np.full((4, 6), np.nan), r"nan \(24 pixels\)"),
        (np.arange(24).reshape(4, 6) * 20, r"20 \(1 pixel\), 40 \(1 pixel\), .* and 15 more"),
        (np.full((4, 6), 2**32 + 1), r"4294967297 \(24 pixels\)"),
        (np.full((4, 6), "sky"), "its mask is of <U3; masks hold class indices"),
    ],
)
@pytest.mark.parametrize("protocol", [WHOLE, Protocol(crop_size=8)])
def test_wrong_labels_are_told_by_value_and_file(model, classes, mask, told, protocol):
    data = [(np.zeros((1, 4, 6, 3)), mask[None])]
    with pytest.raises(ValueError, match=rf"^sea/7\.jpg: (its mask has )?{told}"):
        evaluate(model, data, classes, progress=False, protocol=protocol, origin=lambda index: f"sea/{index + 7}.jpg")


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", bool])
def test_labels_of_any_type_and_a_last_axis_are_taken(model, classes, dtype):
    images, masks = next(batches_of([(9, 8)]))
    masks = masks % 2 if dtype is bool else masks
    expected, void = slow_confusion(model, [(images, masks)], 5)
    report = evaluate(model, [(images, masks[..., None].astype(dtype))], classes, progress=False)
    np.testing.assert_array_equal(report.confusion, expected)
    assert report.void_pixels == void


def test_scores_agree_with_the_metrics_and_the_loss_on_what_is_void(model, classes):
    images, masks = next(batches_of([(16, 12)]))
    report = evaluate(model, [(images, masks)], classes, progress=False)
    logits = model(images, training=False)
    accuracy, iou, loss = kc.metrics.PixelAccuracy(5), kc.metrics.MeanIoU(5), kc.losses.SegmentationCrossentropy()
    for metric in (accuracy, iou):
        metric.update_state(masks, logits)
    # Metrics give float32.
    assert float(accuracy.result()) == pytest.approx(report.pixel_accuracy, rel=1e-6)
    assert float(iou.result()) == pytest.approx(report.mean_iou, rel=1e-6)
    assert int(loss.sums(masks, logits)[1]) == report.pixels


def test_sample_weights_are_refused(model, classes):
    data = [(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4), "uint8"), np.ones((1, 4, 4)))]
    with pytest.raises(ValueError, match=r"batches are \(images, masks\), got 3 values; sample weights are not taken"):
        evaluate(model, data, classes, progress=False)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_image(model, classes, value):
    data = list(batches_of(SIZES))
    data[3][0][0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"image 3: RGB is in 0\.\.255, got values from"):
        evaluate(model, data, classes, progress=False)


def test_several_outputs_are_refused(classes):
    images = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(5, 1)(images)
    two = keras.Model(images, [logits, logits], name="two")
    with pytest.raises(ValueError, match="'two' gives 2 outputs"):
        evaluate(two, batches_of(SIZES), classes, progress=False)


def test_a_classifier_is_refused(classes):
    images = keras.Input((None, None, 3))
    pooled = keras.Model(images, keras.layers.GlobalAveragePooling2D()(images), name="pooled")
    with pytest.raises(ValueError, match=r"'pooled' gives an output of shape \(None, 3\)"):
        evaluate(pooled, batches_of(SIZES), classes, progress=False)


def test_a_protocol_is_counted_image_by_image(model, classes):
    protocol = Protocol((0.5, 1.5), flip=True, crop_size=8)
    report = evaluate(model, batches_of(SIZES, batch=2), classes, progress=False, protocol=protocol)
    expected, void = np.zeros((5, 5), "int64"), 0
    for images, masks in batches_of(SIZES, batch=2):
        for image, mask in zip(images, masks, strict=True):
            found = scores(model, image, protocol).argmax(axis=-1)
            np.add.at(expected, (mask[mask != VOID], found[mask != VOID]), 1)
            void += int((mask == VOID).sum())
    np.testing.assert_array_equal(report.confusion, expected)
    assert (report.images, report.void_pixels) == (2 * len(SIZES), void)


@pytest.mark.parametrize("protocol", [WHOLE, Protocol((1.0, 1.5), crop_size=8)])
def test_predictions_are_handed_on_and_are_those_counted(model, classes, protocol):
    seen = {}
    report = evaluate(
        model,
        batches_of(SIZES, batch=2),
        classes,
        progress=False,
        protocol=protocol,
        on_prediction=lambda index, ids: seen.update({index: ids}),
    )
    expected = np.zeros((5, 5), "int64")
    truth = [mask for _, masks in batches_of(SIZES, batch=2) for mask in masks]
    assert list(seen) == list(range(len(truth)))
    for mask, ids in zip(truth, seen.values(), strict=True):
        assert ids.dtype == np.uint8
        np.add.at(expected, (mask[mask != VOID], ids[mask != VOID]), 1)
    np.testing.assert_array_equal(report.confusion, expected)


def test_errors_under_a_protocol_name_the_image(model, build_model, classes):
    protocol = Protocol(crop_size=8)
    data = list(batches_of(SIZES[:3]))
    data[2][1][0, 0, 0] = 9
    with pytest.raises(ValueError, match=r"image 2: its mask has 9"):
        evaluate(model, data, classes, progress=False, protocol=protocol)
    data[1][0][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"image 1: RGB is in 0\.\.255, got values from nan"):
        evaluate(model, data, classes, progress=False, protocol=protocol)
    with pytest.raises(ValueError, match="'small' predicts 7 classes, the class table has 5"):
        evaluate(build_model(num_classes=7), data, classes, progress=False, protocol=protocol)


def test_validation_while_training_gives_the_scores_of_evaluate(model, classes):
    """Its step runs on all replicas and is another function; the logits are the same."""
    data = list(batches_of(SIZES))
    signature = (tf.TensorSpec((1, None, None, 3), tf.float32), tf.TensorSpec((1, None, None), tf.uint8))
    images = tf.data.Dataset.from_generator(lambda: iter(data), output_signature=signature)
    # With the rate 0 the one step changes nothing.
    model.compile(keras.optimizers.SGD(0.0), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    logs = {}
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, found: logs.update(found))
    validation = Validation(images, [kc.metrics.MeanIoU(5), kc.metrics.PixelAccuracy(5)])
    Loop(model, epochs=1, steps_per_epoch=1, validation=validation).run(images, [keep], verbose=0)
    report = evaluate(model, data, classes, progress=False)
    # Metrics give float32.
    assert logs["val_mean_iou"] == pytest.approx(report.mean_iou, rel=1e-6)
    assert logs["val_pixel_accuracy"] == pytest.approx(report.pixel_accuracy, rel=1e-6)
