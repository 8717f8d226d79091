"""Scores of runs on other machines, taken from the tables that were written there."""

import json
from pathlib import Path

import pytest

from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import Runs, ablate, plan, scores_elsewhere, to_json

from .conftest import NAMES

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
WHOLE = Protocol()
FACTS = {
    "classes": 2,
    "trained_on": "8 images of train",
    "scored_on": "2 images of val, last checkpoint",
    "digests": {"train": "1a", "val": "2b"},
}


@pytest.fixture
def table(bench, base, tmp_path):
    """Table 1 of seed 0, as the other machine wrote it; its first setting is new since then."""
    bench.scores = lambda recipe, protocol: 100 * (recipe.num_heads + 3 * recipe.global_pooling)
    values = to_json(ablate(plan(1, base, WHOLE), bench.runs, [0, 1]), FACTS)
    for row in values["rows"]:
        row["recipe"].pop("loss_stride")
        row["runs"][1] = {name: None for name in row["runs"][1]} | {"seed": 1}  # this one had not run yet
    path = tmp_path / "table_1.json"
    path.write_text(json.dumps(values))
    bench.trained.clear()
    return path


def here(bench, tmp_path, elsewhere):
    return Runs(tmp_path / "here", bench.runs.dataset, verbose=0, elsewhere=elsewhere)


def test_rows_take_their_seed_under_any_name_and_train_the_others(bench, base, tmp_path, table):
    runs = here(bench, tmp_path, scores_elsewhere([table], FACTS, NAMES))
    laid = plan(3, base, WHOLE, rows=["H = 1", "H = 2"])
    assert [runs.scored(row.recipe, WHOLE) for row in laid.rows] == [False, True]
    result = ablate(laid, runs, [0, 1])
    assert [(recipe.num_heads, recipe.seed) for recipe in bench.trained] == [(1, 0), (1, 1), (2, 1)]
    found = {row.row.name: [row.scores[seed].mean_iou for seed in (0, 1)] for row in result.rows}
    assert found == {"H = 1": [0.4, 0.4], "H = 2": [0.5, 0.5]}
    assert result.rows[1].scores[0].classes == {"sky": 0.5, "sea": 0.0}
    own = here(bench, tmp_path, {})
    assert own.scored(bench.trained[-1], WHOLE)
    assert not own.scored(laid.rows[1].recipe, WHOLE)


def test_the_home_folder_is_meant_by_a_tilde(monkeypatch, table):
    monkeypatch.setenv("HOME", str(table.parent))
    assert scores_elsewhere(["~/table_1.json"], FACTS, NAMES)


def test_another_protocol_is_another_score(bench, base, tmp_path, table):
    runs = here(bench, tmp_path, scores_elsewhere([table], FACTS, NAMES))
    assert not runs.scored(base, Protocol(flip=True))


def test_tables_of_other_runs_or_means_are_refused(table):
    for name, value in (("trained_on", "7 images of train"), ("classes", 3), ("starts_from", "laptop")):
        with pytest.raises(ValueError, match=rf"table_1.json is of other runs: {name} is .* there and {value!r} here"):
            scores_elsewhere([table], FACTS | {name: value}, NAMES)
    for split in ("train", "val"):
        here = FACTS | {"digests": FACTS["digests"] | {split: "9f"}}
        with pytest.raises(ValueError, match=f"table_1.json is of other runs: images or masks of {split} differ; give"):
            scores_elsewhere([table], here, NAMES)
    with pytest.raises(ValueError, match="table_1.json is of other runs: class 'sea' there is 'lake' here; give"):
        scores_elsewhere([table], FACTS, ("sky", "lake"))
    with pytest.raises(ValueError, match="over all classes, here over sky: give the same --min-images"):
        scores_elsewhere([table], FACTS, NAMES, ["sky"])


def test_tables_from_before_digests_were_kept_are_taken():
    for path in sorted(RESULTS.glob("ablation_*_table_*.json")):
        values = json.loads(path.read_text())
        done = [run for row in values["rows"] for run in row["runs"] if run["mean_iou"] is not None]
        facts = values["facts"] | {"digests": {"train": "1a", "val": "2b"}}
        found = scores_elsewhere([path], facts, list(done[0]["classes"]), values["classes_that_count"])
        assert {score.mean_iou for score in found.values()} == {run["mean_iou"] for run in done}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"facts": {}, "classes_that_count": null, "rows": [{}]}'])
def test_other_files_are_refused_by_name(tmp_path, text):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="scores.json is no table_N.json of keras-cacnet ablate"):
        scores_elsewhere([path], FACTS, NAMES)
