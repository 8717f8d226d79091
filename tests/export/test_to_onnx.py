"""ONNX files against Keras: by ONNX Runtime without TensorFlow, and by OpenVINO, which reads the SavedModel too."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.datasets import ClassTable
from keras_cacnet.export import onnx, verify
from keras_cacnet.export.exportable_models import in_float32
from keras_cacnet.models.settings import ONE_SIZE, REWEIGHTINGS

# Odd and even, and no multiples of the stride.
SIZES = ((1, 33, 47), (1, 64, 48), (1, 17, 96), (2, 48, 64), (1, 35, 50))


def assert_equal(path, model, images):
    result = verify(path, model, images)
    # 1.5e-7 was measured: float32 in another order.
    assert result.largest_difference <= 1e-5
    assert result.equal_ids >= 0.9999
    return result


def test_it_is_keras_at_every_size(cacnet, photographs, tmp_path):
    result = assert_equal(onnx(cacnet, tmp_path / "cacnet.onnx"), cacnet, photographs(*SIZES))
    assert result.shapes == tuple((*shape, 3) for shape in SIZES)


@pytest.mark.parametrize("size", [None, (150, 61)])
def test_class_ids_alone(cacnet, photographs, tmp_path, size):
    path = onnx(cacnet, tmp_path / "cacnet.onnx", size=size, probabilities=False)
    result = verify(path, cacnet, photographs(*([(2, *size)] if size else [*SIZES, (1, 300, 70)])))
    assert result.largest_difference is None
    assert result.equal_ids >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REWEIGHTINGS if name not in (*ONE_SIZE, "cac")])
def test_other_reweightings(settled, photographs, tmp_path, name):
    model = settled(kc.CaCNet(3, backbone="resnet14_narrow", head_channels=16, num_heads=1, reweighting=name))
    assert_equal(onnx(model, tmp_path / "other.onnx"), model, photographs((1, 33, 47), (1, 64, 48)))


@pytest.mark.slow
def test_real_photographs(cacnet, shared_data, tmp_path):
    from keras_cacnet.datasets import read_image

    files = sorted((shared_data / "camvid" / "images" / "val").glob("*"))[:4]
    assert len(files) == 4
    assert_equal(onnx(cacnet, tmp_path / "cacnet.onnx"), cacnet, [read_image(file)[None] for file in files])


def test_one_size(model, photographs, tmp_path):
    path = onnx(model, tmp_path / "small.onnx", size=(20, 28))
    assert_equal(path, model, photographs((1, 20, 28)))
    with pytest.raises(RuntimeError, match=r"the file takes images of 20x28, not \(28, 20\)"):
        verify(path, model, photographs((1, 28, 20)))


def test_half_precision_is_exported_in_float32(photographs, tmp_path):
    layers = [keras.layers.Rescaling(1 / 64), keras.layers.Conv2D(3, 3, padding="same", dtype="mixed_bfloat16")]
    half = keras.Sequential([keras.Input((None, None, 3)), *layers], name="half")
    assert_equal(onnx(half, tmp_path / "half.onnx"), in_float32(half), photographs((1, 33, 47)))


def test_a_damaged_network_shows(model, photographs, tmp_path):
    path = onnx(model, tmp_path / "small.onnx")
    model.set_weights([1.1 * weight for weight in model.get_weights()])
    assert verify(path, model, photographs((1, 20, 28))).largest_difference > 1e-3


def test_classes_go_along(model, classes, tmp_path):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx(model, tmp_path / "small.onnx", classes))
    metadata = session.get_modelmeta().custom_metadata_map
    assert ClassTable.from_json(json.loads(metadata["classes"])) == classes


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("small.bin", {}, "small.bin does not end in .onnx"),
        ("there.onnx", {}, "there.onnx is there already: .* overwrite=True"),
        ("folder.onnx", {"overwrite": True}, "folder.onnx is a folder"),
        ("small.onnx", {"size": (0, 4)}, "size must be a height and a width from 1 on"),
        ("small.onnx", {"classes": ClassTable(("sky",), ((0, 0, 0),), (0,))}, "3 classes|1"),
    ],
)
def test_bad_input_writes_nothing(model, tmp_path, name, options, told):
    (tmp_path / "there.onnx").write_bytes(b"kept")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ValueError, match=told):
        onnx(model, tmp_path / name, **options)
    assert (tmp_path / "there.onnx").read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.onnx", "there.onnx"]


OPENVINO = """
import sys
for module in ("tensorflow", "keras", "keras_cacnet"):
    sys.modules[module] = None
import numpy as np, openvino
source, sent, received = sys.argv[1:]
# Of one image: OpenVINO has no operator for kernels of an unknown number of images.
core = openvino.Core()
network = core.read_model(source)
network.reshape({"images": openvino.PartialShape([1, -1, -1, 3])})
compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
found = {}
for name, image in np.load(sent).items():
    for output, value in compiled({"images": image}).items():
        found[f"{name}/{len(value.shape)}"] = value
np.savez(received, **found)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "saved_model"])
def test_openvino(cacnet, cacnet_export, photographs, tmp_path, form):
    source = cacnet_export if form == "saved_model" else onnx(cacnet, tmp_path / "cacnet.onnx")
    images = photographs((1, 33, 47), (1, 64, 48), (1, 35, 50))
    np.savez(tmp_path / "sent.npz", *images)
    words = [sys.executable, "-c", OPENVINO, source, tmp_path / "sent.npz", tmp_path / "received.npz"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    received = np.load(tmp_path / "received.npz")
    for index, image in enumerate(images):
        expected = keras.ops.convert_to_numpy(keras.ops.softmax(cacnet(image.astype("float32"), training=False)))
        np.testing.assert_allclose(received[f"arr_{index}/4"], expected, rtol=0, atol=1e-5)
        assert np.mean(received[f"arr_{index}/3"] == expected.argmax(-1)) >= 0.9999


def test_a_convolution_that_onnx_runtime_gets_wrong_is_refused(tmp_path):
    """A kernel of 3 at strides of 8: probabilities were off by up to 1; of 7 they are right."""
    image = keras.Input((None, None, 3))
    first = keras.layers.Conv2D(8, 3, strides=8, padding="same")(image)
    levels = {"P3": first, "P4": keras.layers.MaxPooling2D()(first)}
    levels["P5"] = keras.layers.MaxPooling2D()(levels["P4"])
    network = kc.models.SegmentationNetwork(
        3, kc.models.heads.FCNHead(8), backbone=keras.Model(image, levels), output_stride=32
    )
    with pytest.raises(ValueError, match=r"kernel of \(3, 3\), strides of \(8, 8\) and padding 'same', which ONNX"):
        onnx(network, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())
