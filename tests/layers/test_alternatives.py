"""The alternatives of Table 6 against float64 NumPy, the paper's parameter counts, and what they promise."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.layers import (
    ContextEncodingLayer,
    FixedKernelLayer,
    FullyConnectedKernelLayer,
    PooledKernelLayer,
    SqueezeExcitationLayer,
)

SIZE = (5, 4)
MAKERS = {
    "fixed": FixedKernelLayer,
    "fc": lambda **settings: FullyConnectedKernelLayer(SIZE, **settings),
    "gap": PooledKernelLayer,
    "se": lambda **settings: SqueezeExcitationLayer(reduction=2, **settings),
    "enc": lambda **settings: ContextEncodingLayer(codewords=3, **settings),
}
KERNELS = ("fixed", "fc", "gap")
every = pytest.mark.parametrize("name", MAKERS)


def features(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def random_layer(name, channels, dtype="float64", **settings):
    """A built layer whose weights and batch-norm statistics are all random."""
    layer = MAKERS[name](dtype=dtype, **settings)
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(0)
    for weight in layer.variables:
        low = 0.5 if "variance" in weight.path else -1.0
        weight.assign(rng.uniform(low, 1.5, weight.shape))
    return layer


def values_of(layer):
    return {weight.path.split("/", 1)[1]: np.asarray(weight, "float64") for weight in layer.variables}


def normalised(x, values, name, axis, batch=False):
    """Batch norm over `axis`, by the moving statistics or by those of `x`; mean and variance come back too."""
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    mean, variance = values[f"{name}/moving_mean"], values[f"{name}/moving_variance"]
    if batch:
        mean, variance = x.mean(others), x.var(others)
    scale = values[f"{name}/gamma"] / np.sqrt(variance + 1e-5)
    return (x - mean.reshape(shape)) * scale.reshape(shape) + values[f"{name}/beta"].reshape(shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference_kernels(name, layer, x, batch=False):
    """D of every sample, value by value."""
    values, s, (size, height, width, channels) = values_of(layer), layer.kernel_size, x.shape
    kernels = np.zeros((size, s, s, channels))
    for b, i, j, c in np.ndindex(kernels.shape):
        if name == "fixed":
            kernels[b, i, j, c] = values["kernel"][i, j, c]
        elif name == "fc":
            weights = values["kernel"][c, :, i * s + j].reshape(height, width)
            kernels[b, i, j, c] = sum(weights[p, q] * x[b, p, q, c] for p, q in np.ndindex(height, width))
        else:
            weights = values["dense/kernel"][:, (i * s + j) * channels + c]
            kernels[b, i, j, c] = np.dot(x[b].mean(axis=(0, 1)), weights)
    return kernels if name == "fixed" else normalised(kernels, values, "norm", -1, batch)


def reference_weighting(name, layer, x, batch=False):
    """W of every sample, from Eq. 2 with the reference kernels, or from the two papers' own equations."""
    values = values_of(layer)
    _, height, width, channels = x.shape
    weights = np.zeros_like(x)
    if name in KERNELS:
        kernels, s = reference_kernels(name, layer, x, batch), layer.kernel_size
        for rate in layer.dilation_rates:
            border = s // 2 * rate
            padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
            response = np.zeros_like(x)
            for p, q, i, j in np.ndindex(height, width, s, s):
                response[:, p, q] += padded[:, p + i * rate, q + j * rate] * kernels[:, i, j]
            weights += sigmoid(response)
        return weights
    if name == "se":
        for b, image in enumerate(x):
            squeezed = np.array([image[..., c].mean() for c in range(channels)])
            hidden = np.maximum(squeezed @ values["squeeze/kernel"] + values["squeeze/bias"], 0)
            weights[b] = sigmoid(hidden @ values["excite/kernel"] + values["excite/bias"])
        return weights
    descriptors = np.maximum(normalised(x @ values["conv/kernel"][0, 0], values, "norm", -1, batch), 0)
    codes = np.zeros((len(x), layer.codewords, channels))
    for b, p, q in np.ndindex(x.shape[:3]):
        residuals = [descriptors[b, p, q] - word for word in values["dictionary"]]
        shares = np.exp([f * (r @ r) for f, r in zip(values["smoothing"], residuals, strict=True)])
        codes[b] += (shares / shares.sum())[:, None] * residuals / (height * width)
    encoding = np.maximum(normalised(codes, values, "code_norm", 1, batch), 0).mean(axis=1)
    weights += 1 + sigmoid(encoding @ values["dense/kernel"] + values["dense/bias"])[:, None, None, :]
    return weights


@every
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-5)])
def test_equals_numpy(name, dtype, tolerance):
    """Some 80 products of order 1 and a normalisation: float32 rounds them to about 1e-6, float64 to 1e-15."""
    for batch, channels, settings in ((2, 3, {}), (1, 1, {"kernel_size": 5, "dilation_rates": (2,)})):
        layer = random_layer(name, channels, dtype, **(settings if name in KERNELS else {}))
        x = features(batch, *SIZE, channels)
        weights = reference_weighting(name, layer, x)
        found = np.broadcast_to(np.asarray(layer.weighting(x)), x.shape)
        assert np.allclose(found, weights, rtol=tolerance, atol=tolerance)
        assert np.allclose(layer(x), x * weights, rtol=tolerance, atol=tolerance)
        if name in KERNELS:
            expected = reference_kernels(name, layer, x)
            assert np.allclose(layer.predict_kernels(x), expected, rtol=tolerance, atol=tolerance)


@every
def test_training_normalises_by_the_batch(name):
    layer = random_layer(name, 3)
    x = features(4, *SIZE, 3)
    before = values_of(layer)
    weights = reference_weighting(name, layer, x, batch=True)
    # Sums in float64, in another order; the variance of the encoding's codes is divided by, and below 1e-2.
    assert np.allclose(layer(x, training=True), x * weights, rtol=0, atol=1e-9)
    # Outside of a call of the layer nothing but the argument tells that this is training.
    assert np.allclose(x * layer.weighting(x, training=True), x * weights, rtol=0, atol=1e-9)
    moved = {path for path, value in values_of(layer).items() if not np.array_equal(value, before[path])}
    norms = {"fixed": (), "se": (), "enc": ("norm", "code_norm")}.get(name, ("norm",))
    assert moved == {f"{norm}/moving_{statistic}" for norm in norms for statistic in ("mean", "variance")}


@pytest.mark.parametrize(("size", "kernel_size", "channels"), [((4, 6), 3, 8), ((3, 3), 5, 5)])
def test_parameters_are_those_of_the_paper(size, kernel_size, channels):
    """Section 4.2: h w s^2 c for FC and s^2 c^2 for GAP, each with a batch norm of 2c; s^2 c for fixed kernels."""

    def trainable(layer):
        layer.build((None, *size, channels))
        return sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables)

    height, width = size
    squared = kernel_size**2
    assert trainable(FixedKernelLayer(kernel_size)) == squared * channels
    assert trainable(FullyConnectedKernelLayer(None, kernel_size)) == height * width * squared * channels + 2 * channels
    assert trainable(PooledKernelLayer(kernel_size)) == squared * channels**2 + 2 * channels
    for reduction, hidden in ((2, channels // 2), (16, 1)):
        assert trainable(SqueezeExcitationLayer(reduction)) == 2 * channels * hidden + hidden + channels
    for words in (1, 7):
        expected = 2 * channels**2 + 3 * channels + words * channels + 3 * words
        assert trainable(ContextEncodingLayer(words)) == expected


@every
def test_gradients_reach_every_weight_and_equal_finite_differences(name):
    layer = random_layer(name, 2)
    x = features(2, *SIZE, 2)
    direction = features(2, *SIZE, 2, seed=5)

    def objective():
        return tf.reduce_sum(layer(x, training=True) * direction)

    with tf.GradientTape() as tape:
        loss = objective()
    variables = [weight.value for weight in layer.trainable_variables]
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        # Along a random direction, for all values of a weight at once.
        move = np.random.default_rng(3).normal(size=variable.shape)
        before = variable.numpy()
        step = 1e-5
        variable.assign(before + step * move)
        above = float(objective())
        variable.assign(before - step * move)
        numeric = (above - float(objective())) / (2 * step)
        variable.assign(before)
        # Central differences err by step^2 times the third derivative, and by 1e-15 / step in rounding.
        assert float(np.sum(gradient * move)) == pytest.approx(numeric, rel=1e-6, abs=1e-7), variable.name


@every
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_half_precision_accumulates_in_float32(name, policy):
    keras.utils.set_random_seed(1)
    layer = MAKERS[name](dtype=policy)
    x = tf.cast(features(2, *SIZE, 8), layer.compute_dtype)
    layer.build(x.shape)
    if name == "se":
        # Large weights, so that roundings before the sigmoid would show behind it.
        layer.set_weights([10 * weight for weight in layer.get_weights()])
    wide = MAKERS[name](dtype="float64")
    wide.build(x.shape)
    wide.set_weights([np.asarray(weight, "float64") for weight in layer.get_weights()])
    exact = np.asarray(wide(tf.cast(x, "float64")))
    unit = float(np.finfo("float16").eps) if layer.compute_dtype == "float16" else 2.0**-7
    # Two roundings to half precision remain: W, and the product of X and W.
    assert np.all(np.abs(tf.cast(layer(x), tf.float64) - exact) <= 1.1 * unit * np.abs(exact) + 1e-6)
    assert layer(x).dtype == layer.compute_dtype


@every
def test_any_batch_and_size_in_one_function_and_a_saved_file(tmp_path, name):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, MAKERS[name]()(images))
    assert model.output.shape == (None, None, None, 3)
    function = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec((None, None, None, 3))])
    for shape in [(1, *SIZE, 3), (3, *SIZE, 3)] + ([(2, 6, 9, 3), (1, 1, 1, 3)] if name != "fc" else []):
        x = features(*shape).astype("float32")
        # The same arithmetic in another order of float32 sums.
        assert np.allclose(function(x), model.layers[-1](x), rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "layer.keras")
    restored = keras.models.load_model(tmp_path / "layer.keras")
    x = features(2, *SIZE, 3).astype("float32")
    assert np.array_equal(restored(x), model(x))
    assert restored.layers[-1].get_config() == model.layers[-1].get_config()


def test_fc_takes_the_size_it_was_first_built_with_and_no_other(tmp_path):
    layer = FullyConnectedKernelLayer()
    layer(np.ones((1, 4, 6, 2), "float32"))
    assert FullyConnectedKernelLayer.from_config(layer.get_config()).input_size == (4, 6)
    # As many positions, but not the same: without a check the wrong weights would be taken in silence.
    for size in ((6, 4), (4, 5)):
        x = np.ones((1, *size, 2), "float32")
        with pytest.raises(ValueError, match=f"4x6 positions .*got features of {size[0]}x{size[1]}"):
            layer(x)
        function = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 2))])
        function(np.ones((1, 4, 6, 2), "float32"))
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            function(x)
        assert "4x6 positions" in str(error.value)
        assert f"[{size[0]} {size[1]}]" in str(error.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FixedKernelLayer(kernel_size=4), "4"),
        (lambda: PooledKernelLayer(dilation_rates=()), r"\(\)"),
        (lambda: FullyConnectedKernelLayer(input_size=(4, 0)), r"\(4, 0\)"),
        (lambda: FullyConnectedKernelLayer(input_size=4), "got 4"),
        (lambda: FullyConnectedKernelLayer()(keras.Input((None, 4, 2))), r"\(None, None, 4, 2\)"),
        (lambda: SqueezeExcitationLayer(reduction=0), "got 0"),
        (lambda: ContextEncodingLayer(codewords=1.5), "got 1.5"),
        *((lambda name=name: MAKERS[name]()(np.zeros((2, 3, 4))), r"\(2, 3, 4\)") for name in MAKERS),
        *(
            (lambda name=name: random_layer(name, 3).weighting(np.zeros((1, *SIZE, 5))), "built for 3")
            for name in MAKERS
        ),
    ],
)
def test_bad_input_is_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()
