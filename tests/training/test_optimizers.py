"""SGD against a NumPy rendering of PyTorch's formula, under the poly schedule."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.training.optimizers import SGD, poly


def pytorch_sgd(weights, gradients, rates, momentum, decay, factors):
    """torch.optim.SGD: L2 in the gradient, buffer without the learning rate, one parameter group a factor."""
    buffers = [None] * len(weights)
    weights = [weight.copy() for weight in weights]
    for step, rate in enumerate(rates):
        for i, weight in enumerate(weights):
            gradient = gradients[step][i] + decay * weight
            buffers[i] = gradient if buffers[i] is None else momentum * buffers[i] + gradient
            weights[i] = weight - factors[i] * rate * buffers[i]
    return weights


def test_equals_pytorch_over_a_schedule():
    rng = np.random.default_rng(0)
    steps = 25
    names, factors = ("conv1_conv", "head_1_conv", "classifier"), (1.0, 10.0, 10.0)
    start = [rng.normal(size=shape) for shape in ((3, 2), (4,), (2, 2))]
    gradients = [[rng.normal(size=value.shape) for value in start] for _ in range(steps)]
    rates = [0.05 * (1 - step / steps) ** 0.9 for step in range(steps)]
    variables = [keras.Variable(value, dtype="float64", name=name) for value, name in zip(start, names, strict=True)]
    optimizer = SGD(poly(0.05, steps), momentum=0.9, weight_decay=0.01, multipliers=[("^(head|classifier)", 10.0)])
    for step in range(steps):
        optimizer.apply([tf.constant(gradient) for gradient in gradients[step]], variables)
    # The schedule is computed in float32.
    for variable, expected in zip(variables, pytorch_sgd(start, gradients, rates, 0.9, 0.01, factors), strict=True):
        assert np.allclose(variable, expected, rtol=1e-6, atol=1e-6)


def test_differs_from_keras_own():
    gradients = [tf.constant([1.0])] * 3
    ours, theirs = keras.Variable([1.0]), keras.Variable([1.0])
    own = keras.optimizers.SGD(poly(0.1, 3), momentum=0.9, weight_decay=0.5)
    this = SGD(poly(0.1, 3), momentum=0.9, weight_decay=0.5)
    for gradient in gradients:
        this.apply([gradient], [ours])
        own.apply([gradient], [theirs])
    assert abs(float(ours.value[0]) - float(theirs.value[0])) > 0.04


def test_poly_is_the_papers():
    schedule = poly(0.001, 1000, 0.9)
    for step in (0, 1, 500, 999):
        # Keras computes 1 - step / 1000 in float32, to 6e-8.
        assert float(schedule(step)) == pytest.approx(0.001 * (1 - step / 1000) ** 0.9, abs=1e-10)
    assert float(schedule(1000)) == 0


def test_state_survives_serialisation():
    optimizer = SGD(poly(0.1, 7), weight_decay=3e-4, multipliers=[("^head", 10.0)], global_clipnorm=2.0)
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert restored.get_config() == optimizer.get_config()
    assert restored.factor("head_1/kernel") == 10.0
    assert restored.l2 == 3e-4
    assert restored.max_norm == 2.0
    assert restored.weight_decay is None  # Keras' own decay would act a second time


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SGD(multipliers=[("(", 1.0)]), r"'\(' is not a regular expression"),
        (lambda: SGD(multipliers=[("head", -1.0)]), "-1.0"),
        (lambda: SGD(nesterov=True), "nesterov"),
        (lambda: SGD(clipnorm=1.0), "clipnorm=1.0 .* depends on their number; use global_clipnorm"),
        (lambda: SGD(clipvalue=0.5), "clipvalue=0.5"),
        (lambda: SGD(global_clipnorm=0.0), "positive number or None, got 0.0"),
        (lambda: SGD(global_clipnorm=1.0, gradient_accumulation_steps=4), "gradient_accumulation_steps=4"),
        (lambda: poly(0.0, 10), "learning_rate > 0"),
        (lambda: poly(float("nan"), 10), "nan"),
        (lambda: poly(0.1, 0), "total_steps >= 1"),
    ],
)
def test_bad_settings_are_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def gradients_of(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("clipnorm", [0.7, 100.0])
def test_the_norm_of_all_weights_together_is_clipped(clipnorm):
    start, gradients = gradients_of((3, 2), (4,)), gradients_of((3, 2), (4,), seed=1)
    variables = [keras.Variable(value, dtype="float64") for value in start]
    SGD(0.1, weight_decay=0.01, global_clipnorm=clipnorm).apply([tf.constant(g) for g in gradients], variables)
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
    factor = min(1, clipnorm / norm)
    assert (factor < 1) == (clipnorm < 1)
    for variable, value, gradient in zip(variables, start, gradients, strict=True):
        # Clipped before weight decay, as torch.nn.utils.clip_grad_norm_ does. The rate is float32.
        assert np.allclose(variable, value - 0.1 * (factor * gradient + 0.01 * value), rtol=1e-7, atol=1e-8)
