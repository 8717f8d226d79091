"""Fixtures that every test may use."""

import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
import small_networks as small
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.layers.resize import ResizeLike

NAMES = ("sky", "sea", "sand", "palm tree", "boat")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@keras.saving.register_keras_serializable("tests")
class Traced(keras.layers.Layer):
    """Counts how often Python runs it: once per trace of a compiled function."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.traces = 0

    def call(self, x):
        self.traces += 1
        return x


def build(num_classes=5, seed=0):
    """A small network of the library's form: images of any size in, logits of that size out."""
    images = keras.Input((None, None, 3))
    x = Traced(name="traced")(keras.layers.Rescaling(1 / 64)(images))
    init = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    x = keras.layers.Conv2D(num_classes, 3, strides=4, padding="same", kernel_initializer=init)(x)
    model = keras.Model(images, ResizeLike(4)([x, images]), name="small")
    model.get_layer("traced").traces = 0
    return model


@pytest.fixture
def classes():
    palette = ((90, 160, 220), (20, 60, 140), (230, 210, 150), (20, 140, 40), (200, 30, 30))
    return ClassTable(NAMES, palette, ids=(1, 2, 4, 7, 9), void_ids=(0,))


@pytest.fixture
def model():
    return build()


@pytest.fixture
def build_model():
    return build


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs and masks beside the checkout; tests that need them skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real photographs are not at ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def run_on_jax():
    def run(program, *arguments, devices=1):
        """What a program prints under the JAX backend, on that many devices of the host."""
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
                "KERAS_BACKEND": "jax",
                "JAX_PLATFORMS": "cpu",
                # Compiling takes longer than running what it gives.
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0 "
                "--xla_llvm_disable_expensive_passes=true",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def write_coast():
    def coast(root):
        """Four images to train on and two to score, sea below sky, in a folder of one's own."""
        rng = np.random.default_rng(0)
        root.mkdir(parents=True)
        (root / "classes.txt").write_text("0 sky 90 160 220\n1 sea 20 60 140\n2 Void 0 0 0\n")
        for split, count in (("train", 4), ("val", 2)):
            for kind in ("images", "labels"):
                (root / kind / split).mkdir(parents=True)
            for index in range(count):
                mask = np.zeros((40, 44), "uint8")
                mask[20:] = 1
                image = np.where(mask[..., None] == 1, (20, 60, 140), (90, 160, 220)) + rng.integers(0, 9, (40, 44, 3))
                Image.fromarray(image.astype("uint8")).save(root / "images" / split / f"{index}.png")
                Image.fromarray(mask).save(root / "labels" / split / f"{index}.png")
        return root

    return coast


@pytest.fixture(scope="module")
def small_networks():
    """Backbones by name cost next to nothing in this module."""
    with small.small_networks():
        yield


@pytest.fixture(scope="session")
def settled():
    def settle(model, batch=None):
        """Random weights everywhere, and batch-norm statistics that fit them, as after training.

        Statistics drawn at random would not do: predicted kernels reach 10,000 then, and float32 itself is 1e-2 off.
        They have to fit the images that are shown later as well: noise, unless a batch is given.
        """
        rng = np.random.default_rng(0)
        for weight in model.trainable_weights:
            if weight.name in ("gamma", "beta", "bias"):
                weight.assign(
                    rng.uniform(0.5, 1.0, weight.shape) if weight.name == "gamma" else rng.normal(size=weight.shape)
                )
        if batch is None:
            batch = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("float32")
        norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum **= 40  # one step is as many: the statistics of the batch do not depend on them
        model(batch, training=True)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return model

    return settle


@pytest.fixture(scope="session")
def cacnet(settled):
    """A CaC-Net whose classes differ from pixel to pixel, for images of patches."""
    keras.utils.set_random_seed(0)
    patches = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3)).astype("float32")
    batch = patches.repeat(8, axis=1).repeat(8, axis=2)
    model = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8, kernel_sizes=(3, 5), name="cacnet")
    settled(model, batch)
    # No class is the likeliest everywhere, and none is certain: saturated probabilities would hide differences.
    logits = keras.ops.convert_to_numpy(model(batch, training=False))
    classifier = {weight.path: weight for weight in model.trainable_weights if weight.path.startswith("classifier/")}
    kernel, bias = classifier["classifier/kernel"], classifier["classifier/bias"]
    bias.assign((bias - logits.mean(axis=(0, 1, 2))) / logits.std())
    kernel.assign(kernel / logits.std())
    return model


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


@pytest.fixture(autouse=True, scope="module")
def seeded_module():
    """What fixtures of a module draw is the same whichever tests ran before."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
