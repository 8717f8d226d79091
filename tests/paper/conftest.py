"""Data that no file holds, and a training that takes no time."""

import json

import numpy as np
import pytest

from keras_cacnet.datasets import ClassTable
from keras_cacnet.evaluation import Report
from keras_cacnet.paper import Runs, ablation_runs
from keras_cacnet.training import Recipe

NAMES = ("sky", "sea")


class Coast:
    """A data set of numbers instead of images."""

    name = "beaches/coast"
    classes = ClassTable(NAMES, ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
    splits = ("train", "val")

    def source(self, split):
        if split not in self.splits:
            raise ValueError(f"coast has no split {split!r}; it has train, val.")
        return range({"train": 8, "val": 2}[split])


class Bench:
    """Counts what is trained and scored; `scores` are hits in 1000 pixels by recipe and protocol."""

    def __init__(self, folder):
        self.runs = Runs(folder, Coast(), verbose=0)
        self.trained, self.evaluated, self.resumed, self.started_from = [], [], [], []
        self.scores = lambda recipe, protocol: 500
        self.fail = lambda recipe: None
        self.contents = {"train": "1a", "val": "2b"}
        self.read = []

    def fingerprint(self, dataset, split):
        self.read.append(split)
        return self.contents[split]

    def train(self, job, strategy, verbose):
        assert job.resume
        self.trained.append(job.recipe)
        self.started_from.append(job.start_from and job.start_from.name)
        self.resumed.append((job.output / "config.json").exists())
        job.output.mkdir(parents=True, exist_ok=True)
        # As a run that validates nothing: it has no digest of what is scored.
        record = {"recipe": job.recipe.to_json(), "images": {"train": 8}, "digests": {"train": self.contents["train"]}}
        (job.output / "classes.json").write_text(json.dumps(self.runs.dataset.classes.to_json()))
        (job.output / "config.json").write_text(json.dumps(record))
        self.fail(job.recipe)
        return job.recipe

    def evaluate(self, model, batches, classes, progress, count, protocol):
        self.evaluated.append((model, protocol))
        hits = self.scores(model, protocol)
        # Of class 0 only, so pixel accuracy is hits / 1000 and so is its IoU; class 1 is only predicted, IoU 0.
        return Report(np.array([[hits, 1000 - hits], [0, 0]]), NAMES, images=2)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    made = Bench(tmp_path / "runs")
    monkeypatch.setattr(ablation_runs.gc, "collect", lambda: None)  # there are no networks to let go of
    monkeypatch.setattr(ablation_runs, "train", made.train)
    monkeypatch.setattr(ablation_runs, "fingerprint", made.fingerprint)
    monkeypatch.setattr(ablation_runs, "evaluate", made.evaluate)
    monkeypatch.setattr(ablation_runs, "evaluation_batches", lambda source, classes: source)
    return made


@pytest.fixture
def base():
    return Recipe(backbone="resnet14_narrow", head_channels=16, crop_size=64, batch_size=4, epochs=3)
