"""The JSON of a table against figures computed from the same scores by NumPy and SciPy."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import ablate, ablation, dry_run, plan, plan_costs, to_json
from keras_cacnet.paper.costs import Cost

HITS = {"none": (410, 452, 441), "fixed": (400, 441, 431), "fc": (401, 441, 433), "gap": (500, 480, 590),
        "se": (300, 345, 333), "enc": (404, 445, 434), "cac": (420, 460, 450)}  # fmt: skip
COSTS = {"None": Cost(3_000_000, 10**9), "Ours": Cost(4_000_000, 2 * 10**9)}


@pytest.fixture
def result(bench, base):
    bench.scores = lambda recipe, protocol: HITS[recipe.reweighting][recipe.seed]
    return ablate(plan(6, base, Protocol((1.0,))), bench.runs, [0, 1, 2])


@pytest.fixture
def value(result):
    found = to_json(result, {"data": "coast"}, COSTS, {"sky": 2, "sea": 0}, ["sky"])
    return json.loads(json.dumps(found, allow_nan=False))


def test_scores_and_differences(value):
    assert (value["table"], value["seeds"], value["missing"]) == (6, [0, 1, 2], 0)
    by_row = {row["row"]: row for row in value["rows"]}
    assert [run["mean_iou"] for run in by_row["GAP"]["runs"]] == [0.5, 0.48, 0.59]
    assert [run["classes"] for run in by_row["GAP"]["runs"]] == [{"sky": one / 1000, "sea": 0} for one in HITS["gap"]]
    assert all(run["folder"].startswith("resnet14_narrow_gap2") for run in by_row["GAP"]["runs"])
    for row in by_row.values():
        score, hits = row["mean_iou"], np.array(HITS[row["recipe"]["reweighting"]]) / 1000
        assert score["mean"] == pytest.approx(hits.mean(), rel=1e-12)
        assert score["deviation"] == pytest.approx(hits.std(ddof=1), rel=1e-12)
        for kind, other in (("to_reference", "cac"), ("to_control", "none")):
            if row["recipe"]["reweighting"] in (other, "none"):
                continue
            test = stats.ttest_rel(hits, np.array(HITS[other]) / 1000)
            found = score[kind]
            assert found["row"] == ("Ours" if other == "cac" else "None")
            assert found["interval"] == pytest.approx(list(test.confidence_interval(0.95)), rel=1e-9)
            assert found["beyond_chance"] == (test.pvalue < 0.05)


def test_controls_are_marked_and_stand_beside_no_figure_of_the_paper(value):
    ours = [row for row in value["rows"] if row["ours"]]
    assert [row["row"] for row in ours] == ["None"]
    assert ours[0]["mean_iou"]["paper"] is ours[0]["pixel_accuracy"]["paper"] is ours[0]["control"] is None
    assert all(row["mean_iou"]["paper"] and row["control"] == "None" for row in value["rows"] if not row["ours"])
    by_row = {row["row"]: row for row in value["rows"]}
    assert by_row["GAP"]["mean_iou"]["paper"] == 51.6
    assert by_row["Ours"]["mean_iou"]["to_reference"] is None
    assert ["contradiction", "51.9 in the text of Section 4.2"] in [
        [remark["kind"], remark["text"]] for remark in value["remarks_on_the_paper"]
    ]


def test_costs_are_the_networks_and_the_median_of_the_runs(result, bench, base):
    for seconds, (seed, score) in zip((90, 10, 11), result.rows[0].scores.items(), strict=True):
        result.rows[0].scores[seed] = score._replace(processor_seconds=seconds, training_loss=seconds / 100)
    first, second, *_ = to_json(result, {}, COSTS)["rows"]
    assert (first["parameters"], first["multiply_adds"], first["processor_seconds"]) == (3_000_000, 10**9, 11)
    assert first["training_loss"] == pytest.approx(0.37)
    assert second["parameters"] is second["training_loss"] is None


def test_rows_of_one_recipe_are_counted_once(base, monkeypatch):
    counted = []
    monkeypatch.setattr(ablation, "network_cost", lambda recipe, classes: counted.append(recipe) or Cost(classes, 1))
    laid = plan(2, base, Protocol((0.5, 1.0), flip=True))
    assert plan_costs(laid, 7) == dict.fromkeys((row.name for row in laid.rows), Cost(7, 1))
    assert counted == [laid.rows[0].recipe, laid.rows[1].recipe]


def test_the_dry_run_counts_and_writes_nothing(bench, base):
    laid = plan(2, base, Protocol((0.5, 1.0), flip=True))
    text = dry_run(laid, bench.runs, [0, 1])
    assert not bench.runs.folder.exists()
    none, shared = [line for line in text.splitlines() if "resnet14" in line]
    assert none.startswith("none ")
    assert shared.startswith("DS; DS + Flip; DS + Flip + MS ")
    # 8 images, 4 a step, 3 epochs; two seeds, none there.
    assert re.search(r"\s2\s+0\s+6\s", none)
    assert "to train: 4 runs" in text
    # Deep supervision adds its head: a 3x3 convolution 512 -> 128 with batch norm, and a classifier of 2 classes.
    parameters = [float(re.search(r"([\d.]+)M", line)[1]) for line in (none, shared)]
    assert parameters[1] - parameters[0] == pytest.approx((9 * 512 * 128 + 2 * 128 + 128 * 2 + 2) / 1e6, abs=0.011)
    ablate(laid, bench.runs, [0])
    assert "to train: 2 runs" in dry_run(laid, bench.runs, [0, 1])
