"""A SavedModel for TensorFlow Serving, KServe and C++."""

import json
import numbers
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.export.destination import EXTRA, require_folder_place, whole_folder
from keras_cacnet.export.encoded_images import encoded_signature
from keras_cacnet.export.exportable_models import require_any_size, require_logits, require_size, require_types
from keras_cacnet.export.signatures import (
    EXPECTED,
    Serve,
    image_signature,
    multiscale_signature,
    require_images,
    require_whole_images,
    shared_network,
)
from keras_cacnet.export.warmup import write_warmup
from keras_cacnet.files import user_path

CLASSES = Path(EXTRA, "classes.json")
"""Where an export has its class names and colours."""

MAX_PIXELS = 4096 * 4096
"""The most pixels of a request with image files, unless an export says otherwise."""


def saved_model(
    model: keras.Model,
    path: str | Path,
    classes: ClassTable | None = None,
    *,
    overwrite: bool = False,
    multiscale: Protocol | None = None,
    max_pixels: int = MAX_PIXELS,
    warmup_size: tuple[int, int] | None = (256, 256),
) -> Path:
    """Export a model as a SavedModel that takes photographs as they are.

    - `serving_default`: `images`, uint8, to `class_ids` and `probabilities`
    - `serve_class_ids`: `images`, uint8, to `class_ids` only, without ever holding the logits of all pixels
    - `serve_float`: `images`, float32 in 0..255, to the same
    - `serve_encoded`: `image_bytes`, JPEG or PNG files of any sizes, to `class_ids` and `sizes`
    - `serve_multiscale`: as `serving_default`; written where `multiscale` is given

    Normalisation is in the graph, so there is nothing to prepare; class indices and probabilities belong to the
    classes in the order of the table, which is written to `assets.extra/classes.json`. Only the variables that
    prediction reads are saved: neither the auxiliary head nor the optimizer is among them. docs/serving.md has
    requests.

    Batch norms are folded into the convolutions before them, which takes less time; a trained network gives the same
    probabilities to 1e-5.

    The export is written beside `path` under a temporary name and renamed when it is complete, so what stands
    at `path` is never half an export.

    Args:
        model: takes RGB in 0..255 of any size and gives logits of the size of its input.
        path: folder of the SavedModel; for TensorFlow Serving a number inside the model's folder: `cacnet/1`.
        classes: names, colours and file ids of the classes.
        overwrite: replace an export that stands at `path`.
        multiscale: scales, flip and fusion of `serve_multiscale`; no windows.
        max_pixels: the most pixels of a request to `serve_encoded`: the number of its images times their largest
            height times their largest width. What has more is refused before it is decoded.
        warmup_size: height and width of the image that TensorFlow Serving shows every signature before it takes
            requests, from `assets.extra/tf_serving_warmup_requests`; None writes none. `serve_encoded` is shown one
            within `max_pixels`.

    Shapes:
        - images: (B, H, W, 3); any B, H and W
        - image_bytes: string (B,)
        - class_ids: int32 (B, H, W), the index of the class with the largest logit; int32 is the type that
          every client of TensorFlow can read. In `serve_encoded` H and W are the largest of the batch, and 255 stands
          outside of an image
        - probabilities: float32 (B, H, W, classes), the softmax of the logits
        - sizes: int32 (B, 2), height and width of every image, turned upright by its EXIF orientation

    Returns:
        The folder.

    Raises:
        ValueError: `path` is a file, or a folder that is not empty without `overwrite` (or is no SavedModel with
            it); the model does not take (B, H, W, 3) of any size, or gives something else than logits of the
            size of its input; its number of classes is not that of the table; `multiscale` has windows;
            `max_pixels` or `warmup_size` is not positive; Keras runs on another backend than TensorFlow.
        OSError: nothing can be written at `path`, which is found before the model is converted, or the disk is full.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> path = saved_model(model, Path(tempfile.mkdtemp()) / "cacnet" / "1")
        >>> loaded = tf.saved_model.load(path)  # its functions work as long as it is held
        >>> result = loaded.signatures["serving_default"](images=tf.zeros((1, 4, 6, 3), tf.uint8))
        >>> result["class_ids"].shape, result["probabilities"].shape
        (TensorShape([1, 4, 6]), TensorShape([1, 4, 6, 2]))
    """
    require_tensorflow("the export of a SavedModel")
    path = user_path(path)
    require_types(model, classes)
    if isinstance(max_pixels, bool) or not isinstance(max_pixels, numbers.Integral) or not 1 <= max_pixels < 2**63:
        raise ValueError(f"max_pixels (--max-pixels) must be a whole number, at least 1, got {max_pixels!r}")
    if warmup_size is not None:
        warmup_size = require_size(warmup_size, "warmup_size (None writes no requests)")
    if multiscale is not None:
        require_whole_images(multiscale)
    require_folder_place(path, overwrite)
    require_any_size(model)
    count = require_logits(model, classes)
    endpoints = _endpoints(model, count, multiscale, int(max_pixels))
    with whole_folder(path) as folder:
        archive = keras.export.ExportArchive()
        for name, (serve, spec) in endpoints.items():
            # Not `track(model)`: it would add every variable of the model to those that the functions read.
            archive.add_endpoint(name, tf.autograph.experimental.do_not_convert(serve), [spec])
        archive.write_out(str(folder), verbose=False)
        if classes is not None:
            (folder / CLASSES).parent.mkdir(exist_ok=True)
            (folder / CLASSES).write_text(json.dumps(classes.to_json(), indent=2) + "\n", encoding="utf-8")
        if warmup_size is not None:
            specs = {name: spec for name, (_, spec) in endpoints.items()}
            write_warmup(folder, path.absolute().parent.name, specs, warmup_size, int(max_pixels))
    return path


def _endpoints(
    model: keras.Model, classes: int, multiscale: Protocol | None, max_pixels: int
) -> dict[str, tuple[Serve, Any]]:
    network = shared_network(model, fold=True)
    numbers = _of_checked_images(image_signature(network))
    ids_only = _of_checked_images(image_signature(network, probabilities=False))
    endpoints: dict[str, tuple[Serve, Any]] = {
        "serving_default": (numbers, tf.TensorSpec(EXPECTED, tf.uint8, name="images")),
        "serve_class_ids": (ids_only, tf.TensorSpec(EXPECTED, tf.uint8, name="images")),
        "serve_float": (numbers, tf.TensorSpec(EXPECTED, tf.float32, name="images")),
        # TensorFlow Serving takes {"b64": ...} for inputs of strings whose names end in _bytes.
        "serve_encoded": (
            encoded_signature(network, max_pixels),
            tf.TensorSpec((None,), tf.string, name="image_bytes"),
        ),
    }
    if multiscale is not None:
        fused = _of_checked_images(multiscale_signature(network, classes, multiscale))
        endpoints["serve_multiscale"] = fused, tf.TensorSpec(EXPECTED, tf.uint8, name="images")
    return endpoints


def _of_checked_images(serve: Serve) -> Serve:
    def checked(images: Any) -> dict[str, Any]:
        return serve(require_images(images))

    return checked
