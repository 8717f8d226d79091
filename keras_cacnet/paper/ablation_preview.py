"""What a table would take, before anything is trained."""

from collections.abc import Sequence
from dataclasses import replace

from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.paper.ablation_rows import Plan
from keras_cacnet.paper.ablation_runs import Runs, scored_split
from keras_cacnet.paper.costs import costs
from keras_cacnet.training.recipe import Recipe

_BACKWARD = 3
"""Operations of a training step over those of its forward pass: the backward pass takes about two more."""


def dry_run(plan: Plan, runs: Runs, seeds: Sequence[int]) -> str:
    """List what would be trained and scored, and what it costs.

    The networks are built, without their weights, to count; nothing is written.

    Args:
        plan: the rows.
        runs: where runs are kept; what is there already costs nothing.
        seeds: the seeds.

    Returns:
        Text of several lines: rows that share their runs stand together.
    """
    shared: dict[Recipe, list[int]] = {}
    for index, row in enumerate(plan.rows):
        shared.setdefault(row.recipe, []).append(index)
    lines = [f"{'rows':<44}{'runs':>6}{'there':>7}{'steps':>9}{'parameters':>12}{'training':>12}  folder"]
    total, left = 0.0, 0
    for recipe, indices in shared.items():
        seeded = [replace(recipe, seed=seed) for seed in seeds]
        there = sum(
            all(runs.scores_path(one, plan.rows[index].protocol).is_file() for index in indices) for one in seeded
        )
        images = len(runs.dataset.source(recipe.split))
        steps = max(images // recipe.batch_size, 1) * recipe.epochs
        parameters, multiply_adds = _network(recipe, len(runs.dataset.classes))
        training = _BACKWARD * multiply_adds * steps * recipe.batch_size
        total += training * (len(seeds) - there)
        left += len(seeds) - there
        names = "; ".join(plan.rows[index].name for index in indices)
        folder = runs.path(seeded[0]).name
        cost = f"{parameters / 1e6:>11.2f}M{training / 1e15:>11.3f}P"
        lines.append(f"{names:<44}{len(seeds):>6}{there:>7}{steps:>9,}{cost}  {folder}")
    lines += [f"{name:<44}left out: {reason}" for name, reason in plan.left_out.items()]
    split = scored_split(plan.base)
    count = len(runs.dataset.source(split))
    lines += [
        "",
        f"to train: {left} runs, about {total / 1e15:.3f}P multiply-adds ({_BACKWARD} times the forward passes)",
        f"to score: {count:,} images of {split} a row and seed; {plan.protocol.to_text()}",
    ]
    return "\n".join(lines)


def _network(recipe: Recipe, num_classes: int) -> tuple[int, int]:
    model = CaCNet(num_classes, **replace(recipe, weights=None).network_arguments())
    counted = costs(model, recipe.crop_size, recipe.crop_size)
    parts = [cost for part, cost in counted.items() if part != "imagenet_fc"]
    return sum(cost.parameters for cost in parts), sum(cost.multiply_adds for cost in parts)
