"""Holding an exported model against Keras, in a process that has no Keras."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.evaluation import WHOLE, scores
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.export.destination import TEMPORARY, one_line_errors
from keras_cacnet.export.exportable_models import require_types
from keras_cacnet.files import user_path

_RUNTIMES = {".tflite": ("ai_edge_litert", "ai-edge-litert"), ".onnx": ("onnxruntime", "onnxruntime")}
"""Of files by their suffix: the module that runs them, and its package."""

TOLERANCES = {"float32": (1e-4, 0.9999), "float16": (1.0, 0.999), "dynamic": (1.0, 0.99), "int8": (1.0, 0.99)}
"""By precision: the most that a probability may differ, and the least share of pixels of the same class."""


ALONE = "serve_class_ids/class_ids"
"""The answer of a SavedModel's second signature, as `run_without_keras` names it."""


@dataclass(frozen=True)
class Verification:
    """How far an export is from Keras.

    Args:
        largest_difference: between two probabilities, over all pixels and classes of all batches; None where the export
            gives none.
        equal_ids: share of the pixels whose class is the same, 0 to 1; of a SavedModel by both signatures. Pixels where
            two classes are as likely to the last digit may differ.
        shapes: the batches that were compared.
    """

    largest_difference: float | None
    equal_ids: float
    shapes: tuple[tuple[int, ...], ...]

    def within(self, precision: str) -> bool:
        """Tell whether the export keeps what is promised of its precision.

        Example:
            >>> found = Verification(0.002, 0.9995, ((1, 32, 32, 3),))
            >>> found.within("float16"), found.within("float32")
            (True, False)
        """
        most, least = TOLERANCES[precision]
        near = self.largest_difference is None or self.largest_difference <= most
        return near and self.equal_ids >= least


def verify(path: str | Path, model: keras.Model, images: Iterable[np.ndarray]) -> Verification:
    """Compare a SavedModel, a TFLite file or an ONNX file with the model it was made from.

    The export runs in a fresh Python process in which importing keras, tf_keras or keras_cacnet fails, for a file also
    tensorflow, so that only what is in the export can answer. Files are run image by image, by LiteRT and ONNX Runtime.
    Both sides run on the CPU: a GPU rounds differently.

    Args:
        path: what `saved_model`, `tflite` or `onnx` has written.
        model: the model in Keras.
        images: batches of RGB images, of any sizes.

    Shapes:
        - every batch: uint8 (B, H, W, 3)

    Returns:
        The largest difference and the share of equal classes.

    Raises:
        FileNotFoundError: there is no export at `path`.
        ValueError: no images, images that are not uint8 (B, H, W, 3), a model that gives no finite logits for them, or
            Keras on another backend than TensorFlow.
        ImportError: the package that runs such files, ai-edge-litert or onnxruntime, is not installed.
        RuntimeError: the export could not be run, or gives probabilities or class ids of another shape than the model;
            of what could not be run the message ends with the last line of what the process said, and a note has more.

    Example:
        >>> from keras_cacnet.export import saved_model
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> path = saved_model(model, Path(tempfile.mkdtemp()) / "1")
        >>> verify(path, model, [np.full((2, 5, 7, 3), 9, "uint8")]).largest_difference < 1e-5
        True
    """
    require_tensorflow("the comparison with an export")
    path = user_path(path)
    require_types(model, None)
    require_runtime(path)
    _require_export(path)
    batches = [np.asarray(batch) for batch in images]
    if not batches:
        raise ValueError("there are no images to compare on")
    for batch in batches:
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[-1] != 3 or 0 in batch.shape:
            raise ValueError(f"images must be uint8 (B, H, W, 3) and not empty, got {batch.dtype} {batch.shape}")
    served = _serve(path, batches)
    differences, equal, pixels = [], 0, 0
    for number, batch in enumerate(batches):
        expected = np.stack([_by_keras(model, image) for image in batch])
        probabilities = served.get(f"arr_{number}/probabilities")
        if probabilities is not None:
            if probabilities.shape != expected.shape:
                raise RuntimeError(f"{path} gives probabilities {probabilities.shape}, Keras {expected.shape}")
            # NaN must not pass for no difference, as it would through max().
            distance = np.abs(probabilities.astype("float64") - expected)
            differences.append(float("inf") if np.isnan(distance).any() else float(distance.max()))
        best = expected.argmax(axis=-1)
        ids = [served[name] for name in (f"arr_{number}/class_ids", f"arr_{number}/{ALONE}") if name in served]
        if any(one.shape != best.shape for one in ids):
            raise RuntimeError(f"{path} gives class ids {', '.join(str(one.shape) for one in ids)}, Keras {best.shape}")
        equal += int(np.all([one == best for one in ids], axis=0).sum())
        pixels += best.size
    return Verification(max(differences, default=None), equal / pixels, tuple(batch.shape for batch in batches))


def require_runtime(path: Path) -> None:
    """Refuse a file that `verify` could not run here; what is to be verified is asked this before it is made.

    Args:
        path: of the export, be it there or not.

    Raises:
        ImportError: the package that runs such files is not installed; the message names it.
    """
    module, package = _RUNTIMES.get(path.suffix, (None, None))
    if module is not None and not path.is_dir() and importlib.util.find_spec(module) is None:
        raise ImportError(f"{path} is run by {package}: pip install 'keras-cacnet[{path.suffix[1:]}]'")


def _by_keras(model: keras.Model, image: np.ndarray) -> np.ndarray:
    # On the CPU: a GPU rounds differently.
    with tf.device("CPU:0"):
        # An export takes images as they are sent; to bring them to a working size is the sender's.
        return scores(model, image, WHOLE)


def _require_export(path: Path) -> None:
    if path.suffix in _RUNTIMES and not path.is_dir():
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
    elif not (path / "saved_model.pb").is_file():
        raise FileNotFoundError(f"{path} is no SavedModel: it has no saved_model.pb")


def _serve(path: Path, batches: list[np.ndarray]) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        sent, received = Path(folder, "images.npz"), Path(folder, "results.npz")
        with one_line_errors(sent, TEMPORARY):
            np.savez(sent, *batches)
        process = subprocess.run(
            # -P keeps the script's folder off the import path.
            [sys.executable, "-P", Path(__file__).with_name("run_without_keras.py"), path, sent, received],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if process.returncode or not received.is_file():
            said = process.stderr.strip() or f"the process ended with status {process.returncode}"
            lines = said.splitlines()
            reason = next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception): ", line)), lines[-1])
            error = RuntimeError(f"{path} could not be run without Keras: {reason}")
            error.add_note(said[-2000:])
            raise error
        with np.load(received) as results:
            return dict(results)
