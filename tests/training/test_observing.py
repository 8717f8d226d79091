"""What a run leaves beside its checkpoints: counts by class as evaluation has them, TensorBoard's events, and times."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.datasets import open_dataset
from keras_cacnet.evaluation import Protocol, evaluate
from keras_cacnet.pipeline import evaluation_batches
from keras_cacnet.training.losses import SegmentationCrossentropy
from keras_cacnet.training.metrics import MeanIoU
from keras_cacnet.training.observing import Observations, Times, spread
from small_networks import small_network


@pytest.fixture(scope="module")
def data(write_coast, tmp_path_factory):
    return open_dataset(write_coast(tmp_path_factory.mktemp("data") / "coast"))


def events(folder):
    found = {}
    for path in folder.glob("events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found |= {(value.tag, event.step): value.tensor for value in event.summary.value}
    return found


def test_counts_pictures_and_scores_of_every_validated_epoch(data, tmp_path):
    networks = [small_network(2, seed=seed) for seed in (1, 2, 3)]
    source, metric = data.source("val"), MeanIoU(2)
    observations = Observations(tmp_path, metric, data.classes, spread(source), Protocol())
    reports = []
    for epoch, network in enumerate(networks):
        batches = evaluation_batches(source, data.classes)
        reports.append(evaluate(network, batches, data.classes, progress=False))
        metric.reset_state()
        for images, masks in batches:
            metric.update_state(masks, network(images))
        network.compile("sgd", SegmentationCrossentropy(), jit_compile=False)
        observations.set_model(network)
        observations.on_epoch_end(2 * epoch, {"loss": 1.0})  # an epoch without validation leaves nothing
        observations.on_epoch_end(2 * epoch + 1, {"loss": 1.0, "val_mean_iou": float(metric.result())})
    observations.on_train_end()
    left = json.loads((tmp_path / "validation.json").read_text())
    best = int(np.argmax([report.mean_iou for report in reports]))
    for name, index in (("last", 2), ("best", best)):
        assert left[name]["epoch"] == 2 * index + 1
        assert left[name]["confusion"] == reports[index].confusion.tolist()
    found = events(tmp_path / "tensorboard" / "classes")
    for index, report in enumerate(reports):
        for name, iou in zip(data.classes.names, report.iou, strict=True):
            np.testing.assert_allclose(tf.make_ndarray(found[f"IoU/{name}", 2 * index + 1]), iou, rtol=1e-6)
        _, _, picture = tf.make_ndarray(found["overlay/0", 2 * index + 1])
        assert tf.io.decode_png(picture).shape[-1] == 3
    assert {step for _, step in found} >= {1, 3, 5}
    assert not {0, 2, 4} & {step for tag, step in found if "IoU" in tag}


def test_times_are_rows_by_epoch(tmp_path, monkeypatch):
    clock = iter([10.0, 12.5, 20.0, 21.0, 30.0, 33.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    times = Times(tmp_path / "times.csv")
    for epoch in (0, 1, 1):  # epoch 1 is done again, as after a kill
        times.on_epoch_begin(epoch)
        times.on_epoch_end(epoch, {"loss": 1.0})
    rows = list(csv.DictReader((tmp_path / "times.csv").read_text().splitlines()))
    assert rows == [{"epoch": "0", "seconds": "2.5"}, {"epoch": "1", "seconds": "3.0"}]
