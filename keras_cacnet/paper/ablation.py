"""The rows of a table: what they would cost, and training and scoring them, seed by seed, past rows that fail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.paper.ablation_elsewhere import Score
from keras_cacnet.paper.ablation_rows import Plan, PlannedRow
from keras_cacnet.paper.ablation_runs import Runs, scored_split
from keras_cacnet.paper.costs import Cost, costs, total
from keras_cacnet.pipeline.examples import reading_error
from keras_cacnet.training.checkpoints import NonFiniteTraining
from keras_cacnet.training.compiling import network_arguments
from keras_cacnet.training.recipe import Recipe

CONTROL_NOTE = "† This project's control, not the paper's: the heads' convolutions, and nothing re-weighted"
_LONGEST_ERROR = 300
_BACKWARD = 3
"""Operations of a training step over those of its forward pass: the backward pass takes about two more."""


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


def dry_run(plan: Plan, runs: Runs, seeds: Sequence[int]) -> str:
    """List what would be trained and scored, and what it costs.

    The networks are built, without their weights, to count; nothing is written.

    Args:
        plan: the rows.
        runs: where runs are kept; what is there already costs nothing.
        seeds: the seeds.

    Returns:
        Text of several lines: rows that share their runs stand together.

    Raises:
        ValueError: a run in the folder is of other data.
    """
    _require_data(plan, runs, seeds)
    shared: dict[Recipe, list[int]] = {}
    for index, row in enumerate(plan.rows):
        shared.setdefault(row.recipe, []).append(index)
    lines = [f"{'rows':<44}{'runs':>6}{'there':>7}{'steps':>9}{'parameters':>12}{'training':>12}  folder"]
    work, left = 0.0, 0
    for recipe, indices in shared.items():
        seeded = [replace(recipe, seed=seed) for seed in seeds]
        there = sum(all(runs.scored(one, plan.rows[index].protocol) for index in indices) for one in seeded)
        images = len(runs.dataset.source(recipe.split))
        steps = max(images // recipe.batch_size, 1) * recipe.epochs
        parameters, multiply_adds = network_cost(recipe, len(runs.dataset.classes))
        training = _BACKWARD * multiply_adds * steps * recipe.batch_size
        work += training * (len(seeds) - there)
        left += len(seeds) - there
        names = "; ".join(named(plan.rows[index].name, plan.rows[index].ours) for index in indices)
        folder = runs.path(seeded[0]).name
        cost = f"{parameters / 1e6:>11.2f}M{training / 1e15:>11.3f}P"
        lines.append(f"{names:<44}{len(seeds):>6}{there:>7}{steps:>9,}{cost}  {folder}")
    lines += [f"{name:<44}left out: {reason}" for name, reason in plan.left_out.items()]
    lines += [CONTROL_NOTE] if any(row.ours for row in plan.rows) else []
    if runs.first:
        lines.append(f"every run starts from one of its own of {runs.first.epochs} epochs, which is not counted here")
    split = scored_split(plan.base)
    count = len(runs.dataset.source(split))
    lines += [
        "",
        f"to train: {left} runs, about {work / 1e15:.3f}P multiply-adds ({_BACKWARD} times the forward passes)",
        f"to score: {count:,} images of {split} a row and seed; {plan.protocol.to_text()}",
    ]
    return "\n".join(lines)


def ablate(plan: Plan, runs: Runs, seeds: Sequence[int], on_change: Callable[[Result], None] | None = None) -> Result:
    """Train and score the rows of a table, each with every seed.

    All rows have their first seed before any has its second, so a table that is broken off compares like with like.
    What `runs` has already is taken from there; calling again goes on where it stopped. An error of one run is kept
    in the result and the next run begins; only an interruption ends it all. Runs that `runs.scored_only` leaves out
    are missing in the result.

    Args:
        plan: the rows.
        runs: where runs are kept.
        seeds: one or more, each once.
        on_change: called with the result so far after every run.

    Returns:
        The result.

    Raises:
        ValueError: no seeds, a seed below 0, or one that comes twice; a run in the folder that is of other data, before
            any is trained.
    """
    require_seeds(seeds)
    _require_data(plan, runs, seeds)
    result = Result(plan, tuple(seeds), tuple(RowResult(row) for row in plan.rows))
    diverged: dict[Path, str] = {}
    for seed in seeds:
        for row in result.rows:
            recipe = replace(row.row.recipe, seed=seed)
            folder = row.folders[seed] = runs.path(recipe)
            try:
                if folder in diverged:  # with another protocol of Table 2; it would diverge again
                    row.errors[seed] = diverged[folder]
                elif (score := runs.score(recipe, row.row.protocol)) is not None:
                    row.scores[seed] = score
            except Exception as error:  # whatever it is, the other rows can still be run
                row.errors[seed] = _told(error)
                if isinstance(error, NonFiniteTraining):
                    diverged[folder] = row.errors[seed]
            if on_change is not None:
                on_change(result)
    return result


def _require_data(plan: Plan, runs: Runs, seeds: Sequence[int]) -> None:
    for seed in seeds:
        for row in plan.rows:
            runs.require_data(replace(row.recipe, seed=seed), row.protocol)


def require_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that are none.

    Args:
        seeds: the seeds of all rows.

    Raises:
        ValueError: no seeds, a seed below 0, or one that comes twice.
    """
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be numbers of 0 or more, at least one and each once; got {list(seeds)}")


def named(row: str, ours: bool) -> str:
    """The name of a row as it is shown: controls, which the paper does not have, are marked.

    Example:
        >>> named("none + GP", ours=True)
        'none + GP †'
    """
    return f"{row} †" if ours else row


def network_cost(recipe: Recipe, num_classes: int) -> Cost:
    """Count the parameters and multiply-adds of a recipe's network in training, for one crop.

    Args:
        recipe: the settings; the network is built without its weights.
        num_classes: number of classes.
    """
    model = CaCNet(num_classes, **network_arguments(replace(recipe, weights=None)))
    counted = costs(model, recipe.crop_size, recipe.crop_size)
    return total(cost for part, cost in counted.items() if part != "imagenet_fc")


def plan_costs(plan: Plan, num_classes: int) -> Mapping[str, Cost]:
    """The `network_cost` of every row by its name; rows of one recipe are counted once."""
    known: dict[Recipe, Cost] = {}
    for row in plan.rows:
        if row.recipe not in known:
            known[row.recipe] = network_cost(row.recipe, num_classes)
    return {row.name: known[row.recipe] for row in plan.rows}


def _told(error: Exception) -> str:
    text = reading_error(error) or str(error)
    first = (text.strip().splitlines() or [""])[0]
    name = type(error).__name__
    return f"{name}: {first[:_LONGEST_ERROR]}" if first else name
