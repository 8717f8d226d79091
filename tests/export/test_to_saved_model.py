import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.datasets import ClassTable
from keras_cacnet.export import saved_model


def parameters(path):
    """Sizes of the variables in an export, from its checkpoint alone."""
    listed = tf.train.list_variables(str(path / "variables" / "variables"))
    return sorted(tuple(shape) for name, shape in listed if name != "_CHECKPOINTABLE_OBJECT_GRAPH")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_signature_takes_uint8_images_of_any_size(model, tmp_path):
    path = saved_model(model, tmp_path / "small" / "1")
    assert path == tmp_path / "small" / "1"
    loaded = tf.saved_model.load(path)
    assert set(loaded.signatures) == {"serving_default", "serve_class_ids", "serve_float", "serve_encoded"}
    serve = loaded.signatures["serving_default"]
    assert serve.structured_input_signature == (
        (),
        {"images": tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")},
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3)).astype("uint8")
    result = serve(images=tf.constant(images))
    assert {name: (tensor.dtype.name, tuple(tensor.shape)) for name, tensor in result.items()} == {
        "class_ids": ("int32", (2, 9, 14)),
        "probabilities": ("float32", (2, 9, 14, 3)),
    }
    logits = keras.ops.convert_to_numpy(model(images.astype("float32"), training=False)).astype("float64")
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    # float32 softmax against float64.
    np.testing.assert_allclose(result["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(result["class_ids"], logits.argmax(axis=-1))


def test_only_what_prediction_reads_is_saved(tmp_path):
    model = kc.CaCNet(3, backbone="resnet14_narrow", head_channels=8)
    model.compile(optimizer="adam", loss=kc.losses.SegmentationCrossentropy())
    model.optimizer.build(model.trainable_variables)
    saved = parameters(saved_model(model, tmp_path / "1"))
    layers = [*model.backbone.layers, *model.decoder.layers]
    # Of a batch norm the bias of the convolution that it is folded into; random states of dropout are no weights.
    wanted = [
        weight
        for layer in layers
        for weight in ([layer.beta] if isinstance(layer, keras.layers.BatchNormalization) else layer.weights)
        if "seed_generator" not in weight.path
    ]
    assert saved == sorted(tuple(weight.shape) for weight in wanted)
    assert model.auxiliary.weights
    assert model.optimizer.variables


def test_classes_go_along_where_servers_leave_them_alone(model, classes, tmp_path):
    path = saved_model(model, tmp_path / "1", classes)
    assert {entry.name for entry in path.iterdir()} == {
        "saved_model.pb",
        "fingerprint.pb",
        "variables",
        "assets",
        "assets.extra",
    }
    text = (path / "assets.extra" / "classes.json").read_text(encoding="utf-8")
    assert ClassTable.from_json(json.loads(text)) == classes
    assert not (saved_model(model, tmp_path / "2") / "assets.extra" / "classes.json").exists()


def test_a_folder_that_is_not_empty_is_left_as_it_is(model, tmp_path):
    path = saved_model(model, tmp_path / "1")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"1 is not empty: name another folder, or .* overwrite=True"):
        saved_model(model, path)
    assert contents(tmp_path) == before


def test_overwriting_replaces_an_export_whole(model, classes, tmp_path):
    path = saved_model(model, tmp_path / "1", classes)
    (path / "stale").touch()
    model.set_weights([2 * weight for weight in model.get_weights()])
    saved_model(model, path, overwrite=True)
    assert not (path / "stale").exists()
    assert not (path / "assets.extra" / "classes.json").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]
    saved = tf.train.load_variable(str(path / "variables" / "variables"), "_all_variables/0/.ATTRIBUTES/VARIABLE_VALUE")
    assert any(np.array_equal(saved, weight) for weight in model.get_weights())


def test_overwriting_spares_what_is_no_saved_model(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(ValueError, match="holds other things than a SavedModel"):
        saved_model(model, tmp_path, overwrite=True)
    assert contents(tmp_path).keys() == {(tmp_path / "thesis.txt").relative_to(tmp_path)}


def test_an_empty_folder_is_taken(model, tmp_path):
    (tmp_path / "1").mkdir()
    assert (saved_model(model, tmp_path / "1") / "saved_model.pb").is_file()


def test_a_file_or_a_link_is_refused(model, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with pytest.raises(ValueError, match="file is a file; a SavedModel is a folder"):
        saved_model(model, tmp_path / "file", overwrite=True)
    with pytest.raises(ValueError, match="link is a link; a SavedModel is a folder"):
        saved_model(model, tmp_path / "link")


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_export_that_fails_leaves_what_was_there(model, tmp_path, monkeypatch, overwrite):
    if overwrite:
        saved_model(model, tmp_path / "1")
    before = contents(tmp_path)

    def fail(self, path, **kwargs):
        os.makedirs(path)
        with open(os.path.join(path, "saved_model.pb"), "wb") as file:
            file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(type(keras.export.ExportArchive()), "write_out", fail)
    with pytest.raises(OSError, match="no space left"):
        saved_model(model, tmp_path / "1", overwrite=overwrite)
    assert contents(tmp_path) == before


def test_a_kill_leaves_no_export_rather_than_half_of_one(model, tmp_path):
    model.save(tmp_path / "model.keras")
    script = (
        "import os, sys, keras\n"
        "from keras_cacnet.export import saved_model\n"
        "archive = type(keras.export.ExportArchive())\n"
        "write_out = archive.write_out\n"
        "def killed(self, path, **kwargs):\n"
        "    write_out(self, path, **kwargs)\n"
        "    os.kill(os.getpid(), 9)\n"
        "archive.write_out = killed\n"
        "saved_model(keras.models.load_model('model.keras'), 'cacnet/1')\n"
    )
    process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert process.returncode == -9, process.stderr
    assert not (tmp_path / "cacnet" / "1").exists()
    # What is left has no number for a name, so TensorFlow Serving does not take it for a version.
    assert [entry.name[:11] for entry in (tmp_path / "cacnet").iterdir()] == [".1.partial-"]
    saved_model(model, tmp_path / "cacnet" / "1")


def test_another_number_of_classes_than_the_table_is_refused(model, tmp_path):
    table = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
    with pytest.raises(ValueError, match="predicts 3 classes, the class table has 2"):
        saved_model(model, tmp_path / "1", table)
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize("shape", [(64, 64, 3), (None, None, 4), (None, 3)])
def test_a_model_that_does_not_take_every_image_is_refused(tmp_path, shape):
    model = keras.Sequential([keras.Input(shape), keras.layers.Dense(2)], name="fixed")
    with pytest.raises(ValueError, match=r"'fixed' takes .*; .* one keras.Input\(\(None, None, 3\)\)"):
        saved_model(model, tmp_path / "1")
    assert not (tmp_path / "1").exists()


def test_two_inputs_are_refused(tmp_path):
    inputs = [keras.Input((None, None, 3)), keras.Input((None, None, 3))]
    model = keras.Model(inputs, keras.layers.Add()(inputs), name="stereo")
    with pytest.raises(ValueError, match=r"'stereo' takes \(None, None, None, 3\), \(None, None, None, 3\)"):
        saved_model(model, tmp_path / "1")


def test_logits_of_another_size_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)], name="shrinks")
    with pytest.raises(ValueError, match=r"'shrinks' gives \(1, 31, 45, 2\) for images \(1, 33, 47, 3\)"):
        saved_model(model, tmp_path / "1")


def test_a_classifier_is_refused(tmp_path):
    layers = [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
    with pytest.raises(ValueError, match=r"gives an output of shape \(1, 3\); logits \(B, H, W, classes\)"):
        saved_model(keras.Sequential(layers), tmp_path / "1")


def test_probabilities_are_not_taken_for_logits(tmp_path):
    layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1, activation="softmax")]
    with pytest.raises(ValueError, match="export the model without its last softmax"):
        saved_model(keras.Sequential(layers), tmp_path / "1")
