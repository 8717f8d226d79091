"""Which runs are trained, shared, resumed and reported, with a training that takes no time."""

import io
import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import ClassTable, Example
from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import Runs, ablate, ablation_runs, dry_run, images_by_class, plan
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
    assert len(bench.trained) == 5
    result = ablate(plan(3, base, WHOLE), bench.runs, [0])
    assert [recipe.num_heads for recipe in bench.trained[5:]] == [1, 3, 4]
    assert names(result)["H = 2"].scores[0].pixel_accuracy == 0.5
    ablate(plan(3, base, WHOLE), bench.runs, [0])
    assert len(bench.trained) == len(bench.evaluated) == 8
    # The control of Table 6 is Table 1's with the pooled branch.
    ablate(plan(6, base, WHOLE, rows=["None", "Ours"]), bench.runs, [0])
    assert len(bench.trained) == 8


def test_only_what_is_scored(bench, base):
    ablate(plan(1, base, WHOLE, rows=["FCN", "none"]), bench.runs, [0])
    only = Runs(bench.runs.folder, bench.runs.dataset, verbose=0, scored_only=True)
    result = ablate(plan(1, base, WHOLE), only, [0, 1])
    assert len(bench.trained) == 2
    assert {name: list(row.scores) for name, row in names(result).items() if row.scores} == {"FCN": [0], "none": [0]}
    assert (result.missing, result.failed) == (8, False)


def test_other_data_or_settings_are_other_runs(bench, base):
    paths = {bench.runs.path(one) for one in (base, replace(base, seed=1), replace(base, epochs=4))}
    bench.runs.dataset.name = "beaches/dunes"
    paths.add(bench.runs.path(base))
    bench.runs.dataset.source = lambda split: range(3)
    paths.add(bench.runs.path(base))
    assert len(paths) == 5
    assert all(path.name.startswith("resnet14_narrow_cac2_k3_d123_gp_seed") for path in paths)
    assert "fcn" in bench.runs.path(replace(base, num_heads=0)).name


def test_runs_from_before_a_setting_was_new_are_found(bench, base):
    score = bench.runs.score(base, WHOLE)
    folder = bench.runs.path(base)
    config = json.loads((folder / "config.json").read_text()) | {"data": "shore/coast"}
    del config["recipe"]["loss_stride"]
    (folder / "classes.json").write_text(json.dumps(bench.runs.dataset.classes.to_json()))
    old = folder.rename(folder.with_name(folder.name[:-10] + "0123456789"))
    for images, found in (({"train": 8, "val": 3}, False), ({"train": 8, "val": 2}, True)):
        (old / "config.json").write_text(json.dumps(config | {"images": images}))
        assert (bench.runs.path(base) == old) == found
    assert bench.runs.score(base, WHOLE) == score
    assert len(bench.trained) == 1
    assert bench.runs.path(replace(base, loss_stride=2)) != old


def test_a_broken_table_goes_on_where_it_stopped(bench, base):
    def kill(recipe):
        if recipe.global_pooling:  # the third row
            raise KeyboardInterrupt

    seen = []
    bench.fail = kill
    laid = plan(1, base, WHOLE, rows=["FCN", "CaC", "CaC + GP"])
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
    assert score[:3] == (0.25, 0.25, {"sky": 0.25, "sea": 0.0})  # there is no sea in the masks
    path = bench.runs.scores_path(base, PAPERS)
    kept = json.loads(path.read_text())
    assert (kept["checkpoint"], kept["split"], kept["protocol"]["scales"]) == ("last", "val", [0.5, 1.0])
    assert path != bench.runs.scores_path(base, WHOLE)
    counted = Runs(bench.runs.folder, bench.runs.dataset, counted=["sky", "sea"])
    assert counted.score(base, PAPERS).mean_iou == 0.125
    assert len(bench.evaluated) == 1
    path.write_text("{")
    with pytest.raises(ValueError, match=r"evaluation_val_\w+\.json cannot be read .*remove it"):
        bench.runs.score(base, PAPERS)


def test_the_processor_is_timed_where_a_run_was_not_broken_off(bench, base, monkeypatch):
    clock = itertools.count(0, 7)
    monkeypatch.setattr(ablation_runs.time, "process_time", lambda: next(clock))
    assert bench.runs.score(base, PAPERS).processor_seconds == 7
    assert bench.runs.score(base, PAPERS).processor_seconds == 7  # from the file
    assert bench.runs.score(base, WHOLE).processor_seconds is None  # trained already
    # Files from before it was recorded.
    path = bench.runs.scores_path(base, PAPERS)
    assert bench.runs.score(base, PAPERS).training_loss is None
    (path.parent / "log.csv").write_text("epoch,loss,mean_iou\n0,1.5,0.1\n1,0.75,0.2\n")
    assert bench.runs.score(base, PAPERS).training_loss == 0.75
    values = json.loads(path.read_text())
    del values["processor_seconds"]
    path.write_text(json.dumps(values))
    assert bench.runs.score(base, PAPERS).processor_seconds is None


def test_images_are_counted_by_class():
    def mask(*ids):
        file = io.BytesIO()
        Image.fromarray(np.array([ids], "uint8")).save(file, "PNG")
        return Example("one", b"", file.getvalue())

    classes = ClassTable(("sky", "sea", "sand"), ((9, 9, 9), (8, 8, 8), (7, 7, 7)), ids=(3, 7, 9))
    examples = [mask(3, 3, 255), mask(7, 3), mask(255, 255), mask(3, 7)]
    assert images_by_class(examples, classes) == {"sky": 3, "sea": 2, "sand": 0}


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1]])
def test_seeds_that_are_none_are_refused(bench, base, seeds):
    with pytest.raises(ValueError, match="at least one and each once"):
        ablate(plan(1, base, WHOLE), bench.runs, seeds)


def test_rows_start_from_runs_of_their_own(bench, base):
    """`finetune`: the first run has the row's heads and seed; tables share it, and other first runs are other runs."""
    first = replace(base, learning_rate=0.5, freeze="backbone")
    runs = Runs(bench.runs.folder, bench.runs.dataset, verbose=0, first=first)
    ablate(plan(1, base, WHOLE, rows=["FCN", "CaC + GP"]), runs, [0, 1])
    assert [(one.freeze, one.num_heads, one.seed) for one in bench.trained] == [
        ("backbone", 0, 0), ("none", 0, 0), ("backbone", 2, 0), ("none", 2, 0),
        ("backbone", 0, 1), ("none", 0, 1), ("backbone", 2, 1), ("none", 2, 1),
    ]  # fmt: skip
    assert bench.started_from == [None, bench.runs.path(replace(first, num_heads=0, global_pooling=False)).name] + [
        name
        for recipe in bench.trained[2::2]
        for name in (None, bench.runs.path(recipe).name)
    ]  # fmt: skip
    ablate(plan(3, base, WHOLE, rows=["H = 2"]), runs, [0, 1])
    assert len(bench.trained) == 8
    others = {one.path(base) for one in (bench.runs, runs, Runs(runs.folder, runs.dataset, first=base))}
    assert len(others) == 3


def test_a_broken_run_goes_on_without_the_one_it_started_from(bench, base):
    runs = Runs(bench.runs.folder, bench.runs.dataset, verbose=0, first=replace(base, epochs=1))

    def kill(recipe):
        if recipe.epochs == base.epochs:
            raise KeyboardInterrupt

    bench.fail = kill
    laid = plan(1, base, WHOLE, rows=["FCN"])
    with pytest.raises(KeyboardInterrupt):
        ablate(laid, runs, [0])
    bench.fail = lambda recipe: None
    ablate(laid, runs, [0])
    assert [one.epochs for one in bench.trained] == [1, 3, 3]
    assert [name is None for name in bench.started_from] == [True, False, True]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"train": "9f"}, r"_seed1_\w+ was started with other files in train: 8 images there, 8 now"),
        ({"val": "9f"}, r"_seed1_\w+ was scored on other files in val than beaches/coast has now \(evaluation_val_"),
    ],
)
def test_runs_of_files_that_have_changed_are_not_taken(bench, base, change, told):
    laid = plan(3, base, WHOLE, rows=["H = 1", "H = 2"])
    score = bench.runs.score(replace(base, seed=1), WHOLE)
    assert bench.runs.score(replace(base, seed=1), WHOLE) == score
    assert bench.read == ["train", "val"] or bench.read == ["val", "train"]  # once a split
    bench.contents |= change
    bench.trained.clear()
    for scored_only in (False, True):
        runs = Runs(bench.runs.folder, bench.runs.dataset, verbose=0, scored_only=scored_only)
        for use in (ablate, dry_run):
            with pytest.raises(ValueError, match=f"{told}.*; name another --output, or give the former data"):
                use(laid, runs, [0, 1])
    assert not bench.trained  # nor any row before it


def test_runs_of_other_colours_or_ids_are_not_taken(bench, base):
    bench.runs.score(base, WHOLE)
    names, palette = bench.runs.dataset.classes.names, bench.runs.dataset.classes.palette
    for other in (ClassTable(names, palette, (1, 0)), ClassTable(names, palette[::-1], (0, 1))):
        bench.runs.dataset.classes = other
        with pytest.raises(
            ValueError, match=r"_seed0_\w+ was started with other colours or ids .*; name another --output"
        ):
            bench.runs.score(base, WHOLE)
    bench.runs.dataset.classes = ClassTable(names, palette, (0, 1), void_ids=(7,))
    with pytest.raises(ValueError, match=r"_seed0_\w+ was started with other colours or ids"):
        bench.runs.score(base, WHOLE)


def test_the_first_run_is_compared_too(bench, base):
    def kill(recipe):
        if recipe.epochs == base.epochs:
            raise KeyboardInterrupt

    runs = Runs(bench.runs.folder, bench.runs.dataset, verbose=0, first=replace(base, epochs=1))
    bench.fail = kill
    with pytest.raises(KeyboardInterrupt):
        runs.score(base, WHOLE)
    shutil.rmtree(runs.path(base))
    bench.contents["train"] = "9f"
    with pytest.raises(ValueError, match="was started with other files in train"):
        Runs(runs.folder, runs.dataset, verbose=0, first=runs.first).require_data(base, WHOLE)


def test_scores_from_before_digests_were_kept_are_taken(bench, base):
    score = bench.runs.score(base, WHOLE)
    path = bench.runs.scores_path(base, WHOLE)
    values = json.loads(path.read_text())
    assert values.pop("digest") == "2b"
    path.write_text(json.dumps(values))
    assert Runs(bench.runs.folder, bench.runs.dataset, verbose=0).score(base, WHOLE) == score


def test_the_home_folder_is_meant_by_a_tilde(bench, base, monkeypatch):
    monkeypatch.setenv("HOME", str(bench.runs.folder.parent))
    score = bench.runs.score(base, WHOLE)
    assert Runs("~/runs", bench.runs.dataset, scored_only=True).score(base, WHOLE) == score
