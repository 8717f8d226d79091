"""What the context-adaptive convolution costs: its formulations against each other, and CaC-Net against the FCN.

Method: every variant of a comparison is compiled with `tf.function`, warmed up once, then all are timed in turn,
one call each, for a number of rounds; the figure is the median over the rounds of the ratio to the first variant of
the same round, so that a machine whose speed drifts does not favour any. Written as JSON with the machine's
description; run with `python benchmarks/layer.py` on a quiet machine.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.layers.dynamic_depthwise import _shifted_products, dynamic_depthwise_conv

RATES = (1, 2, 3)


def native_dilation(x: Any, kernels: Any, rate: int) -> Any:
    """The native operation with its own dilation attribute, which runs in oneDNN's kernels alone."""
    batch, height, width, channels = x.shape
    size = kernels.shape[1]
    planes = tf.reshape(tf.transpose(x, (1, 2, 0, 3)), (1, height, width, batch * channels))
    filters = tf.reshape(tf.transpose(kernels, (1, 2, 0, 3)), (size, size, batch * channels, 1))
    result = tf.raw_ops.DepthwiseConv2dNative(
        input=planes, filter=filters, strides=[1, 1, 1, 1], padding="SAME", dilations=[1, rate, rate, 1]
    )
    return tf.transpose(tf.reshape(result, (height, width, batch, channels)), (2, 0, 1, 3))


def compare(variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of every variant, and median ratio to the first one, over interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    for _ in range(rounds):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    first = next(iter(times.values()))
    return {
        name: {
            "milliseconds": round(1e3 * statistics.median(values), 2),
            "ratio": round(statistics.median(a / b for a, b in zip(values, first, strict=True)), 3),
        }
        for name, values in times.items()
    }


def formulations(shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    x = tf.random.stateless_normal(shape, seed=(0, 0))
    kernels = tf.random.stateless_normal((shape[0], 3, 3, shape[3]), seed=(0, 1))

    def runs(convolve: Callable[[Any, Any, int], Any], gradient: bool) -> Callable[[], Any]:
        def forward() -> Any:
            return tf.add_n([tf.sigmoid(convolve(x, kernels, rate)) for rate in RATES])

        def both() -> Any:
            with tf.GradientTape() as tape:
                tape.watch((x, kernels))
                value = tf.reduce_sum(forward() ** 2)
            return tape.gradient(value, (x, kernels))

        function = tf.function(both if gradient else forward)
        return lambda: [part.numpy() for part in tf.nest.flatten(function())]

    variants: dict[str, Callable[[Any, Any, int], Any]] = {
        "this package": dynamic_depthwise_conv,
        "native": native_dilation,
        "shifted": _shifted_products,
    }
    return {
        kind: compare({name: runs(variant, kind != "forward") for name, variant in variants.items()}, rounds)
        for kind in ("forward", "forward and backward")
    }


def training_step(rounds: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (4, 128, 128, 3)).astype("float32")
    masks = rng.integers(0, 11, (4, 128, 128))

    def step(**settings: Any) -> Callable[[], Any]:
        model = kc.CaCNet(11, backbone="resnet18", head_channels=128, **settings)
        model.compile(kc.optimizers.SGD(0.01), kc.losses.SegmentationCrossentropy(), jit_compile=False)
        return lambda: model.train_on_batch(images, masks)

    return compare(
        {
            "FCN": step(num_heads=0, global_pooling=False),
            "CaC": step(global_pooling=False),
            "CaC + GP": step(),
        },
        rounds,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "layer.json")
    options = parser.parse_args()
    shapes = [(1, 64, 64, 512), (8, 24, 24, 128)]
    result = {
        "machine": {"processors": os.cpu_count(), "architecture": platform.machine()},
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "rounds": options.rounds,
        "convolution": {"x".join(map(str, shape)): formulations(shape, options.rounds) for shape in shapes},
        "training step, ResNet-18, 4x128x128": training_step(options.rounds),
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
