"""Which runs are trained, shared, resumed and reported, with a training that takes no time."""

import json

import pytest

from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import ablate, plan
from keras_cacnet.training.checkpoints import NonFiniteTraining

WHOLE = Protocol()
PAPERS = Protocol((0.5, 1.0), flip=True)


def names(result):
    return {row.row.name: row for row in result.rows}


def test_rows_of_one_recipe_are_trained_once(bench, base):
    result = ablate(plan(2, base, PAPERS), bench.runs, [0, 1])
    assert [recipe.auxiliary_weight for recipe in bench.trained[:2]] == [0, 0.2]
    assert len({recipe for recipe, _ in bench.evaluated}) == 4  # two recipes, two seeds
    # The rows that only score anew go to `train` again, which finds the run finished, and never start one.
    assert bench.resumed == [False, False, True, True] * 2
    assert len(bench.evaluated) == 8
    assert len(list(bench.runs.folder.iterdir())) == 4
    assert result.missing == 0
    assert not result.failed


def test_tables_share_their_runs(bench, base):
    ablate(plan(1, base, WHOLE), bench.runs, [0])
    assert len(bench.trained) == 3
    result = ablate(plan(3, base, WHOLE), bench.runs, [0])
    assert [recipe.num_heads for recipe in bench.trained[3:]] == [1, 3, 4]
    assert names(result)["H = 2"].scores[0].pixel_accuracy == 0.5
    ablate(plan(3, base, WHOLE), bench.runs, [0])
    assert len(bench.trained) == len(bench.evaluated) == 6


def test_other_data_or_settings_are_other_runs(bench, base):
    from dataclasses import replace

    paths = {bench.runs.path(one) for one in (base, replace(base, seed=1), replace(base, epochs=4))}
    bench.runs.dataset.name = "beaches/dunes"
    paths.add(bench.runs.path(base))
    bench.runs.dataset.source = lambda split: range(3)
    paths.add(bench.runs.path(base))
    assert len(paths) == 5
    assert all(path.name.startswith("resnet14_narrow_cac2_k3_d123_gp_seed") for path in paths)
    assert "fcn" in bench.runs.path(replace(base, num_heads=0)).name


def test_a_broken_table_goes_on_where_it_stopped(bench, base):
    def kill(recipe):
        if recipe.global_pooling:  # the third row
            raise KeyboardInterrupt

    seen = []
    bench.fail = kill
    laid = plan(1, base, WHOLE)
    with pytest.raises(KeyboardInterrupt):
        ablate(laid, bench.runs, [0, 1], lambda result: seen.append(result.missing))
    assert seen == [5, 4]
    bench.fail = lambda recipe: None
    bench.trained.clear()
    bench.resumed.clear()
    result = ablate(laid, bench.runs, [0, 1], lambda result: seen.append(result.missing))
    assert seen[2:] == [5, 4, 3, 2, 1, 0]
    # Seed 0 comes first; its finished rows are not touched again, and the broken one is resumed.
    assert [(recipe.global_pooling, recipe.seed) for recipe in bench.trained] == [
        (True, 0), (False, 1), (False, 1), (True, 1),
    ]  # fmt: skip
    assert bench.resumed == [True, False, False, False]
    assert all(len(row.scores) == 2 for row in result.rows)


def test_a_row_that_fails_loses_no_other(bench, base):
    def diverge(recipe):
        if recipe.num_heads == 3 and recipe.seed == 1:
            raise NonFiniteTraining("the loss is nan at step 3\nand more")
        if recipe.num_heads == 4:
            raise MemoryError

    bench.fail = diverge
    result = ablate(plan(3, base, WHOLE), bench.runs, [0, 1])
    found = names(result)
    assert result.failed
    assert result.missing == 0
    assert found["H = 3"].errors == {1: "NonFiniteTraining: the loss is nan at step 3"}
    assert list(found["H = 3"].scores) == [0]
    assert found["H = 4"].errors == {0: "MemoryError", 1: "MemoryError"}
    assert not found["H = 1"].errors
    bench.fail = lambda recipe: None
    assert not ablate(plan(3, base, WHOLE), bench.runs, [0, 1]).failed


def test_a_run_that_diverged_is_not_tried_again_for_another_protocol(bench, base):
    def diverge(recipe):
        raise NonFiniteTraining("the loss is nan")

    bench.fail = diverge
    result = ablate(plan(2, base, PAPERS), bench.runs, [0])
    assert len(bench.trained) == 2
    assert all(row.errors == {0: "NonFiniteTraining: the loss is nan"} for row in result.rows)


def test_scores_are_kept_with_what_they_depend_on(bench, base):
    bench.scores = lambda recipe, protocol: 250
    score = bench.runs.score(base, PAPERS)
    assert score == (0.25, 0.125)  # of two classes one is never right
    path = bench.runs.scores_path(base, PAPERS)
    kept = json.loads(path.read_text())
    assert (kept["checkpoint"], kept["split"], kept["protocol"]["scales"]) == ("last", "val", [0.5, 1.0])
    assert path != bench.runs.scores_path(base, WHOLE)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"evaluation_val_\w+\.json cannot be read .*remove it"):
        bench.runs.score(base, PAPERS)


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1]])
def test_seeds_that_are_none_are_refused(bench, base, seeds):
    with pytest.raises(ValueError, match="at least one and each once"):
        ablate(plan(1, base, WHOLE), bench.runs, seeds)
