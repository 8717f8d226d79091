"""The written table against figures computed from the same scores by NumPy."""

import re

import numpy as np
import pytest
from scipy import stats

from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import TABLES, ablate, plan, to_json, to_markdown
from keras_cacnet.paper.costs import Cost
from keras_cacnet.training.checkpoints import NonFiniteTraining

HITS = {"none": (410, 452, 441), "fixed": (400, 441, 431), "fc": (401, 441, 433), "gap": (500, 480, 590),
        "se": (300, 345, 333), "enc": (404, 445, 434), "cac": (420, 460, 450)}  # fmt: skip
FACTS = {"data": "coast", "command": "keras-cacnet ablate --table 6", "versions": {"keras": "3.15.1"}}


def markdown(result, *more):
    return to_markdown(to_json(result, FACTS, *more))


@pytest.fixture
def result(bench, base):
    bench.scores = lambda recipe, protocol: HITS[recipe.reweighting][recipe.seed]
    return ablate(plan(6, base, Protocol((1.0,))), bench.runs, [0, 1, 2])


def cells(text):
    """The rows of the table, by their first cell, each by the head of its column."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    heads = [f"paper's {head}" if head == "difference" else head for head in lines[0]]
    return {line[0]: dict(zip(heads, line, strict=True)) for line in lines[2:]}


def written(ours, other):
    apart = 100 * (ours - other)
    low, high = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    return f"{apart.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


def test_means_spreads_and_differences(result):
    rows = cells(markdown(result))
    assert tuple(rows) == ("None †", *TABLES[6].names)
    scores = {name: np.array(hits) / 1000 for name, hits in HITS.items()}
    for row in result.rows:
        ours, found = scores[row.row.recipe.reweighting], rows[row.row.name + " †" * row.row.ours]
        mean = f"{100 * ours.mean():.2f} ± {100 * ours.std(ddof=1):.2f}"
        assert found["mIoU, ours"] == found["pixAcc, ours"] == mean
        name = row.row.name
        assert found["less Ours"] == ("" if name == "Ours" else written(ours, scores["cac"]))
        assert found["less its control"] == ("" if name == "None" else written(ours, scores["none"]))
        assert found["runs"] == "3"
        for column in ("mIoU", "pixAcc"):
            assert found[f"{column}, paper"] == ("" if name == "None" else TABLES[6].cell(name, column))
        paper = found["mIoU, paper"]
        assert found["paper's difference"] == ("" if name in ("None", "Ours") else f"{float(paper) - 52.5:+.1f}")


def test_what_is_beyond_chance_is_what_a_paired_t_test_says(result):
    text = markdown(result)
    for told, other in (("against `Ours`", "cac"), ("against its control", "none")):
        (beyond,) = re.findall(f"{told}: (.*?)[;.]", text)
        names = {row.row.recipe.reweighting: row.row.name for row in result.rows}
        differs = {
            name for kind, name in names.items()
            if kind not in (other, "none") and stats.ttest_rel(HITS[kind], HITS[other]).pvalue < 0.05
        }  # fmt: skip
        differs |= {"None"} if other == "cac" and stats.ttest_rel(HITS["none"], HITS["cac"]).pvalue < 0.05 else set()
        assert differs == set(beyond.split(", "))
    assert "† This project's control, not the paper's" in text


def test_against_another_row(bench, base):
    bench.scores = lambda recipe, protocol: HITS[recipe.reweighting][recipe.seed]
    laid = plan(6, base, Protocol(), ["None", "GAP", "Ours"], against="None")
    rows = cells(markdown(ablate(laid, bench.runs, [0, 1, 2])))
    scores = {name: np.array(hits) / 1000 for name, hits in HITS.items()}
    for name, kind in (("GAP", "gap"), ("Ours", "cac")):
        assert rows[name]["less None"] == rows[name]["less its control"] == written(scores[kind], scores["none"])
        assert rows[name]["paper's difference"] == ""  # the paper has no such row
    assert rows["None †"]["less None"] == ""


def test_it_states_what_its_figures_depend_on(result):
    text = markdown(result, {"Ours": Cost(3_680_000, 1_680_000_000)}, {"sky": 2, "sea": 1}, ["sky"])
    for told in (
        "- data: coast",
        "- command: keras-cacnet ablate --table 6",
        "- versions: keras 3.15.1",
        "- protocol: scale 1.0 of the image, not mirrored, whole",
        "- classes that count in the mean: 1, sky; in too few images, with their number: sea (1)",
        "- seeds: 0, 1, 2",
        "backbone resnet14_narrow, head_channels 16, crop_size 64, batch_size 4, epochs 3",
        "PASCAL Context, 60 classes, val, flip and several scales",
        "FC mIoU: 51.7 in the text of Section 4.2",
        "- FC: it takes images of one size only, so it is scored in windows of 64 pixels",
        "- FC: scored by scale 1.0 of the image, not mirrored, windows of 64 pixels every 42 (2/3)",
    ):
        assert told in text
    assert (cells(text)["Ours"]["parameters"], cells(text)["Ours"]["multiply-adds"]) == ("3.68M", "1.68G")
    assert "parameters" not in cells(markdown(result))["Ours"]


def test_one_seed_claims_nothing(bench, base):
    bench.scores = lambda recipe, protocol: 100 * recipe.num_heads
    text = markdown(ablate(plan(3, base, Protocol()), bench.runs, [4]))
    rows = cells(text)
    assert (rows["H = 3"]["mIoU, ours"], rows["H = 3"]["less H = 2"]) == ("30.00", "+10.00")
    assert rows["H = 3"]["pixAcc, paper"] == "lost"
    assert "One seed" in text
    assert "no row can be called better" in text
    assert "±" not in text
    assert "**" not in text


def test_failed_missing_and_unchosen_rows(bench, base):
    def diverge(recipe):
        if recipe.num_heads == 0 and recipe.seed == 1:
            raise NonFiniteTraining("the loss is nan at step 3")
        if recipe.reweighting == "cac" and recipe.num_heads and not recipe.global_pooling:
            raise MemoryError

    bench.fail = diverge
    seen = []
    laid = plan(1, base, Protocol())
    result = ablate(laid, bench.runs, [0, 1], lambda result: seen.append(markdown(result)))
    text = markdown(result)
    first, last = cells(seen[0]), cells(text)
    assert first["CaC"]["mIoU, ours"] == "not run yet"
    assert (first["FCN"]["mIoU, ours"], first["FCN"]["runs"]) == ("50.00", "1 of 2")
    assert (last["CaC"]["mIoU, ours"], last["CaC"]["runs"]) == ("failed", "0 of 2")
    assert last["FCN"]["runs"] == "1 of 2"
    full = last["CaC + GP"]
    assert (full["mIoU, ours"], full["less FCN"]) == ("50.00 ± 0.00", "+0.00")  # one common seed
    assert full["less its control"] == "+0.00 [+0.00, +0.00]"
    assert last["CaC + GP, ResNet-101"]["mIoU, ours"] == "left out"
    assert "- FCN, seed 1: failed: NonFiniteTraining: the loss is nan at step 3" in text
    assert "- CaC + GP, ResNet-101: left out: no deeper backbone goes with resnet14_narrow" in text
    chosen = markdown(ablate(plan(1, base, Protocol(), rows=["CaC + GP"]), bench.runs, [0, 1]))
    assert cells(chosen)["CaC + GP"]["less FCN"] == ""  # nothing to compare with
    assert "`FCN`, the row to compare with, was not run." in chosen
    assert "control" not in chosen.split("\n- ")[0]
