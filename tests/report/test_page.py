"""A run's page: one file that needs nothing else, whose figures are those of the library's own evaluation."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.datasets import open_dataset, read_example
from keras_cacnet.evaluation import evaluate, ids
from keras_cacnet.files import write_json
from keras_cacnet.pipeline import evaluation_batches
from keras_cacnet.report import find, write_report
from keras_cacnet.training import Recipe, Run
from small_networks import small_network

RECIPE = Recipe(crop_size=32, batch_size=2, epochs=2)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.source = [], "", path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += f"{data} "


@pytest.fixture(scope="module")
def place(write_coast, tmp_path_factory):
    """Data with four images to score, and a run on it as training leaves it, with a name that is no HTML."""
    root = tmp_path_factory.mktemp("report")
    data = write_coast(root / "coast")
    for kind in ("images", "labels"):
        for name in ("0", "1"):
            (data / kind / "val" / f"{name}x.png").write_bytes((data / kind / "train" / f"{name}.png").read_bytes())
    for number, path in enumerate(sorted((data / "labels" / "val").iterdir())):
        rows = np.arange(40)[:, None] >= 8 * (number + 1)
        Image.fromarray(np.broadcast_to(rows, (40, 44)).astype("uint8")).save(path)
    (data / "classes.txt").write_text("0 <sky>&co 90 160 220\n1 sea 20 60 140\n2 Void 0 0 0\n")
    dataset = open_dataset(data)
    (run := root / "<run>").mkdir()
    write_json(run / "classes.json", dataset.classes.to_json())
    config = {"recipe_name": None, "data": str(data), "start_from": None, "images": {"train": 4, "val": 4}}
    config |= {"recipe": RECIPE.to_json(), "trained_on": [f"{data}/train"], "steps_per_epoch": 2, "command": ["train"]}
    write_json(run / "config.json", {**config, "versions": {"keras": "3"}, "hardware": {"processors": 2}})
    small_network(2, seed=2).save(run / "best.keras")
    (run / "log.csv").write_text("epoch,loss,val_mean_iou\n0,1.5,0.25\n1,1.25,0.5\n")
    (run / "times.csv").write_text("epoch,seconds\n0,30.0\n1,10.0\n")
    write_json(run / "validation.json", {"best": {"epoch": 1, "confusion": [[30, 10], [20, 40]]}})
    return root


@pytest.fixture(scope="module")
def dataset(place):
    return open_dataset(place / "coast")


@pytest.fixture(scope="module")
def page(place, dataset):
    return Page(write_report(place / "<run>", dataset))


def test_masks_are_read_as_the_data_writes_them(place, page, tmp_path):
    """Other ids, and colours with one that is void: the scores are those of the same masks in the run's own ids."""
    shutil.copytree(place / "coast", data := tmp_path / "coast")
    colors = np.array([[90, 160, 220], [20, 60, 140], [1, 2, 3]], "uint8")
    for path in (data / "labels").glob("*/*.png"):
        with Image.open(path) as mask:
            painted = Image.fromarray(colors[np.asarray(mask)])
        painted.save(path)
    (data / "classes.txt").write_text("5 <sky>&co 90 160 220\n7 sea 20 60 140\n9 Void 1 2 3\n")
    found = [find(Run(place / "<run>"), open_dataset(folder)).scores for folder in (place / "coast", data)]
    assert found[0].confusion.tolist() == found[1].confusion.tolist()


def test_the_page_needs_nothing_but_itself(page):
    assert page.source.startswith("<!doctype html>")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", page.source)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:image/", "#")), (tag, value)
    assert "<sky>" not in page.source
    assert "&lt;sky&gt;&amp;co" in page.source
    assert "<title>&lt;run&gt;</title>" in page.source


def test_every_picture_can_be_decoded(page):
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    # Two best and two worst of four, with mask and prediction; six augmented crops with their masks.
    assert len(pictures) == 4 * 3 + 6 * 2
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
            image.load()
            assert max(image.size) == (44 if image.size[0] > 32 else 32)


def test_scores_are_those_of_evaluation(place, dataset, page):
    found = find(Run(place / "<run>"), dataset)
    network = Run(place / "<run>").load_model()
    batches = evaluation_batches(dataset.source("val"), dataset.classes)
    report = evaluate(network, batches, dataset.classes, progress=False, boundary=True)
    np.testing.assert_array_equal(found.scores.confusion, report.confusion)
    np.testing.assert_array_equal(found.scores.boundaries, report.boundaries)
    for values in report.measures.values():
        for value in values:
            assert f"<span>{'-' if np.isnan(value) else f'{100 * value:.1f}'}</span>" in page.source
    for row, shares in zip(
        report.confusion, report.confusion / report.confusion.sum(axis=1, keepdims=True), strict=True
    ):
        for count, share in zip(row, shares, strict=True):
            assert f">{count:,}</td>" in page.source
            assert f">{100 * share:.0f}</td>" in page.source
    for split, counts in found.frequencies.items():
        masks = [read_example(example, dataset.classes)[1] for example in dataset.source(split)]
        expected = [sum((mask == index).sum() for mask in masks) for index in range(2)]
        np.testing.assert_array_equal(counts, expected)
    assert "40.0 s" in page.text
    assert "0.2, validation included" in page.text  # 8 images in 40 s


def test_the_best_and_the_worst_images_are_that(place, dataset):
    run = Run(place / "<run>")
    found, network = find(run, dataset), run.load_model()
    scores = {}
    for example in dataset.source("val"):
        image, truth = read_example(example, dataset.classes)
        guess = ids(network, image)
        unions = [((truth == c) | (guess == c)).sum() for c in (0, 1)]
        scores[example.name] = np.mean([((truth == c) & (guess == c)).sum() / unions[c] for c in (0, 1) if unions[c]])
    order = sorted(scores, key=scores.get)
    assert len(set(scores.values())) == 4
    assert [one.name for one in found.worst] == order[:2]
    assert [one.name for one in found.best] == order[:1:-1]
    for one in (*found.best, *found.worst):
        assert one.mean_iou == pytest.approx(scores[one.name], rel=1e-12)


def test_with_few_images_scores_are_those_that_training_counted(place, dataset):
    found = find(Run(place / "<run>"), dataset, images=2)
    assert found.scores.confusion.tolist() == [[30, 10], [20, 40]]
    assert found.scores.boundaries is not None
    assert "all images of val, counted by training after epoch 2; outlines of 2 of 4 images of val" in found.basis
    assert len(found.best) == len(found.worst) == 1
    # Of another split nothing was counted.
    other = find(Run(place / "<run>"), dataset, split="train", images=2)
    assert other.scores.images == 2
    assert other.basis == "2 of 4 images of train"


def test_without_data_the_page_has_what_the_run_counted(place, tmp_path, capsys):
    run = place / "<run>"
    page = Page(write_report(run, path=tmp_path / "page.html"))
    assert "the data is not there" in page.text
    assert "70.0 %" in page.text  # of 100 pixels 70 were right
    assert not [tag for tag, _ in page.tags if tag == "img"]
    config = json.loads((run / "config.json").read_text())
    write_json(run / "config.json", {**config, "data": "nowhere"})
    try:
        assert main(["report", str(run), "--output", str(tmp_path / "other.html")]) == 0
    finally:
        write_json(run / "config.json", config)
    assert "note: nowhere: does not exist" in capsys.readouterr().out
    assert (tmp_path / "other.html").exists()


def test_the_command_takes_the_data_of_the_run(place, tmp_path, capsys):
    assert main(["report", str(place / "<run>"), "--images", "1", "--output", str(tmp_path / "page.html")]) == 0
    assert f"written: {tmp_path / 'page.html'}" in capsys.readouterr().out
    assert "outlines of 1 of 4 images" in Page(tmp_path / "page.html").text
    assert main(["report", str(place / "<run>"), "--images", "0"]) == 2
    assert "--images must be at least 1, got 0" in capsys.readouterr().err
    assert main(["report", str(place / "<run>"), "--split", "dev"]) == 2
    assert "no split 'dev'" in capsys.readouterr().err
