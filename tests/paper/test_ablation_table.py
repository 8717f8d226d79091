"""The written table against figures computed from the same scores by NumPy."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import TABLES, ablate, dry_run, paired_difference, plan, spread, to_json, to_markdown
from keras_cacnet.paper.ablation_table import critical_errors
from keras_cacnet.training.checkpoints import NonFiniteTraining

HITS = {"fixed": (400, 441, 431), "fc": (401, 441, 433), "gap": (500, 480, 590), "se": (300, 345, 333),
        "enc": (404, 445, 434), "cac": (420, 460, 450)}  # fmt: skip
FACTS = {"data": "coast", "command": "keras-cacnet ablate --table 6", "versions": {"keras": "3.15.1"}}


@pytest.fixture
def result(bench, base):
    bench.scores = lambda recipe, protocol: HITS[recipe.reweighting][recipe.seed]
    return ablate(plan(6, base, Protocol((1.0,))), bench.runs, [0, 1, 2])


def cells(markdown):
    """The rows of the table, by their first cell."""
    lines = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("|")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines[2:]}


def test_means_spreads_and_differences(result):
    rows = cells(to_markdown(result, FACTS))
    assert tuple(rows) == TABLES[6].names
    for row in result.rows:
        accuracy = np.array(HITS[row.row.recipe.reweighting]) / 10  # percent
        iou = accuracy / 2
        reference = np.array(HITS["cac"]) / 20
        ours, apart, paper, paper_apart, accuracies, paper_accuracy, runs = rows[row.row.name]
        assert ours == f"{iou.mean():.2f} ± {iou.std(ddof=1):.2f}"
        assert accuracies == f"{accuracy.mean():.2f} ± {accuracy.std(ddof=1):.2f}"
        if row.row.name == "Ours":
            assert apart == paper_apart == ""
        else:
            error = (iou - reference).std(ddof=1) / np.sqrt(3)
            assert apart == f"{(iou - reference).mean():+.2f} ± {error:.2f}"
            assert paper_apart == f"{float(paper) - 52.5:+.1f}"
        assert (paper, paper_accuracy, runs) == (
            TABLES[6].cell(row.row.name, "mIoU"),
            TABLES[6].cell(row.row.name, "pixAcc"),
            "3",
        )


def test_what_is_beyond_chance_is_what_a_paired_t_test_says(result):
    text = to_markdown(result, FACTS)
    (beyond,) = re.findall(r"beyond it here: (.*?)\.", text)
    tested = {row.row.name: stats.ttest_rel(HITS[row.row.recipe.reweighting], HITS["cac"]).pvalue < 0.05
              for row in result.rows if row.row.name != "Ours"}  # fmt: skip
    assert {name for name, differs in tested.items() if differs} == set(beyond.split(", ")) == {
        "Fixed", "FC", "SEHead", "EncHead",
    }  # fmt: skip
    assert "Between 3 pairs of runs that are alike, chance takes a difference beyond 4.3 standard errors" in text


def test_json_holds_the_same(result):
    value = json.loads(json.dumps(to_json(result, FACTS), allow_nan=False))
    assert (value["table"], value["seeds"], value["missing"], value["command"]) == (6, [0, 1, 2], 0, FACTS["command"])
    by_row = {row["row"]: row for row in value["rows"]}
    assert [run["mean_iou"] for run in by_row["GAP"]["runs"]] == [0.25, 0.24, 0.295]
    assert all(run["folder"].startswith("resnet14_narrow_gap2") for run in by_row["GAP"]["runs"])
    assert by_row["GAP"]["pixel_accuracy"]["deviation"] == pytest.approx(np.std([0.5, 0.48, 0.59], ddof=1))
    assert by_row["GAP"]["mean_iou"]["paper"] == 51.6
    assert by_row["Ours"]["mean_iou"]["difference"] is None
    assert ["contradiction", "51.9 in the text of Section 4.2"] in [
        [remark["kind"], remark["text"]] for remark in value["remarks_on_the_paper"]
    ]


def test_it_states_what_its_figures_depend_on(result):
    text = to_markdown(result, FACTS)
    for told in (
        "- data: coast",
        "- command: keras-cacnet ablate --table 6",
        "- versions: keras 3.15.1",
        "- protocol: scale 1.0 of the image, not mirrored, whole",
        "- seeds: 0, 1, 2",
        "backbone resnet14_narrow, head_channels 16, crop_size 64, batch_size 4, epochs 3",
        "PASCAL Context, 60 classes, val, flip and several scales",
        "FC mIoU: 51.7 in the text of Section 4.2",
        "- FC: it takes images of one size alone, so it is scored in windows of 64 pixels",
        "- FC: scored by scale 1.0 of the image, not mirrored, windows of 64 pixels every 42 (2/3)",
    ):
        assert told in text


def test_one_seed_claims_nothing(bench, base):
    bench.scores = lambda recipe, protocol: 100 * recipe.num_heads
    text = to_markdown(ablate(plan(3, base, Protocol()), bench.runs, [4]), FACTS)
    rows = cells(text)
    assert rows["H = 3"][:2] == ["15.00", "+5.00"]
    assert rows["H = 3"][5] == "lost"  # the paper's pixel accuracy
    assert "One seed" in text
    assert "no row can be called better" in text
    assert "±" not in text
    assert "**" not in text


def test_failed_missing_and_unchosen_rows(bench, base):
    def diverge(recipe):
        if recipe.num_heads == 0 and recipe.seed == 1:
            raise NonFiniteTraining("the loss is nan at step 3")
        if recipe.num_heads and not recipe.global_pooling:
            raise MemoryError

    bench.fail = diverge
    written = []
    laid = plan(1, base, Protocol())
    result = ablate(laid, bench.runs, [0, 1], lambda result: written.append(to_markdown(result, FACTS)))
    first, last = cells(written[0]), cells(to_markdown(result, FACTS))
    assert first["CaC"][0] == "not run yet"
    assert (first["FCN"][0], first["FCN"][-1]) == ("25.00", "1 of 2")
    assert (last["CaC"][0], last["CaC"][-1]) == ("failed", "0 of 2")
    assert last["FCN"][-1] == "1 of 2"
    assert last["CaC + GP"][:2] == ["25.00 ± 0.00", "+0.00"]  # one common seed
    assert last["CaC + GP, ResNet-101"][0] == "left out"
    text = to_markdown(result, FACTS)
    assert "- FCN, seed 1: failed: NonFiniteTraining: the loss is nan at step 3" in text
    assert "- CaC + GP, ResNet-101: left out: no deeper backbone goes with resnet14_narrow" in text
    value = json.loads(json.dumps(to_json(result, FACTS), allow_nan=False))
    assert value["rows"][1]["runs"][1]["error"] == "MemoryError"
    assert value["rows"][1]["mean_iou"]["mean"] is None
    chosen = ablate(plan(1, base, Protocol(), rows=["CaC + GP"]), bench.runs, [0, 1])
    assert cells(to_markdown(chosen, FACTS))["CaC + GP"][1] == ""  # nothing to compare with
    assert "`FCN`, the row to compare with, was not run." in to_markdown(chosen, FACTS)


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


@pytest.mark.parametrize("count", [2, 3, 7])
def test_mean_and_sample_deviation_are_numpys(count):
    values = np.random.default_rng(count).normal(0.5, 0.1, count)
    found = spread(values.tolist())
    # Exact fractions there, float64 sums here.
    assert found == pytest.approx((count, values.mean(), values.std(ddof=1)), rel=1e-14)


def test_one_value_has_no_deviation_and_none_has_nothing():
    assert spread([0.25]) == (1, 0.25, None)
    assert spread([]) is None
    assert paired_difference({0: 0.5}, {0: 0.25}) == (1, 0.25, None)
    assert paired_difference({0: 0.5}, {1: 0.25}) is None


@pytest.mark.parametrize("seed", range(3))
def test_differences_are_those_of_a_paired_t_test(seed):
    rng = np.random.default_rng(seed)
    common = rng.normal(0.5, 0.2, 6)
    ours, theirs = common + rng.normal(0.05, 0.02, 6), common
    # Seeds that only one row has do not count, and their order does not matter.
    left = {**dict(enumerate(ours)), 90: 0.9}
    right = {91: 0.1, **dict(reversed(list(enumerate(theirs))))}
    found = paired_difference(left, right)
    test = stats.ttest_rel(ours, theirs)
    assert found.number == 6
    assert found.mean / found.error == pytest.approx(test.statistic, rel=1e-12)
    beyond = abs(found.mean) > critical_errors(6) * found.error
    assert beyond == (test.pvalue < 0.05)
    interval = test.confidence_interval(0.95)
    assert found.mean + critical_errors(6) * found.error == pytest.approx(interval.high, rel=1e-12)


def test_pairing_takes_out_what_seeds_have_in_common():
    common = np.random.default_rng(0).normal(0.5, 0.2, 5)
    found = paired_difference(dict(enumerate(common + 0.01)), dict(enumerate(common)))
    # The differences are all 0.01 but for the rounding of the sums.
    assert found.mean == pytest.approx(0.01, rel=1e-12)
    assert found.error < 1e-15
