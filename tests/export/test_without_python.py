"""TensorFlow's own tool, and a C program that loads the SavedModel as TensorFlow Serving does."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_cacnet.export import saved_model

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "run_saved_model.c"
TOOL = (
    "import sys\n"
    "sys.modules.update(dict.fromkeys(('keras', 'tf_keras', 'keras_cacnet')))\n"
    "from tensorflow.python.tools.saved_model_cli import main\n"
    "main()\n"
)


def saved_model_cli(*arguments):
    process = subprocess.run(
        [sys.executable, "-P", "-c", TOOL, *map(str, arguments)],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


def tensor_names(path, signature):
    """The names of a signature's tensors, as a session knows them."""
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    definition = saved.meta_graphs[0].signature_def[signature]
    return {key: info.name for part in (definition.inputs, definition.outputs) for key, info in part.items()}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    folder = Path(tf.__file__).parent
    binary = tmp_path_factory.mktemp("program") / "run_saved_model"
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{folder}"]
    options = ["-Wall", "-Werror", f"-I{folder / 'include'}", f"-L{folder}"]
    command = ["gcc", str(PROGRAM), "-o", str(binary), *options, *libraries]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return binary


def run(program, path, image, tmp_path):
    height, width, _ = image.shape
    (tmp_path / "image.rgb").write_bytes(image.tobytes())
    names = tensor_names(path, "serving_default")
    tensors = [names["images"].removesuffix(":0"), names["class_ids"], names["probabilities"]]
    files = [tmp_path / "image.rgb", tmp_path / "probabilities.f32"]
    command = [program, path, *tensors, str(height), str(width), *files]
    process = subprocess.run(command, capture_output=True, text=True, check=False, env={"CUDA_VISIBLE_DEVICES": "-1"})
    assert process.returncode == 0, process.stderr[-2000:]
    ids = np.array([line.split() for line in process.stdout.splitlines()], "int32")
    probabilities = np.fromfile(files[1], "float32").reshape(height, width, -1)
    return ids, probabilities


def test_a_c_program_gives_what_keras_gives(program, cacnet_export, photograph, assert_as_keras, tmp_path):
    for height, width in [(41, 70), (64, 33)]:
        image = photograph(height, width)
        ids, probabilities = run(program, cacnet_export, image, tmp_path)
        assert_as_keras(image[np.newaxis], ids[np.newaxis], probabilities[np.newaxis])


def test_the_names_in_the_programs_first_lines_are_those_of_an_export(model, tmp_path):
    names = tensor_names(saved_model(model, tmp_path / "1"), "serving_default")
    (said,) = re.findall(r"run_saved_model cacnet/1 (\S+) (\S+) (\S+) ", PROGRAM.read_text())
    assert [f"{said[0]}:0", *said[1:]] == [names["images"], names["class_ids"], names["probabilities"]]


def test_a_c_program_sees_a_photograph(program, cacnet_export, assert_as_keras, shared_data, tmp_path):
    from keras_cacnet.datasets.reading import read_image

    file = min((shared_data / "camvid" / "images" / "val").glob("*.jpg"))
    image = np.ascontiguousarray(read_image(file)[:301, :403])
    ids, probabilities = run(program, cacnet_export, image, tmp_path)
    assert_as_keras(image[np.newaxis], ids[np.newaxis], probabilities[np.newaxis])


def test_tensorflows_own_tool_shows_the_signatures(cacnet_export):
    shown = saved_model_cli("show", "--dir", cacnet_export, "--all")
    signatures = set(re.findall(r"signature_def\['(\w+)'\]", shown)) - {"__saved_model_init_op"}
    names = ("serving_default", "serve_class_ids", "serve_float", "serve_encoded", "serve_multiscale")
    assert signatures == set(names)
    for key, dtype, shape in [
        ("images", "DT_UINT8", "(-1, -1, -1, 3)"),
        ("images", "DT_FLOAT", "(-1, -1, -1, 3)"),
        ("image_bytes", "DT_STRING", "(-1)"),
        ("class_ids", "DT_INT32", "(-1, -1, -1)"),
        ("probabilities", "DT_FLOAT", "(-1, -1, -1, 5)"),
        ("sizes", "DT_INT32", "(-1, 2)"),
    ]:
        assert re.search(rf"\['{key}'\] tensor_info:\s+dtype: {dtype}\s+shape: {re.escape(shape)}\n", shown)


@pytest.mark.slow
@pytest.mark.parametrize("signature", ["serving_default", "serve_encoded"])
def test_tensorflows_own_tool_runs_it(cacnet_export, photograph, file_of, assert_as_keras, tmp_path, signature):
    image = photograph(39, 52)
    if signature == "serving_default":
        np.save(tmp_path / "images.npy", image[np.newaxis])
        given = ["--inputs", f"images={tmp_path / 'images.npy'}"]
    else:
        np.save(tmp_path / "files.npy", np.array([file_of(image)]))
        given = ["--inputs", f"image_bytes={tmp_path / 'files.npy'}"]
    options = ["--tag_set", "serve", "--signature_def", signature, "--outdir", tmp_path]
    saved_model_cli("run", "--dir", cacnet_export, *options, *given)
    probabilities = tmp_path / "probabilities.npy"
    found = np.load(probabilities) if probabilities.exists() else None
    assert_as_keras(image[np.newaxis], np.load(tmp_path / "class_ids.npy"), found)
