"""What is saved comes back as it was, in every format that Keras offers, or is refused with the format that works."""

import copy
import pickle

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.models import SegmentationNetwork
from keras_cacnet.models.heads import CaCHead, EncHead
from keras_cacnet.models.saving import layers_by_path, seed_states, trainable_flags

CLASSES = 3


def through_keras_file(network, folder):
    network.save(folder / "network.keras")
    return keras.models.load_model(folder / "network.keras")


def through_unzipped_folder(network, folder):
    network.save(folder / "unzipped", zipped=False)
    return keras.models.load_model(folder / "unzipped")


def through_weights(network, folder):
    """A new network of the same configuration, and the weights from a file."""
    network.save_weights(folder / "network.weights.h5")
    restored = type(network).from_config(network.get_config())
    restored.load_weights(folder / "network.weights.h5")
    return restored


def with_weights_of(restored, network):
    restored.set_weights(network.get_weights())
    return restored


WAYS = {
    "keras": through_keras_file,
    "unzipped": through_unzipped_folder,
    "weights": through_weights,
    "json": lambda network, _: with_weights_of(keras.models.model_from_json(network.to_json()), network),
    "config": lambda network, _: with_weights_of(type(network).from_config(network.get_config()), network),
    "deepcopy": lambda network, _: copy.deepcopy(network),
    "pickle": lambda network, _: pickle.loads(pickle.dumps(network)),
}


@pytest.fixture
def network_of(small_backbone):
    def make(head=None, **settings):
        keras.utils.set_random_seed(1)
        head = head or EncHead(8, 4)
        return SegmentationNetwork(CLASSES, head, **{"backbone": small_backbone, **settings})

    return make


def freeze_one_layer(network):
    network.decoder.get_layer("reduction_conv").trainable = False


def freeze_inside_layers(network):
    """A layer of a layer, and a layer that trains in a part that is frozen."""
    network.decoder.get_layer("encoding").conv.trainable = False
    network.auxiliary.trainable = False
    network.auxiliary.get_layer("auxiliary_norm").trainable = True


FREEZE = {
    "nothing": lambda network: None,
    "backbone": lambda network: setattr(network.backbone, "trainable", False),
    "part of the backbone": lambda network: setattr(network.backbone.get_layer("p4"), "trainable", False),
    "decoder": lambda network: setattr(network.decoder, "trainable", False),
    "auxiliary": lambda network: setattr(network.auxiliary, "trainable", False),
    "presence": lambda network: setattr(network.presence, "trainable", False),
    "network": lambda network: setattr(network, "trainable", False),
    "one layer": freeze_one_layer,
    "inside layers": freeze_inside_layers,
}


def flags(network):
    return {path: layer.trainable for path, layer in layers_by_path(network)}


def images(seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (4, 32, 40, 3)).astype("float32")


def masks(seed=0):
    return np.random.default_rng(seed).integers(0, CLASSES, (4, 32, 40))


@pytest.mark.parametrize("frozen", FREEZE)
def test_what_is_frozen_stays_frozen(network_of, tmp_path, frozen):
    network = network_of()
    FREEZE[frozen](network)
    wanted, trains = flags(network), [weight.path for weight in network.trainable_weights]
    for way, through in WAYS.items():
        restored = through(network, tmp_path)
        assert type(restored) is SegmentationNetwork, way
        assert flags(restored) == wanted, way
        assert [weight.path for weight in restored.trainable_weights] == trains, way
        assert np.array_equal(restored(images()), network(images())), way
        assert restored.get_config() == network.get_config(), way


@pytest.mark.parametrize(
    "frozen",
    [
        "decoder",
        pytest.param("auxiliary", marks=pytest.mark.slow),
        pytest.param("one layer", marks=pytest.mark.slow),
        "inside layers",
    ],
)
def test_a_loaded_network_goes_on_as_the_saved_one(network_of, tmp_path, frozen):
    """With the optimizer's state, which Keras drops where it has another number of variables."""
    network = network_of()
    FREEZE[frozen](network)
    network.compile(kc.optimizers.SGD(0.05), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    network.fit(images(), masks(), verbose=0)
    restored = through_keras_file(network, tmp_path)
    assert [state.path for state in restored.optimizer.variables] == [
        state.path for state in network.optimizer.variables
    ]
    for one in (network, restored):
        one.fit(images(1), masks(1), batch_size=4, epochs=2, shuffle=False, verbose=0)
    for weight, again in zip(network.variables, restored.variables, strict=True):
        # The same steps from the same state, dropout masks too; float32 sums of several threads in another order.
        assert np.allclose(weight, again, rtol=1e-5, atol=1e-6), weight.path


def test_a_step_without_the_saved_momenta_is_another(network_of, tmp_path):
    """Negative control of the test above."""
    network = network_of()
    network.compile(kc.optimizers.SGD(0.05), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    network.fit(images(), masks(), verbose=0)
    restored = through_keras_file(network, tmp_path)
    restored.compile(kc.optimizers.SGD(0.05), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    for one in (network, restored):
        one.fit(images(1), masks(1), batch_size=4, shuffle=False, verbose=0)
    kernels = [one.decoder.get_layer("classifier").kernel for one in (network, restored)]
    assert not np.allclose(*kernels, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("auto_scale_loss", [True, False])
def test_float16_keeps_its_scaled_loss_and_its_state(network_of, tmp_path, auto_scale_loss):
    """A network for half precision says so to Keras, whose `compile` then scales the loss."""
    network = network_of(dtype="mixed_float16")
    assert network.dtype_policy.name == "mixed_float16"
    network.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        kc.losses.SegmentationCrossentropy(),
        jit_compile=False,
        auto_scale_loss=auto_scale_loss,
    )
    assert isinstance(network.optimizer, keras.optimizers.LossScaleOptimizer) == auto_scale_loss
    network.fit(images(), masks(), verbose=0)
    restored = through_keras_file(network, tmp_path)
    assert type(restored.optimizer) is type(network.optimizer)
    for state, again in zip(network.optimizer.variables, restored.optimizer.variables, strict=True):
        assert np.array_equal(state, again), state.path


@pytest.mark.parametrize(("saved", "loaded"), [(0.0, 0.1), (0.1, 0.0), (0.1, 0.1)])
def test_weights_fit_whatever_the_dropout(network_of, tmp_path, saved, loaded):
    network, other = network_of(dropout=saved), network_of(dropout=loaded)
    network.decoder.get_layer("classifier").kernel.assign_add(np.ones((1, 1, 8, CLASSES)))
    network.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    assert np.array_equal(other(images()), network(images()))
    network.save(tmp_path / "a.keras")
    fresh = network_of(dropout=loaded)
    fresh.load_weights(tmp_path / "a.keras")
    assert np.array_equal(fresh(images()), network(images()))


def test_a_backbones_dropout_goes_on_too(network_of, tmp_path):
    image = x = keras.Input((None, None, 3))
    levels = {}
    for level, stride in (("P4", 16), ("P5", 2)):
        x = keras.layers.Conv2D(8, 3, strides=stride, padding="same", name=level.lower())(x)
        x = levels[level] = keras.layers.SpatialDropout2D(0.5, name=f"{level.lower()}_dropout")(x)
    network = network_of(backbone=keras.Model(image, levels), output_stride=32)
    assert {"backbone.p5_dropout", "decoder.classifier_dropout"} <= set(seed_states(network))
    network(images(), training=True)
    restored = through_keras_file(network, tmp_path)
    assert np.array_equal(restored(images(), training=True), network(images(), training=True))


def test_inside_another_model(network_of, tmp_path):
    network = network_of(CaCHead(8))
    freeze_one_layer(network)
    network.backbone.trainable = False
    inputs = keras.Input((None, None, 3))
    outer = keras.Model(inputs, keras.layers.Softmax()(network(inputs)))
    network.decoder.get_layer("head_1_conv").trainable = False
    wanted = flags(outer)
    for path in (tmp_path / "outer.keras", tmp_path / "outer"):
        outer.save(path, zipped=path.suffix == ".keras")
        restored = keras.models.load_model(path)
        assert flags(restored) == wanted
        assert len(restored.trainable_weights) == len(outer.trainable_weights)
        assert np.array_equal(restored(images()), outer(images()))


def test_inside_another_model_it_trains_by_that_models_loss(network_of):
    """Its own losses have no part in it, and what it hands on is the logits."""
    network = network_of(CaCHead(8), dropout=0.0)
    inputs = keras.Input((None, None, 3))
    outer = keras.Model(inputs, keras.layers.Softmax()(network(inputs)))
    outer.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
    logits = network(images(), training=True)
    assert logits.shape == (4, 32, 40, CLASSES)
    wanted = float(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(masks(), logits))
    with pytest.warns(UserWarning, match="Gradients do not exist for variables .*auxiliary"):
        # A mean of float32 logarithms, behind another softmax.
        assert outer.train_on_batch(images(), masks()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_hdf5_files_of_whole_models_are_refused(network_of, tmp_path, suffix):
    network = network_of(CaCHead(8))
    network.compile(kc.optimizers.SGD(0.1), kc.losses.SegmentationCrossentropy())
    network.optimizer.build(network.trainable_variables)  # as `fit` would, or there is no state to save
    path = tmp_path / f"network{suffix}"
    with pytest.raises(ValueError, match=rf"network{suffix}: HDF5 .*as NAME\.keras.*NAME\.weights\.h5"):
        network.save(path)
    assert not path.exists()
    with pytest.raises(ValueError, match=r"as NAME\.keras"):
        keras.saving.save_model(network, path)
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"as NAME\.keras"):
        keras.Model(inputs, network(inputs)).save(path)
    # Keras' way to such a file takes the optimizer out of what is saved later.
    assert isinstance(through_keras_file(network, tmp_path).optimizer, kc.optimizers.SGD)


def test_clone_model_is_refused_with_what_copies(network_of):
    network = network_of(CaCHead(8))
    with pytest.raises(ValueError, match=r"clone_model cannot clone SegmentationNetwork.*copy\.deepcopy\(model\)"):
        keras.models.clone_model(network)
    graph = keras.models.clone_model(keras.Model(network.inputs, network.outputs))
    assert len(graph.weights) == len(network.weights) - len(network.auxiliary.weights)


def test_keras_quantisation_is_refused(network_of):
    network = network_of()
    with pytest.raises(ValueError, match=r"kc\.export\.tflite"):
        network.quantize("int8")


def test_trainable_flags_are_those_that_differ():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="one"), keras.layers.Dense(2, name="two")])
    model = keras.Sequential([keras.Input((2,)), inner])
    assert trainable_flags(model) == {}
    inner.trainable = False
    inner.get_layer("two").trainable = True
    assert trainable_flags(model) == {inner.name: False, f"{inner.name}/two": True}
