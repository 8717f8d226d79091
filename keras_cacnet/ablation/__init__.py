"""The paper's Tables 1 to 6, run: their rows as recipes, shared runs, several seeds, ours beside the paper's."""

from keras_cacnet.ablation.preview import dry_run
from keras_cacnet.ablation.rows import FULL_NETWORK, VARIANTS, Plan, PlannedRow, Variant, plan
from keras_cacnet.ablation.running import Result, RowResult, ablate
from keras_cacnet.ablation.runs import Runs, Score, scored_source, scored_split
from keras_cacnet.ablation.seeds import Difference, Spread, paired_difference, spread
from keras_cacnet.ablation.table import to_json, to_markdown

__all__ = [
    "FULL_NETWORK",
    "VARIANTS",
    "Difference",
    "Plan",
    "PlannedRow",
    "Result",
    "RowResult",
    "Runs",
    "Score",
    "Spread",
    "Variant",
    "ablate",
    "dry_run",
    "paired_difference",
    "plan",
    "scored_source",
    "scored_split",
    "spread",
    "to_json",
    "to_markdown",
]
