"""A trained network on photographs: whatever form they come in, whatever their size."""

import colorsys
import os
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_cacnet.arguments import require_count
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.reading import read_image, rgb
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.evaluation.prediction import ids, require_rgb_range, scores
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.segmentation import Segmentation
from keras_cacnet.models.interface import class_count, image_size, require_class_count
from keras_cacnet.models.presets import read_network

_ENCODED = bytes | bytearray | memoryview


class Segmenter:
    """A trained network that segments photographs.

    Call it with a photograph, or with a list of them. A photograph is a path, the bytes of a file, a Pillow image, or
    an array (H, W, 3) of RGB in 0..255; (H, W) is gray. All but arrays are turned upright by their EXIF orientation.
    Results are of the size of the photograph.

    A photograph of more pixels than `window` squared is seen through windows of that size, which overlap by a third and
    whose scores are averaged, so that memory does not grow with it: the network never sees more than `window` squared
    pixels at once, and beside that there are the photograph, its ids, and the scores of the rows under one row of
    windows, `window * width * classes` numbers of 4 bytes.

    Args:
        model: the folder of a training run (its best network) or of a preset, a `.keras` file, a handle such as
            `"hf://OWNER/MODEL"` (see `CaCNet.from_preset`), or a Keras model from images to logits.
        classes: the classes; by default those that the network knows. Without any they are numbered.
        protocol: how photographs are shown to the network; by default once, at the working size that it was trained
            with. A `crop_size` takes the place of `window`.
        window: the largest side of a square that the network sees at once, in pixels.

    Raises:
        FileNotFoundError, ValueError, ImportError: the network cannot be had, see `CaCNet.from_preset`, predicts
            another number of classes, or Keras runs on another backend than TensorFlow.

    Example:
        >>> import keras_cacnet as kc
        >>> network = kc.CaCNet(num_classes=2, backbone="resnet14_narrow", head_channels=16)
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> segmenter = kc.Segmenter(network, classes=classes)
        >>> result = segmenter(np.zeros((48, 64, 3), "uint8"))
        >>> result.ids.shape, sum(area.pixels for area in result.areas().values()), result.mask("sea").dtype
        ((48, 64), 3072, dtype('bool'))
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | keras.Model,
        *,
        classes: ClassTable | None = None,
        protocol: Protocol | None = None,
        window: int = 1024,
    ) -> None:
        require_tensorflow("Segmenter")
        self.model = read_network(model) if isinstance(model, str | os.PathLike) else model
        if not isinstance(self.model, keras.Model):
            raise ValueError(f"model must be a path, a handle or a Keras model, got {model!r}")
        self.classes = classes or getattr(self.model, "classes", None) or _numbered(class_count(self.model))
        require_class_count(self.model, len(self.classes))
        self.protocol = protocol or Protocol.of(self.model)
        self.window = require_count("window", window)

    def __call__(self, images: Any) -> Any:
        """Segment one photograph, or several.

        Args:
            images: a photograph, or a list, tuple or array (B, H, W, 3) of them.

        Returns:
            A `Segmentation`, or a list of them.

        Raises:
            ValueError: something that is no photograph or cannot be read; the message names it.
        """
        if isinstance(images, list | tuple):
            return [self._segmented(one, f"photograph {number}") for number, one in enumerate(images)]
        if not isinstance(images, str | os.PathLike | Image.Image | _ENCODED) and np.ndim(images) == 4:
            return self(list(np.asarray(images)))
        return self._segmented(images, "photograph")

    def _segmented(self, photograph: Any, name: str) -> Segmentation:
        name, image = _pixels(photograph, name)
        protocol = self._protocol_for(*image.shape[:2])
        try:
            found = ids(self.model, image, protocol)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return Segmentation(image, found, self.classes, name, partial(self._probabilities, image, protocol))

    def _protocol_for(self, height: int, width: int) -> Protocol:
        """The protocol, with windows where the network would see too much at once, or takes one size only."""
        if self.protocol.crop_size is not None:
            return self.protocol
        only = image_size(self.model)
        if only[0] is not None and only[0] == only[1]:
            return replace(self.protocol, crop_size=only[0])
        rows, columns = self.protocol.scaled_size(height, width, max(self.protocol.scales))
        return replace(self.protocol, crop_size=self.window) if rows * columns > self.window**2 else self.protocol

    def _probabilities(self, image: np.ndarray, protocol: Protocol) -> np.ndarray:
        found = scores(self.model, image, protocol)
        return found if protocol.fusion == "softmax_mean" else found / found.sum(axis=-1, keepdims=True)


def _pixels(photograph: Any, name: str) -> tuple[str, np.ndarray]:
    """The name and the pixels of a photograph, uint8 (H, W, 3)."""
    if isinstance(photograph, str | os.PathLike):
        return str(photograph), read_image(photograph)
    if isinstance(photograph, _ENCODED):
        return name, read_image(bytes(photograph), name)
    if isinstance(photograph, Image.Image):
        name = str(getattr(photograph, "filename", "") or name)
        return name, rgb(photograph, name)
    array = np.asarray(photograph)
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 1):
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=-1)
    real = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    if not real or array.ndim != 3 or array.shape[-1] not in (3, 4) or 0 in array.shape:
        raise ValueError(
            f"{name}: a photograph is a path, bytes, a Pillow image or an array (H, W, 3) of RGB in 0..255, got "
            f"{f'{array.dtype} {array.shape}' if real else type(photograph).__name__}"
        )
    array = array[..., :3]  # an alpha channel is dropped, as of files
    try:
        require_rgb_range(array)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return name, array if array.dtype == np.uint8 else np.rint(array).astype("uint8")


def _numbered(count: int) -> ClassTable:
    """Classes without names, in colours that differ."""
    # The golden ratio goes round the colours without coming near those it had.
    colors = [colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, 0.9) for index in range(count)]
    palette = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors]
    return ClassTable(tuple(f"class {index}" for index in range(count)), tuple(palette), tuple(range(count)))
