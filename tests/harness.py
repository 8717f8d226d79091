"""What tests of layers and heads share; `pythonpath` in pyproject.toml lets them `from harness import ...`.

`check_layer` holds a layer, or a model such as a head's decoder, against a float64 NumPy rendering of it.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache

import keras
import numpy as np
import tensorflow as tf


def check_layer(
    make,
    shapes,
    oracle,
    *,
    parameters,
    folder,
    tolerance=1e-11,
    roundings=2,
    half_gain=1,
    sizes_unknown=True,
    integers=True,
    weights=(-1.0, 1.5),
):
    """Check a layer against its oracle: values, gradients, dtypes, unknown sizes, files, frozen, and under JAX.

    Args:
        make: makes it, given `dtype`.
        shapes: those of its input, or of its inputs, to try. The first is the one that all is tried with.
        oracle: (weights, *inputs, training) -> outputs, in float64. Weights are by their path within the layer, and
            with `training` batch norms take the statistics of the batch.
        parameters: the number of its trainable parameters, for inputs of the first shape.
        folder: an empty folder.
        tolerance: relative and absolute, of float64; in float32 it is 1e6 times that.
        roundings: how often a value is rounded to half precision, the result included; None for layers that compute
            in half precision, whose values are then only held against a coarse tolerance.
        half_gain: factor on all weights in half precision, so that roundings before a sigmoid show behind it.
        sizes_unknown: whether it takes any height and width.
        integers: whether integers are to give what the same numbers give as floats.
        weights: the range from which all weights are drawn, but for variances.
    """
    shapes = [shape if isinstance(shape[0], tuple) else (shape,) for shape in shapes]

    def built(dtype="float64", gain=1):
        layer = make(dtype=dtype)
        if not layer.built:
            layer.build(_nested([(None, *shape[1:]) for shape in shapes[0]]))
        return random_weights(layer, *(gain * bound for bound in weights))

    layer = built()
    # The other process works while this one goes on.
    compare_jax = _asked_jax(built("float32"), shapes[0], oracle, tolerance, folder)
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables) == parameters
    _check_values(built, shapes, oracle, tolerance, roundings, half_gain)
    _check_gradients(layer, shapes[0])
    if integers:
        _check_integers(layer, shapes[0])
    restored = _check_sizes_and_file(built("float32"), shapes, sizes_unknown, folder / "layer.keras")
    _check_frozen(restored, shapes[0], folder / "frozen.keras")
    compare_jax()


def random_weights(layer, low=-1.0, high=1.5, seed=0):
    """Draw all weights and batch-norm statistics of a layer or model anew; variances lie above 0.5."""
    rng = np.random.default_rng(seed)
    for weight in layer.variables:
        if "seed" not in weight.path:
            weight.assign(rng.uniform(0.5 if "variance" in weight.path else low, high, weight.shape))
    return layer


def weights_of(layer):
    """All weights in float64, by their path within the layer."""
    prefix = f"{layer.name}/"
    return {weight.path.removeprefix(prefix): np.asarray(weight, "float64") for weight in layer.variables}


def features(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalised(x, weights, name, batch=False, axis=-1):
    """Batch norm in NumPy, over an axis: by the moving statistics among the weights, or by those of `x`."""
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    mean, variance = weights[f"{name}/moving_mean"], weights[f"{name}/moving_variance"]
    if batch:
        mean, variance = x.mean(others), x.var(others)
    scale = weights[f"{name}/gamma"] / np.sqrt(variance + 1e-5)
    return (x - mean.reshape(shape)) * scale.reshape(shape) + weights[f"{name}/beta"].reshape(shape)


def assert_close(found, expected, tolerance, what=""):
    """All outputs equal the expected ones, relatively and absolutely to a tolerance, in shape as well."""
    found, expected = keras.tree.flatten(found), keras.tree.flatten(expected)
    assert len(found) == len(expected), what
    for one, other in zip(found, expected, strict=True):
        one, other = _exact(one), np.asarray(other)
        assert one.shape == other.shape, what
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance, err_msg=what)


def _check_values(built, shapes, oracle, tolerance, roundings, gain):
    for dtype in ("float64", "float32", "mixed_bfloat16", "mixed_float16"):
        compute = keras.dtype_policies.get(dtype).compute_dtype
        layer = built(dtype, gain if "16" in compute else 1)
        bound = {"float64": tolerance, "float32": 1e6 * tolerance}.get(compute)
        for shape in shapes:
            inputs = _inputs(shape, compute)
            expected = oracle(weights_of(layer), *map(_exact, inputs), training=False)
            outputs = layer(_nested(inputs))
            symbols = layer(_nested([keras.Input(batch_shape=x.shape, dtype=compute) for x in inputs]))
            for output, symbol in zip(keras.tree.flatten(outputs), keras.tree.flatten(symbols), strict=True):
                assert output.dtype == symbol.dtype, dtype
                assert output.shape == symbol.shape, dtype
            if bound is None:
                _check_half(outputs, expected, compute, roundings, dtype)
            else:
                assert_close(outputs, expected, bound, f"{dtype}, {shape}")
    layer, inputs = built(), _inputs(shapes[0], "float64")
    expected = oracle(weights_of(layer), *map(_exact, inputs), training=True)
    # Variances of a few values are divided by.
    assert_close(layer(_nested(inputs), training=True), expected, 100 * tolerance, "training")


def _check_half(outputs, expected, compute, roundings, dtype):
    unit = 2.0**-10 if compute == "float16" else 2.0**-7
    for output, exact in zip(keras.tree.flatten(outputs), keras.tree.flatten(expected), strict=True):
        if roundings is None:
            bound = 20 * unit * np.abs(exact).max()
        elif output.dtype == "float32":
            bound = 1e-4 * np.abs(exact) + 1e-4
        else:
            # Each rounding is half a unit off; sums were in float32.
            bound = (roundings / 2 + 0.1) * unit * np.abs(exact) + 1e-4
        excess = np.abs(_exact(output) - exact) - bound
        assert np.all(excess <= 0), (dtype, excess.max())


def _check_gradients(layer, shape):
    """In float64, along a random direction, for all values of an input or a weight at once."""
    inputs = [tf.Variable(x) for x in _inputs(shape, "float64")]
    rng = np.random.default_rng(3)
    directions = [rng.normal(size=output.shape) for output in keras.tree.flatten(layer(_nested(inputs)))]

    def objective():
        outputs = keras.tree.flatten(layer(_nested(inputs), training=True))
        return sum(tf.reduce_sum(output * way) for output, way in zip(outputs, directions, strict=True))

    variables = [*inputs, *(weight.value for weight in layer.trainable_variables)]
    with tf.GradientTape() as tape:
        loss = objective()
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    for variable, gradient in zip(variables, gradients, strict=True):
        move, before, step = rng.normal(size=variable.shape), variable.numpy(), 1e-5
        variable.assign(before + step * move)
        above = float(objective())
        variable.assign(before - step * move)
        numeric = (above - float(objective())) / (2 * step)
        variable.assign(before)
        # Central differences err by step^2 times the third derivative, and by 1e-15 / step in rounding.
        np.testing.assert_allclose(np.sum(gradient * move), numeric, rtol=1e-6, atol=1e-7, err_msg=variable.name)


def _check_integers(layer, shape):
    whole = [np.round(3 * x).astype("int32") for x in _inputs(shape, "float64")]
    as_floats = layer(_nested([x.astype("float64") for x in whole]))
    assert_close(layer(_nested(whole)), keras.tree.map_structure(_exact, as_floats), 0, "integers")


def _check_sizes_and_file(layer, shapes, sizes_unknown, path):
    """One traced function takes all batches and sizes, and a file gives back the same values and config."""
    sides = [(None, None) if sizes_unknown else shape[1:3] for shape in shapes[0]]
    channels = [shape[3:] for shape in shapes[0]]
    model = _model_of(layer, [(*side, *rest) for side, rest in zip(sides, channels, strict=True)])
    signature = [tf.TensorSpec((None, *side, *rest)) for side, rest in zip(sides, channels, strict=True)]
    function = tf.function(lambda *inputs: model(_nested(inputs)), input_signature=signature)
    for shape in shapes:
        inputs = _inputs(shape, "float32")
        # The same arithmetic in another order of float32 sums.
        assert_close(function(*inputs), keras.tree.map_structure(_exact, layer(_nested(inputs))), 1e-5, f"{shape}")
    assert function.experimental_get_tracing_count() == 1
    model.save(path)
    restored = keras.models.load_model(path)
    inputs = _nested(_inputs(shapes[0], "float32"))
    assert_close(restored(inputs), keras.tree.map_structure(_exact, model(inputs)), 0, "restored")
    # Of a model, lists in a file stand for tuples.
    assert json.dumps(restored.layers[-1].get_config()) == json.dumps(layer.get_config())
    return restored


def _check_frozen(model, shape, path):
    """Frozen, saved and loaded, it has nothing to train and takes no statistics of a batch."""
    model.layers[-1].trainable = False
    model.save(path)
    loaded = keras.models.load_model(path)
    assert not loaded.trainable_variables
    before = [np.asarray(weight) for weight in loaded.variables]
    inputs = _nested(_inputs(shape, "float32"))
    expected = keras.tree.map_structure(_exact, loaded(inputs))
    assert_close(loaded(inputs, training=True), expected, 0, "frozen")
    assert all(np.array_equal(a, b) for a, b in zip(before, loaded.variables, strict=True))


def _asked_jax(layer, shape, oracle, tolerance, folder):
    inputs = _inputs(shape, "float32")
    model = _model_of(layer, [x.shape[1:] for x in inputs])
    found_by_jax = elsewhere("jax")(model, inputs, folder)
    values, exact = weights_of(layer), [_exact(x) for x in inputs]

    def compare():
        found, bound = found_by_jax(), 1e6 * tolerance
        assert_close(found["outputs"], oracle(values, *exact, training=False), bound, "JAX")
        # Variances of a few values are divided by.
        assert_close(found["training"], oracle(values, *exact, training=True), 10 * bound, "JAX, training")
        variables = [*map(tf.Variable, inputs), *(weight.value for weight in model.trainable_variables)]
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(model(_nested(variables[: len(inputs)]), training=True))
            loss = sum(tf.reduce_sum(output * _direction(output.shape)) for output in outputs)
        expected = tape.gradient(loss, variables, unconnected_gradients="zero")
        assert_close(found["gradients"], [_exact(x) for x in expected], 10 * bound, "gradients under JAX")

    return compare


_ANSWER = """
import json, sys, traceback
if sys.argv[1] == "jax":
    for absent in ("tensorflow", "keras_cv", "keras_hub", "tensorflow_datasets"):
        sys.modules[absent] = None
import keras, numpy as np
import keras_cacnet
from keras import ops
keras.config.set_image_data_format("channels_first")  # the library's layers are channels-last wherever they are

def nested(values):
    return list(values) if len(values) > 1 else values[0]

def answer(model, inputs):
    found = {"outputs": keras.tree.flatten(model(nested(inputs)))}
    return {**found, "training": keras.tree.flatten(model(nested(inputs), training=True))}

def answer_with_gradients(model, inputs):
    import jax
    others = [weight.value for weight in model.non_trainable_variables]
    def run(inputs, weights, training):
        return keras.tree.flatten(model.stateless_call(weights, others, nested(inputs), training=training)[0])
    def loss(inputs, weights):
        outputs = run(inputs, weights, True)
        return sum((y * np.cos(np.arange(y.size)).reshape(y.shape)).sum() for y in outputs), outputs
    @jax.jit
    def both(inputs, weights):
        (inputs_gradient, weights_gradient), outputs = jax.grad(loss, argnums=(0, 1), has_aux=True)(inputs, weights)
        gradients = [*inputs_gradient, *weights_gradient]
        return {"outputs": run(inputs, weights, False), "training": outputs, "gradients": gradients}
    return both(inputs, [weight.value for weight in model.trainable_variables])

for line in sys.stdin:
    folder = line.strip()
    try:
        model = keras.models.load_model(folder + "/elsewhere.keras")
        with np.load(folder + "/inputs.npz") as case:
            inputs = [ops.convert_to_tensor(case[name], dtype=model.inputs[0].dtype) for name in case.files]
        found = (answer_with_gradients if sys.argv[1] == "jax" else answer)(model, inputs)
        arrays = {f"{kind} {i}": ops.convert_to_numpy(y) for kind, ys in found.items() for i, y in enumerate(ys)}
        np.savez(folder + "/answer.npz", **arrays)
        names = {kind: [f"{kind} {i}" for i, _ in enumerate(ys)] for kind, ys in found.items()}
        print(json.dumps([folder, names]), flush=True)
    except Exception:
        print(json.dumps([folder, traceback.format_exc()]), flush=True)
"""


@cache
def elsewhere(backend, **environment):
    """A process with another backend or environment, which lives until the tests end and answers for any model.

    Returns:
        A function (model, inputs, folder) that asks and returns at once; what it returns waits for the answer:
        "outputs", those of "training", and under JAX the "gradients" of the sum of the latter times `_direction`, for
        inputs and trainable variables.
    """
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, "-c", _ANSWER, backend],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            # Compiling takes longer than running what it gives.
            "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
            **environment,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )

    @atexit.register
    def end():
        process.communicate()
        log.close()

    def ask(model, inputs, folder):
        model.save(folder / "elsewhere.keras")
        np.savez(folder / "inputs.npz", *map(_exact, inputs))
        print(folder, file=process.stdin, flush=True)
        return lambda: answered(folder)

    def answered(folder):
        asked = found = None
        while asked != str(folder):  # answers that nobody waited for come first
            line = process.stdout.readline()
            if not line:
                log.seek(0)
                raise AssertionError(log.read())
            asked, found = json.loads(line)
        assert isinstance(found, dict), found
        with np.load(folder / "answer.npz") as arrays:
            return {kind: [arrays[name] for name in names] for kind, names in found.items()}

    return ask


def _model_of(layer, shapes, dtype="float32"):
    inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], layer(_nested(inputs)))


def _inputs(shape, dtype):
    return [tf.cast(features(*one, seed=1 + index), dtype) for index, one in enumerate(shape)]


def _nested(inputs):
    return list(inputs) if len(inputs) > 1 else inputs[0]


def _exact(x):
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(x, "float64")))


def _direction(shape):
    return np.cos(np.arange(np.prod(shape))).reshape(shape).astype("float32")
