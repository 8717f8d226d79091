"""Training and scoring the rows of a table, seed by seed, past rows that fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keras_cacnet.paper.ablation_rows import Plan, PlannedRow
from keras_cacnet.paper.ablation_runs import Runs, Score
from keras_cacnet.pipeline.batches import reading_error
from keras_cacnet.training.checkpoints import NonFiniteTraining

_LONGEST_ERROR = 300


@dataclass(frozen=True)
class RowResult:
    """What a row got, by seed: scores, or the error that ended a run, and the folders of its runs."""

    row: PlannedRow
    scores: dict[int, Score] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    folders: dict[int, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a table got, finished or on its way.

    Args:
        plan: what was to be run.
        seeds: the seeds.
        rows: one a row of the plan.
    """

    plan: Plan
    seeds: tuple[int, ...]
    rows: tuple[RowResult, ...]

    @property
    def failed(self) -> bool:
        """Whether a run ended with an error."""
        return any(row.errors for row in self.rows)

    @property
    def missing(self) -> int:
        """Number of scores that are neither there nor failed."""
        return sum(len(self.seeds) - len(row.scores) - len(row.errors) for row in self.rows)

    def by_name(self, name: str) -> RowResult | None:
        """The row of a name; None where it was not run."""
        return next((row for row in self.rows if row.row.name == name), None)


def ablate(plan: Plan, runs: Runs, seeds: Sequence[int], on_change: Callable[[Result], None] | None = None) -> Result:
    """Train and score the rows of a table, each with every seed.

    All rows have their first seed before any has its second, so a table that is broken off compares like with like.
    What `runs` has already is taken from there; calling again goes on where it stopped. An error of one run is kept
    in the result and the next run begins; only an interruption ends it all.

    Args:
        plan: the rows.
        runs: where runs are kept.
        seeds: one or more, each once.
        on_change: called with the result so far after every run.

    Returns:
        The result.

    Raises:
        ValueError: no seeds, a seed below 0, or one that comes twice.
    """
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be numbers of 0 or more, at least one and each once; got {list(seeds)}")
    result = Result(plan, tuple(seeds), tuple(RowResult(row) for row in plan.rows))
    diverged: dict[Path, str] = {}
    for seed in seeds:
        for row in result.rows:
            recipe = replace(row.row.recipe, seed=seed)
            folder = row.folders[seed] = runs.path(recipe)
            try:
                if folder in diverged:  # with another protocol of Table 2; it would diverge again
                    row.errors[seed] = diverged[folder]
                else:
                    row.scores[seed] = runs.score(recipe, row.row.protocol)
            except Exception as error:  # whatever it is, the other rows can still be run
                row.errors[seed] = _told(error)
                if isinstance(error, NonFiniteTraining):
                    diverged[folder] = row.errors[seed]
            if on_change is not None:
                on_change(result)
    return result


def _told(error: Exception) -> str:
    text = reading_error(error) or str(error)
    first = (text.strip().splitlines() or [""])[0]
    name = type(error).__name__
    return f"{name}: {first[:_LONGEST_ERROR]}" if first else name
