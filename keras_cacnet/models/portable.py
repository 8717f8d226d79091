"""A network that can be taken along: it knows its classes and its working size, and goes to presets and back."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import keras

from keras_cacnet.arguments import require_count

if TYPE_CHECKING:
    from keras_cacnet.datasets.classes import ClassTable


class PortableModel(keras.Model):
    """A functional model that knows what it was trained for, in every file, and goes into presets.

    Subclasses put `task` into their config, and hand it to `set_task` when built from it.
    """

    _classes: "ClassTable | None" = None
    _image_size: int | None = None

    @property
    def classes(self) -> "ClassTable | None":
        """The classes that the network was trained on, with their names and colours; None where it was never told."""
        return self._classes

    @classes.setter
    def classes(self, classes: "ClassTable | None") -> None:
        if classes is not None and len(classes) != self.num_classes:
            raise ValueError(
                f"{self.name} predicts {self.num_classes} classes, and the class table has {len(classes)}: give that "
                "of the data it was trained on"
            )
        self._classes = classes

    @property
    def image_size(self) -> int | None:
        """Working size: the long side, in pixels, that images were brought to in training; None for their own size."""
        return self._image_size

    @image_size.setter
    def image_size(self, size: int | None) -> None:
        self._image_size = None if size is None else require_count("image_size", size)

    @property
    def task(self) -> dict[str, Any]:
        """Classes and working size as JSON holds them, as far as they are known."""
        known = {} if self.classes is None else {"classes": self.classes.to_json()}
        return known if self.image_size is None else {**known, "image_size": self.image_size}

    def set_task(self, task: Mapping[str, Any]) -> None:
        """Take over what `task` gave."""
        if "classes" in task:
            # The data sets are not loaded where nothing needs them.
            from keras_cacnet.datasets.classes import ClassTable

            self.classes = ClassTable.from_json(task["classes"])
        self.image_size = task.get("image_size")

    def save_to_preset(self, preset_dir: str | os.PathLike[str], card: str | None = None) -> None:
        """Save the network as a preset, in KerasHub's layout.

        The folder holds `config.json` (the network, its classes and its working size), `model.weights.h5`,
        `task.json` (classes, input and output for other programs), `metadata.json` (versions, parameters) and
        `README.md`, the model card. It can be uploaded as it is by `kagglehub.model_upload` or
        `huggingface_hub.upload_folder`. The optimizer is left out.

        Args:
            preset_dir: the folder; files of an earlier preset there are replaced.
            card: the model card, Markdown; by default what the network itself knows.

        Raises:
            ValueError: a file is in the way.
            OSError: the folder cannot be written.

        Example:
            >>> import tempfile
            >>> import keras_cacnet as kc
            >>> model = kc.CaCNet(num_classes=5, backbone="resnet14_narrow", head_channels=16)
            >>> model.save_to_preset(folder := tempfile.mkdtemp())
            >>> sorted(os.listdir(folder))
            ['README.md', 'config.json', 'metadata.json', 'model.weights.h5', 'task.json']
            >>> kc.CaCNet.from_preset(folder, num_classes=12).num_classes
            kept the weights of 45 of 47 layers; new: decoder/classifier (5 -> 12 classes), ...
            12
        """
        from keras_cacnet.models.presets import write_preset

        write_preset(self, preset_dir, card)

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike[str],
        *,
        num_classes: int | None = None,
        load_weights: bool = True,
        **settings: Any,
    ) -> Self:
        """Load a network that somebody has trained.

        With another number of classes everything but the classifiers is kept, and a line says what was.

        Args:
            preset: a folder that `save_to_preset` wrote or that `keras-cacnet train` did (its best network), a
                `.keras` file, or a preset on a hub: `"kaggle://OWNER/MODEL/keras/VARIANT"` by kagglehub,
                `"hf://OWNER/MODEL"` by huggingface_hub.
            num_classes: number of classes, to train on with other ones; by default those of the preset.
            load_weights: False takes the settings only, and leaves the weights random.
            settings: other settings to change: `auxiliary_weight`, `dropout`, `loss_stride`, `recompute`, `name`,
                `synchronized`.

        Returns:
            The network, not compiled. What was frozen when it was saved is frozen.

        Raises:
            FileNotFoundError: there is no such preset, a file in it is missing, or a hub's client cannot get it.
            ValueError: the preset holds another kind of network, or does not fit together; the message names the file.
            ImportError: the hub's client is not installed; the message names it.
        """
        from keras_cacnet.models.adapting import adapted
        from keras_cacnet.models.presets import read_network

        network = read_network(preset, load_weights)
        if not isinstance(network, cls):
            head = getattr(network, "head", None)
            other = f"{type(network).__name__}{f' with the head {head}' if head else ''}"
            raise ValueError(f"{preset} holds a {other}, no {cls.__name__}: load it by {type(network).__name__}")
        changes = settings if num_classes is None else {**settings, "num_classes": num_classes}
        changes = {name: value for name, value in changes.items() if network.get_config().get(name) != value}
        if not changes:
            return network
        found = adapted(network, **changes)
        if load_weights and found.new:
            print(found.to_text())
        return found.network
