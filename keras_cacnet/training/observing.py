"""What a run leaves beside its checkpoints while it goes: counts by class, pictures for TensorBoard, and times."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.reading import read_image
from keras_cacnet.datasets.source import Example, Source
from keras_cacnet.evaluation.prediction import ids
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.report import Report
from keras_cacnet.files import write_json
from keras_cacnet.training.logs import Log
from keras_cacnet.training.metrics import MeanIoU
from keras_cacnet.training.run import VALIDATION_FILE
from keras_cacnet.visualization import overlay

_PICTURES = 3


class Observations(keras.callbacks.Callback):
    """Keeps what validation has counted, and shows it to TensorBoard: per-class IoU, and overlays of some images.

    `validation.json` has the confusion matrix of the last epoch that was scored, and of the best one.
    `tensorboard/classes/` has the IoU of every class, and the overlays.

    Args:
        folder: of the run.
        metric: what counts the validation images; read by all processes of a run, whose sum it is.
        classes: the classes.
        examples: the images of the overlays, see `spread`.
        protocol: how they are shown to the network.
        chief: whether this process writes.
    """

    def __init__(
        self,
        folder: Path,
        metric: MeanIoU,
        classes: ClassTable,
        examples: Sequence[Example],
        protocol: Protocol,
        chief: bool = True,
    ) -> None:
        super().__init__()
        self.path = folder / VALIDATION_FILE
        self.metric = metric
        self.classes = classes
        self.examples = examples
        self.protocol = protocol
        self.chief = chief
        self._images: list[np.ndarray] = []
        self._writer = tf.summary.create_file_writer(str(folder / "tensorboard" / "classes")) if chief else None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if f"val_{self.metric.name}" not in (logs or {}):
            return
        confusion = keras.ops.convert_to_numpy(self.metric.confusion).astype("int64")
        if self._writer is None:
            return
        report = Report(confusion, self.classes.names)
        found = {"epoch": epoch, "mean_iou": report.to_json()["mean_iou"], "confusion": confusion.tolist()}
        kept = json.loads(self.path.read_text()) if self.path.exists() else {"best": found}
        better = (found["mean_iou"] or 0) > (kept["best"]["mean_iou"] or 0)
        write_json(self.path, {"last": found, "best": found if better else kept["best"]})
        self._images = self._images or [read_image(one.image, one.image_origin) for one in self.examples]
        with self._writer.as_default(step=epoch):
            for name, iou in zip(self.classes.names, report.iou, strict=True):
                if not np.isnan(iou):
                    tf.summary.scalar(f"IoU/{name}", iou)
            for example, image in zip(self.examples, self._images, strict=True):
                shown = overlay(image, ids(self.model, image, self.protocol), self.classes)
                tf.summary.image(f"overlay/{example.name}", shown[None])
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._writer is not None:
            self._writer.close()


class Times(Log):
    """Writes how many seconds every epoch took, its validation included: `times.csv`, beside the log of the results."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, {"seconds": round(time.perf_counter() - self._start, 3)})


def spread(source: Source, count: int = _PICTURES) -> list[Example]:
    """Take examples that lie evenly over a source.

    Example:
        >>> spread("abcdefgh", 3)
        ['a', 'd', 'h']
    """
    count = min(count, len(source))
    return [source[int(place)] for place in np.linspace(0, len(source) - 1, count).astype(int)]
