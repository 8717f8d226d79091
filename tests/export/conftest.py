"""A small network of the library's form, and a process that serves exports without Keras."""

import os
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

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
    server = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "kserve_process.py"))["server"]
    log = tmp_path_factory.mktemp("kserve") / "log.txt"
    with server(cacnet_export.parent, log, kserve_python) as (_, rest, grpc):
        yield {"rest": rest, "grpc": grpc}


@pytest.fixture(scope="session")
def photographs():
    def noise(*shapes):
        rng = np.random.default_rng(0)
        return [rng.integers(0, 256, (*shape, 3)).astype("uint8") for shape in shapes]

    return noise
