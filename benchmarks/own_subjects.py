"""What `performance.py` measures of this package; imported when memory before it has been told."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from runtimes import pictures

import keras_cacnet as kc
from keras_cacnet.layers import CaCLayer
from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv


def operation(shape: tuple[int, ...], gradient: bool, xla: bool = False) -> Callable[[], Any]:
    x = tf.random.stateless_normal(shape, seed=(0, 0))
    kernels = tf.random.stateless_normal((shape[0], 3, 3, shape[3]), seed=(0, 1))

    def forward() -> Any:
        return tf.add_n([tf.sigmoid(dynamic_depthwise_conv(x, kernels, rate)) for rate in (1, 2, 3)])

    return _run(forward, [x, kernels], gradient, xla)


def layer(shape: tuple[int, ...], gradient: bool) -> Callable[[], Any]:
    module = CaCLayer()
    module.build(shape)
    x = tf.random.stateless_normal(shape, seed=(0, 0))
    inputs = [x, *(weight.value for weight in module.trainable_weights)]
    return _run(lambda: module(x, training=gradient), inputs, gradient)


def build(name: str, classes: int, **settings: Any) -> Any:
    if name == "fcn":
        settings |= {"num_heads": 0, "global_pooling": False}
    return kc.CaCNet(classes, **settings)


def predict(network: str, size: int, batch: int, classes: int) -> tuple[Callable[[], Any], int]:
    model, images = build(network, classes), pictures(size, batch)
    parameters = model.backbone.count_params() + model.decoder.count_params()
    return lambda: [kc.evaluation.ids(model, image) for image in images], parameters


def evaluate(network: str, size: int, batch: int, classes: int, scales: tuple[float, ...]) -> Callable[[], Any]:
    """Class ids by a protocol of several scales, images shown whole."""
    model, images = build(network, classes), pictures(size, batch)
    protocol = kc.evaluation.Protocol(tuple(scales))
    return lambda: [kc.evaluation.ids(model, image, protocol) for image in images]


def metrics(network: str, size: int, batch: int, classes: int) -> Callable[[], Any]:
    """What `fit` and `evaluate` keep of the logits of a batch."""
    kept = [kc.metrics.MeanIoU(classes), kc.metrics.PixelAccuracy(classes)]
    rng = np.random.default_rng(0)
    masks = tf.constant(rng.integers(0, classes, (batch, size, size)).astype("uint8"))
    logits = tf.constant(rng.normal(size=(batch, size, size, classes)).astype("float32"))

    @tf.function
    def update() -> Any:
        for metric in kept:
            metric.update_state(masks, logits)
        return [metric.result() for metric in kept]

    return lambda: [float(value) for value in update()]


def train(
    network: str, size: int, batch: int, classes: int, xla: bool = False, **settings: Any
) -> tuple[Callable[[], Any], int]:
    model = build(network, classes, **settings)
    sgd = kc.optimizers.SGD(1e-3, momentum=0.9, weight_decay=1e-4)
    model.compile(sgd, kc.losses.SegmentationCrossentropy(), jit_compile=xla)
    images = pictures(size, batch)
    masks = np.random.default_rng(1).integers(0, classes, (batch, size, size)).astype("uint8")
    return lambda: model.train_on_batch(images, masks), model.count_params()


def _run(forward: Callable[[], Any], inputs: list[Any], gradient: bool, xla: bool = False) -> Callable[[], Any]:
    upstream = tf.random.stateless_normal(inputs[0].shape, seed=(0, 2))

    def both() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = forward()
        return value, tape.gradient(value, inputs, upstream)

    function = tf.function(both if gradient else forward, jit_compile=xla or None)
    return lambda: [part.numpy() for part in tf.nest.flatten(function())]
