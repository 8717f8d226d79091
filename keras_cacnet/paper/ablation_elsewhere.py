"""Scores of runs that were trained elsewhere, from the tables that `keras-cacnet ablate` wrote there."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.files import user_path
from keras_cacnet.training.recipe import Recipe

SAME_FACTS = ("classes", "trained_on", "scored_on", "starts_from")
"""The facts of a table that have to be the same where its scores are taken."""

_MEND = "give the data that they were trained on, or leave it out of --scores-from"


class Score(NamedTuple):
    """The scores of one run, as shares.

    Args:
        pixel_accuracy: the pixel accuracy.
        mean_iou: the mean over the classes that count.
        classes: the IoU of every class; None for one that is neither there nor predicted.
        processor_seconds: what training and scoring took of all processors together; None where a run was broken off
            and went on, or was trained for another row.
        training_loss: the mean loss of the last epoch's steps; None where the run's log has none.
    """

    pixel_accuracy: float
    mean_iou: float
    classes: Mapping[str, float | None]
    processor_seconds: float | None
    training_loss: float | None


Elsewhere = Mapping[tuple[Recipe, Protocol], Score]
"""Scores by the recipe of their run, seed included, and the protocol."""


def scores_elsewhere(
    paths: Iterable[str | Path],
    facts: Mapping[str, Any],
    names: Sequence[str],
    counted: Collection[str] | None = None,
) -> Elsewhere:
    """Read the scores of every run in tables written by `keras-cacnet ablate`, of any of the paper's tables.

    Seeds can so be trained on several machines: a row takes the scores of its recipe and seed, whatever its name is.

    Args:
        paths: files `table_N.json`.
        facts: those of the table to be written; data and start have to be the same, see `SAME_FACTS`, and so have the
            digests of its splits, where the file has them.
        names: of the classes, in order; those of every score have to be the same.
        counted: the classes that count in the mean, as `Runs` has them.

    Returns:
        The scores; where two files have a run, the later file's.

    Raises:
        ValueError: a file that is no such table, or of other runs, or whose mean is over other classes.
        OSError: a file that cannot be read.
    """
    found: dict[tuple[Recipe, Protocol], Score] = {}
    for path in paths:
        try:
            values = json.loads(user_path(path).read_text(encoding="utf-8"))
            theirs, mean_over = values["facts"], values["classes_that_count"]
            scores = {_key(row, run["seed"]): _score(run) for row in values["rows"] for run in row["runs"]}
            digests = dict(theirs.get("digests", {}))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no table_N.json of keras-cacnet ablate ({error})") from error
        for name in SAME_FACTS:
            if theirs.get(name) != facts.get(name):
                raise ValueError(
                    f"{path} is of other runs: {name} is {theirs.get(name)!r} there and {facts.get(name)!r} here; "
                    f"{_MEND}"
                )
        for score in filter(None, scores.values()):
            for there, here in zip_longest(score.classes, names):
                if there != here:
                    raise ValueError(f"{path} is of other runs: class {there!r} there is {here!r} here; {_MEND}")
        for split, digest in facts.get("digests", {}).items():
            if digests.get(split, digest) != digest:
                raise ValueError(f"{path} is of other runs: images or masks of {split} differ; {_MEND}")
        ours = None if counted is None else list(counted)
        if mean_over != ours:
            raise ValueError(
                f"the mean of {path} is over {_classes(mean_over)}, here over {_classes(ours)}: give the same "
                "--min-images"
            )
        found |= {key: score for key, score in scores.items() if score is not None}
    return found


def _key(row: Mapping[str, Any], seed: int) -> tuple[Recipe, Protocol]:
    protocol = {name: value for name, value in row["protocol"].items() if name not in ("text", "stride_pixels")}
    protocol["scales"] = tuple(protocol["scales"])
    return replace(Recipe.from_json(row["recipe"]), seed=seed), Protocol(**protocol)


def _score(run: Mapping[str, Any]) -> Score | None:
    return None if run["mean_iou"] is None else Score(**{name: run[name] for name in Score._fields})


def _classes(names: list[str] | None) -> str:
    return "all classes" if names is None else ", ".join(names)
