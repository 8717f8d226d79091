"""What a saved network comes back with beside its weights: what is frozen, and where its dropouts are."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import keras

LEGACY_SUFFIXES = (".h5", ".hdf5")


class SavableModel(keras.Model):
    """A functional model that comes back from a file as it was saved, or says which format would keep it.

    Subclasses put `trainable_flags` into their config, and hand them to `set_trainable_flags` when built from it.
    """

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Save the whole network as NAME.keras, as `keras.Model.save` does.

        Raises:
            ValueError: an HDF5 file, which could not be loaded.
        """
        require_keras_format(filepath)
        super().save(filepath, *args, **kwargs)

    def save_own_variables(self, store: Any) -> None:
        """Save the random state of every dropout, so that a resumed run draws the same masks."""
        for name, state in seed_states(self).items():
            store[name] = state

    def load_own_variables(self, store: Any) -> None:
        """Take over the random states that are there: weights fit whatever `dropout` they were trained with."""
        for name, state in seed_states(self).items():
            if name in store.keys():  # noqa: SIM118, an HDF5 store has no `in`
                state.assign(store[name])

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Refuse Keras' quantisation, which would save what cannot be loaded.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "Keras quantises dense layers only and could not load the saved network again: quantise a network when it "
            "is exported, by kc.export.tflite(model, path, precision='int8')"
        )

    def _run_through_graph(self, *args: Any, **kwargs: Any) -> Any:
        # Once built, only keras.models.clone_model gives a call_fn; it would make a plain model without these losses.
        if self.built and "call_fn" in kwargs:
            raise ValueError(
                f"keras.models.clone_model cannot clone {type(self).__name__}, whose training needs more than its "
                "graph: take copy.deepcopy(model), or type(model).from_config(model.get_config()) for new weights; "
                "keras.Model(model.inputs, model.outputs) can be cloned"
            )
        return super()._run_through_graph(*args, **kwargs)


def layers_by_path(layer: keras.layers.Layer, path: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """List a layer and all layers in it, each before those in it.

    Args:
        layer: where to begin; a model is a layer.
        path: its path.

    Yields:
        The names of the layers on the way to a layer, joined by "/", and the layer.

    Example:
        >>> image = keras.Input((2,), name="image")
        >>> inner = keras.Model(image, keras.layers.Dense(2, name="dense")(image), name="inner")
        >>> [path for path, _ in layers_by_path(keras.Sequential([inner]))]
        ['', 'inner', 'inner/image', 'inner/dense']
    """
    yield path, layer
    for part in layer._flatten_layers(include_self=False, recursive=False):
        yield from layers_by_path(part, f"{path}/{part.name}" if path else part.name)


def trainable_flags(model: keras.Model) -> dict[str, bool]:
    """Sum up the flags `trainable` of a model and of all layers in it, in short.

    Returns:
        The flag of every layer whose flag is not that of the layer it is in, by path; of the model, by "", where it
        is frozen.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="dense")])
        >>> model.get_layer("dense").trainable = False
        >>> trainable_flags(model)
        {'dense': False}
    """
    flags: dict[str, bool] = {}
    found: dict[str, bool] = {}
    for path, layer in layers_by_path(model):
        found[path] = layer.trainable
        around = found[path.rpartition("/")[0]] if path else True
        if layer.trainable != around:
            flags[path] = layer.trainable
    return flags


def set_trainable_flags(model: keras.Model, flags: Mapping[str, bool]) -> None:
    """Freeze what was frozen where `trainable_flags` was called; the model is not frozen yet.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="dense")])
        >>> set_trainable_flags(model, {"": False, "dense": True})
        >>> model.trainable, model.get_layer("dense").trainable
        (False, True)
    """
    for path, layer in layers_by_path(model):
        # Keras hands a flag down to all layers inside, whose own come later here.
        if path in flags:
            layer.trainable = flags[path]


def seed_states(model: keras.Model) -> dict[str, Any]:
    """Find the random states of a model's dropouts, by path; Keras saves them nowhere."""
    generators = ((path, getattr(layer, "seed_generator", None)) for path, layer in layers_by_path(model))
    return {path.replace("/", "."): generator.state for path, generator in generators if generator is not None}


def require_keras_format(path: Any) -> None:
    """Refuse the format of a whole model from before Keras 3, which cannot hold a network.

    Raises:
        ValueError: the path ends in one of `LEGACY_SUFFIXES`.

    Example:
        >>> require_keras_format("network.keras")
    """
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    if name.endswith(LEGACY_SUFFIXES):
        raise ValueError(
            f"{name}: HDF5 files of a whole model, a format from before Keras 3, cannot hold this network; save it as "
            "NAME.keras, or only its weights by save_weights as NAME.weights.h5"
        )


def require_current_format(config: Mapping[str, Any]) -> None:
    """Refuse what `require_keras_format` refuses where Keras does not say the path: by the form of a part's config.

    Args:
        config: what Keras serialised of a functional model.

    Raises:
        ValueError: it is of the form of HDF5 files.
    """
    if any("module" not in layer for layer in config["config"]["layers"]):
        require_keras_format("NAME.h5")
