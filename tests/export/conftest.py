"""A small network of the library's form, a small CaC-Net, and a process that serves exports without Keras."""

import io
import os
import pickle
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.export import saved_model
from keras_cacnet.layers.resize import ResizeLike


@pytest.fixture
def classes():
    palette = ((90, 160, 220), (20, 60, 140), (230, 210, 150))
    return ClassTable(("sky", "sea", "palm tree"), palette, ids=(1, 2, 4), void_ids=(0,))


@pytest.fixture
def model():
    images = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 64)(images)
    x = keras.layers.Conv2D(3, 3, strides=4, padding="same", kernel_initializer="orthogonal")(x)
    return keras.Model(images, ResizeLike(4)([x, images]), name="small")


@pytest.fixture(scope="session")
def cacnet():
    """A CaC-Net whose classes differ from pixel to pixel, with batch-norm statistics that fit its weights."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8, kernel_sizes=(3, 5), name="cacnet")
    for weight in model.trainable_weights:
        if weight.name == "gamma":
            weight.assign(rng.uniform(0.5, 1.0, weight.shape))
        elif weight.name in ("beta", "bias"):
            weight.assign(rng.normal(size=weight.shape))
    # Patches, not noise: statistics that do not fit the images let numbers grow, and rounding errors with them.
    batch = rng.integers(0, 256, (4, 5, 5, 3)).astype("float32").repeat(8, axis=1).repeat(8, axis=2)
    for _ in range(40):
        model(batch, training=True)
    # No class is the likeliest everywhere, and none is certain: saturated probabilities would hide differences.
    logits = keras.ops.convert_to_numpy(model(batch, training=False))
    classifier = {weight.path: weight for weight in model.trainable_weights if weight.path.startswith("classifier/")}
    kernel, bias = classifier["classifier/kernel"], classifier["classifier/bias"]
    bias.assign((bias - logits.mean(axis=(0, 1, 2))) / logits.std())
    kernel.assign(kernel / logits.std())
    return model


@pytest.fixture(scope="session")
def protocol():
    return kc.evaluation.Protocol((0.5, 1.0, 1.25), flip=True)


@pytest.fixture(scope="session")
def cacnet_export(cacnet, protocol, tmp_path_factory):
    """Its SavedModel, with all signatures."""
    return saved_model(cacnet, tmp_path_factory.mktemp("exports") / "cacnet" / "1", multiscale=protocol)


@pytest.fixture(scope="session")
def serve(cacnet_export):
    """Calls a signature of it, by name and with one array, in a process without Keras and without this package."""
    script = Path(__file__).with_name("without_keras.py")
    process = subprocess.Popen(
        # -P keeps the script's folder off the import path.
        [sys.executable, "-P", script, cacnet_export],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )

    def call(signature, value):
        pickle.dump((signature, value), process.stdin)
        process.stdin.flush()
        answer = pickle.load(process.stdout)
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    yield call
    process.stdin.close()
    process.stdout.close()
    assert process.wait(60) == 0


def interpreter_of(runtime):
    """The interpreter of the environment that a runtime of exports lies in."""
    python = Path(sys.prefix, runtime, "bin", "python")
    if not python.exists():
        pytest.skip(f"{runtime} is not installed: make {python.parents[1]}/installed")
    return python


@pytest.fixture(scope="session")
def kserve_python():
    return interpreter_of("kserve")


@pytest.fixture(scope="session")
def mediapipe_python():
    python = interpreter_of("mediapipe")
    tried = subprocess.run(
        [python, "-c", "from mediapipe.tasks.python import vision; vision.ImageSegmenter.create_from_model_path('')"],
        capture_output=True,
        text=True,
        check=False,
    )
    if missing := [line for line in tried.stderr.splitlines() if "cannot open shared object file" in line]:
        pytest.skip(f"MediaPipe needs a library that this machine lacks: {missing[-1]}")
    return python


@pytest.fixture(scope="session")
def kserve_ports(cacnet_export, kserve_python, tmp_path_factory):
    """Where examples/kserve_server/server.py serves it: the ports of REST and of gRPC."""
    ports = {}
    for kind in ("rest", "grpc"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports[kind] = free.getsockname()[1]
    root = Path(__file__).resolve().parents[2]
    command = [
        kserve_python,
        "-P",
        root / "benchmarks" / "on_loopback.py",
        root / "examples" / "kserve_server" / "server.py",
    ]
    options = ["--model_name", "cacnet", "--model_dir", cacnet_export.parent]
    options += [f"--http_port={ports['rest']}", f"--grpc_port={ports['grpc']}"]
    with (tmp_path_factory.mktemp("kserve") / "log.txt").open("w+") as log:
        process = subprocess.Popen(list(map(str, [*command, *options])), stdout=log, stderr=subprocess.STDOUT)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{ports['rest']}/v1/models/cacnet").close()
                break
            except urllib.error.URLError:
                log.seek(0)
                assert process.poll() is None, log.read()[-2000:]
                time.sleep(0.1)
        yield ports
        process.terminate()
        assert process.wait(60) == 0


@pytest.fixture(scope="session")
def photograph():
    """Draws an image of a size: smooth, so that a JPEG of it is as in life, and different everywhere."""

    def draw(height, width, seed=0):
        small = np.random.default_rng(seed).integers(0, 256, (-(-height // 4), -(-width // 4), 3)).astype("uint8")
        return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))

    return draw


@pytest.fixture(scope="session")
def file_of():
    """Writes an array, or a Pillow image, as the bytes of a file."""

    def write(image, kind="PNG", **options):
        file = io.BytesIO()
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(file, kind, **options)
        return file.getvalue()

    return write


@pytest.fixture(scope="session")
def assert_as_keras(cacnet):
    """Holds the answer for a batch against Keras on the CPU: probabilities within 1e-5, and the same classes."""

    def check(images, class_ids, probabilities=None):
        logits = cacnet(np.asarray(images, "float32"), training=False)
        expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
        if probabilities is not None:
            np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
        assert class_ids.dtype == np.int32
        assert class_ids.shape == expected.shape[:-1]
        best = np.sort(expected, axis=-1)
        # Probabilities may be 1e-5 off, so classes closer than twice that may change places; no others may.
        clear = best[..., -1] - best[..., -2] > 2e-5
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(class_ids[clear], expected.argmax(axis=-1)[clear])
        # Else equality would prove nothing.
        assert len(np.unique(class_ids)) > 1

    return check


@pytest.fixture(scope="session")
def photographs():
    def noise(*shapes):
        rng = np.random.default_rng(0)
        return [rng.integers(0, 256, (*shape, 3)).astype("uint8") for shape in shapes]

    return noise


@pytest.fixture(scope="session")
def settled(photographs):
    def settle(model):
        """Random weights everywhere, and batch-norm statistics that fit them, as after training.

        Statistics drawn at random would not do: predicted kernels reach 10,000 then, and float32 itself is 1e-2 off.
        """
        rng = np.random.default_rng(0)
        for weight in model.trainable_weights:
            if weight.name in ("gamma", "beta", "bias"):
                weight.assign(
                    rng.uniform(0.5, 1.0, weight.shape) if weight.name == "gamma" else rng.normal(size=weight.shape)
                )
        batch = photographs((4, 32, 32))[0].astype("float32")
        for _ in range(40):
            model(batch, training=True)
        return model

    return settle
