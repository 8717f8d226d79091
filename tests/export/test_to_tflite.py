import json
import re
import warnings
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.datasets import ClassTable
from keras_cacnet.export import TFLITE_PRECISIONS, CalibrationWarning, tflite, verify
from keras_cacnet.export.exportable_models import in_float32
from keras_cacnet.export.tflite_quantization import calibration_batches, operators
from keras_cacnet.models.heads import APCHead, DMHead, PSPHead
from keras_cacnet.models.settings import ONE_SIZE, REWEIGHTINGS

pytestmark = pytest.mark.filterwarnings("ignore::keras_cacnet.export.CalibrationWarning")

# Odd and even, smaller and larger than those before: the interpreter allocates anew each time.
SIZES = ((1, 33, 47), (1, 64, 48), (1, 17, 96), (2, 48, 64), (1, 33, 47))


@pytest.fixture
def small():
    """Two convolutions about a context-adaptive one."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 128, offset=-1)(images)
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", name="second")(x)
    x = kc.CaCLayer(name="adaptive")(x)
    return keras.Model(images, keras.layers.Conv2D(3, 1, name="classifier")(x), name="small")


def noisy(*shapes):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*shape, 3)).astype("uint8") for shape in shapes]


def signature(path):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    details = {**run.get_input_details(), **run.get_output_details()}
    return {name: (entry["dtype"].__name__, entry["shape_signature"].tolist()) for name, entry in details.items()}


def test_float32_is_keras_at_every_size(cacnet, photographs, tmp_path):
    path = tflite(cacnet, tmp_path / "cacnet.tflite")
    result = verify(path, cacnet, photographs(*SIZES))
    assert result.largest_difference <= 1e-4
    assert result.equal_ids >= 0.9999
    assert result.shapes == tuple((*shape, 3) for shape in SIZES)


@pytest.mark.parametrize("size", [None, (150, 61)])
def test_class_ids_alone_never_take_all_logits(cacnet, photographs, tmp_path, size):
    path = tflite(cacnet, tmp_path / "cacnet.tflite", size=size, probabilities=False)
    assert signature(path) == {
        "images": ("uint8", [1, *(size or (-1, -1)), 3]),
        "class_ids": ("int32", [1, *(size or (-1, -1))]),
    }
    result = verify(path, cacnet, photographs(*([(2, *size)] if size else [*SIZES, (1, 300, 70)])))
    assert result.largest_difference is None
    assert result.equal_ids >= 0.9999
    kinds = {operator.kind for operator in operators(path.read_bytes())}
    assert "WHILE" in kinds
    assert "SOFTMAX" not in kinds


@pytest.mark.parametrize("precision", [name for name in TFLITE_PRECISIONS if name != "float32"])
def test_class_ids_alone_are_those_beside_probabilities(cacnet, photographs, tmp_path, precision):
    calibration = noisy(*[(64, 48)] * 2) if precision == "int8" else None
    images = photographs((1, 64, 48), (1, 139, 47))
    options = {"precision": precision, "calibration": calibration}
    both = verify(tflite(cacnet, tmp_path / "both.tflite", **options), cacnet, images)
    alone = verify(tflite(cacnet, tmp_path / "alone.tflite", probabilities=False, **options), cacnet, images)
    assert alone.equal_ids == both.equal_ids > 0.9


def test_the_signature_takes_one_uint8_image_of_any_size(model, tmp_path):
    assert signature(tflite(model, tmp_path / "small.tflite")) == {
        "images": ("uint8", [1, -1, -1, 3]),
        "class_ids": ("int32", [1, -1, -1]),
        "probabilities": ("float32", [1, -1, -1, 3]),
    }


def test_a_size_makes_every_shape_fixed(model, photographs, tmp_path):
    path = tflite(model, tmp_path / "small.tflite", size=(20, 28))
    assert signature(path)["images"] == ("uint8", [1, 20, 28, 3])
    assert verify(path, model, photographs((1, 20, 28))).largest_difference < 1e-5
    with pytest.raises(RuntimeError, match=r"the file takes images of 20x28, not \(28, 20\)"):
        verify(path, model, photographs((1, 28, 20)))


@pytest.mark.parametrize("precision", [name for name in TFLITE_PRECISIONS if name != "float32"])
def test_other_precisions_are_smaller_and_close(small, settled, photographs, tmp_path, precision):
    settled(small)
    calibration = noisy(*[(24, 32)] * 8) if precision == "int8" else None
    path = tflite(small, tmp_path / "small.tflite", precision=precision, calibration=calibration)
    result = verify(path, small, photographs((1, 24, 32), (1, 31, 17)))
    assert result.largest_difference < {"float16": 0.01, "dynamic": 0.1, "int8": 0.2}[precision]
    assert result.equal_ids > {"float16": 0.995, "dynamic": 0.97, "int8": 0.9}[precision]


def test_in_int8_only_what_is_said_stays_in_float(small, tmp_path):
    path = tflite(small, tmp_path / "small.tflite", precision="int8", calibration=noisy((24, 32)))
    found = operators(path.read_bytes())
    convolutions = [operator for operator in found if operator.kind == "CONV_2D"]
    by_layer = {
        layer: {operator.dtype for operator in convolutions if f"/{layer}_1/" in operator.name}
        for layer in ("first", "second", "adaptive_1/query", "adaptive_1/key", "classifier")
    }
    assert by_layer == {
        "first": {"INT8"},
        "second": {"INT8"},
        "adaptive_1/query": {"FLOAT32"},
        "adaptive_1/key": {"FLOAT32"},
        "classifier": {"FLOAT32"},
    }
    dynamic = [operator for operator in found if operator.kind in ("DEPTHWISE_CONV_2D", "BATCH_MATMUL", "LOGISTIC")]
    assert len(dynamic) == 3 + 1 + 3
    assert {operator.dtype for operator in dynamic} == {"FLOAT32"}
    assert next(operator.dtype for operator in found if operator.kind == "SOFTMAX") == "FLOAT32"


def test_few_images_of_calibration_are_warned_of():
    images = calibration_batches(noisy(*[(8, 8)] * 29), None)
    with pytest.warns(CalibrationWarning, match="calibrated on 29 images: .* give at least 30 photographs"):
        assert len(list(images)) == 29
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        assert len(list(calibration_batches(noisy(*[(8, 8)] * 30), None))) == 30


def test_calibration_images_are_taken_once_and_resized_to_the_size(small, tmp_path):
    images = (image for image in noisy((24, 32), (50, 20), (24, 33)))
    path = tflite(small, tmp_path / "small.tflite", precision="int8", size=(24, 32), calibration=images)
    assert next(images, None) is None
    assert signature(path)["images"] == ("uint8", [1, 24, 32, 3])


def test_classes_go_along_as_files_that_unzip_reads(model, classes, tmp_path):
    path = tflite(model, tmp_path / "small.tflite", classes)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["labels.txt", "classes.json"]
        assert archive.read("labels.txt").decode() == "sky\nsea\npalm tree\n"
        assert ClassTable.from_json(json.loads(archive.read("classes.json"))) == classes
    assert signature(path)["class_ids"] == ("int32", [1, -1, -1])
    assert not zipfile.is_zipfile(tflite(model, tmp_path / "bare.tflite"))


def test_other_policies_are_exported_in_float32(tmp_path, photographs):
    policy = {"dtype": "mixed_bfloat16"}
    layers = [keras.layers.Rescaling(1 / 64, **policy), keras.layers.Conv2D(3, 3, padding="same", **policy)]
    layers = [keras.Input((None, None, 3)), *layers]
    half = keras.Sequential(layers, name="half")
    path = tflite(half, tmp_path / "half.tflite")
    assert {operator.dtype for operator in operators(path.read_bytes())} <= {"FLOAT32", "INT32"}
    wide = in_float32(half)
    assert wide is not half
    assert in_float32(wide) is wide
    assert verify(path, wide, photographs((1, 9, 11))).largest_difference < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_networks_of_other_policies_are_exported_in_float32(settled, photographs, tmp_path, policy):
    model = settled(kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8, dtype=policy))
    path = tflite(model, tmp_path / "cacnet.tflite")
    assert not {operator.dtype for operator in operators(path.read_bytes())} & {"FLOAT16", "BFLOAT16", "FLOAT64"}
    result = verify(path, in_float32(model), photographs((1, 33, 47), (1, 64, 48)))
    assert result.largest_difference <= 1e-4
    assert result.equal_ids >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("reweighting", [name for name in REWEIGHTINGS if name not in ("cac", *ONE_SIZE)])
def test_every_reweighting_converts(settled, photographs, tmp_path, reweighting):
    model = settled(kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8, reweighting=reweighting))
    result = verify(tflite(model, tmp_path / "cacnet.tflite"), model, photographs((1, 33, 47), (1, 64, 48)))
    assert result.largest_difference <= 1e-4
    assert result.equal_ids >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("head", [APCHead(channels=8), DMHead(channels=8), PSPHead(channels=8)])
def test_other_heads_convert(settled, photographs, tmp_path, head):
    model = settled(kc.models.SegmentationNetwork(5, head, backbone="resnet14_narrow"))
    images = photographs((1, 33, 47), (1, 64, 48))
    result = verify(tflite(model, tmp_path / "float32.tflite"), model, images)
    assert result.largest_difference <= 1e-4
    assert result.equal_ids >= 0.9999
    path = tflite(model, tmp_path / "int8.tflite", precision="int8", calibration=noisy((33, 47), (64, 48)))
    found = operators(path.read_bytes())
    dynamic = [operator for operator in found if operator.kind == "BATCH_MATMUL" or "filtering" in operator.name]
    assert "INT8" not in {
        operator.dtype for operator in dynamic if operator.kind in ("BATCH_MATMUL", "DEPTHWISE_CONV_2D")
    }
    # Infinite where there is NaN.
    assert verify(path, model, images).largest_difference < 1


@pytest.mark.slow
def test_a_network_for_one_size_is_exported_for_that_size(settled, photographs, tmp_path):
    model = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8, reweighting="fc", input_size=(32, 32))
    path = tflite(settled(model), tmp_path / "cacnet.tflite")
    assert signature(path)["images"] == ("uint8", [1, 32, 32, 3])
    assert verify(path, model, photographs((1, 32, 32))).largest_difference <= 1e-4


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network trained on generated scenes, the data, and its photographs to calibrate on and to compare on."""
    folder = tmp_path_factory.mktemp("trained")
    scenes = kc.datasets.open_dataset("scenes", data_dir=folder / "data")
    settings = (
        "backbone=resnet14_narrow head_channels=16 crop_size=64 batch_size=8 epochs=4 learning_rate=0.02 head_factor=1 "
        "scale_min=0.75 scale_max=1.5 validate_every=4"
    )
    recipe = kc.training.with_settings(kc.training.Recipe(), settings.split())
    model = kc.training.train(kc.training.Job(recipe, scenes, folder / "run"), verbose=0)

    def images(split, count):
        source = scenes.source(split)
        return [kc.datasets.read_example(source[index], scenes.classes)[0] for index in range(count)]

    return model, images("train", 40), [image[None] for image in images("val", 20)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "equal"), [("float32", 0.9999), ("float16", 0.999), ("dynamic", 0.99), ("int8", 0.99)]
)
def test_a_trained_network_keeps_its_classes(trained, tmp_path, precision, equal):
    model, calibration, images = trained
    path = tflite(
        model, tmp_path / "x.tflite", precision=precision, calibration=calibration if precision == "int8" else None
    )
    result = verify(path, model, images)
    assert result.equal_ids >= equal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision must be one of float32, float16, dynamic, int8, got 'int4'"),
        ({"precision": "int8"}, "precision='int8' needs calibration"),
        ({"precision": "int8", "calibration": []}, "calibration has no images"),
        ({"precision": "int8", "calibration": noisy((1, 8, 8))}, r"calibration image 0 is uint8 \(1, 8, 8, 3\)"),
        ({"precision": "int8", "calibration": [np.zeros((8, 8, 3))]}, "calibration image 0 is float64"),
        ({"precision": "int8", "calibration": [*noisy((8, 8)), np.zeros((8, 8), "uint8")]}, "calibration image 1"),
        ({"calibration": noisy((8, 8))}, "calibration goes only with precision='int8', not with 'float32'"),
        ({"size": (0, 8)}, r"size must be a height and a width from 1 on, in pixels, got \(0, 8\)"),
        ({"size": (8,)}, r"size must be .* got \(8,\)"),
        ({"probabilities": "none"}, "probabilities must be True or False, got 'none'"),
    ],
)
def test_bad_options_are_refused(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tflite(model, tmp_path / "small.tflite", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_the_model_does_not_take_is_refused(tmp_path):
    fixed = keras.Sequential([keras.Input((16, None, 3)), keras.layers.Conv2D(2, 1)], name="fixed")
    with pytest.raises(ValueError, match=r"'fixed' takes \(None, 16, None, 3\), not an image of 24x32: .* keras.Input"):
        tflite(fixed, tmp_path / "fixed.tflite", size=(24, 32))
    one_size = kc.CaCNet(2, backbone="resnet14_narrow", head_channels=4, reweighting="fc", input_size=(32, 32))
    with pytest.raises(ValueError, match="takes only images of 32x32 pixels, .* got 64x32"):
        tflite(one_size, tmp_path / "fc.tflite", size=(64, 32))
    gray = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 1)], name="gray")
    with pytest.raises(ValueError, match=r"'gray' takes \(None, None, None, 1\)"):
        tflite(gray, tmp_path / "gray.tflite")


def test_other_places_are_left_as_they_are(model, tmp_path):
    with pytest.raises(ValueError, match=r"small does not end in .tflite, .*: name it small.tflite"):
        tflite(model, tmp_path / "small")
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises(ValueError, match=r"folder.tflite is a folder"):
        tflite(model, tmp_path / "folder.tflite", overwrite=True)
    (tmp_path / "link.tflite").symlink_to(tmp_path / "else.tflite")
    with pytest.raises(ValueError, match=r"link.tflite is a link"):
        tflite(model, tmp_path / "link.tflite", overwrite=True)
    (tmp_path / "thesis.tflite").write_text("three years of work")
    with pytest.raises(ValueError, match=r"thesis.tflite is no TFLite file and is not replaced"):
        tflite(model, tmp_path / "thesis.tflite", overwrite=True)
    assert (tmp_path / "thesis.tflite").read_text() == "three years of work"


def test_overwriting_has_to_be_asked_for(model, tmp_path):
    path = tflite(model, tmp_path / "deep" / "small.tflite")
    before = path.read_bytes()
    model.set_weights([2 * weight for weight in model.get_weights()])
    with pytest.raises(ValueError, match=r"small.tflite is there already: .* overwrite=True"):
        tflite(model, path)
    assert path.read_bytes() == before
    tflite(model, path, overwrite=True)
    assert path.read_bytes() != before
    assert [entry.name for entry in path.parent.iterdir()] == ["small.tflite"]


def test_operations_that_tflite_lacks_are_refused_by_name(tmp_path):
    class Odd(keras.layers.Layer):
        def call(self, x):
            return tf.math.igamma(tf.abs(x), tf.abs(x) + 1)

    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1), Odd()], name="odd")
    with pytest.raises(ValueError, match=r"'odd' cannot be written with TFLite's own operators: .*[Ii]gamma"):
        tflite(model, tmp_path / "odd.tflite")
    assert list(tmp_path.iterdir()) == []


def test_probabilities_and_other_classes_are_refused(model, classes, tmp_path):
    softmax = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1, activation="softmax")])
    with pytest.raises(ValueError, match="without its last softmax"):
        tflite(softmax, tmp_path / "softmax.tflite")
    four = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1)])
    with pytest.raises(ValueError, match="predicts 4 classes, the class table has 3"):
        tflite(four, tmp_path / "four.tflite", classes)


def test_a_damaged_file_is_told_with_its_reason(model, photographs, tmp_path):
    path = tflite(model, tmp_path / "small.tflite")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RuntimeError, match="small.tflite could not be run"):
        verify(path, model, photographs((1, 8, 8)))
    with pytest.raises(FileNotFoundError, match="none.tflite"):
        verify(tmp_path / "none.tflite", model, photographs((1, 8, 8)))


def test_without_the_package_that_runs_it_verify_says_which(model, photographs, tmp_path, monkeypatch):
    path = tflite(model, tmp_path / "small.tflite")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=re.escape("pip install 'keras-cacnet[tflite]'")):
        verify(path, model, photographs((1, 8, 8)))
