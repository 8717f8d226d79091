"""The rows of the paper's Tables 1 to 6 and this project's controls, as changes of one recipe; the plan of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.paper.tables import TABLES
from keras_cacnet.training.recipe import Recipe

FULL_NETWORK: dict[str, Any] = {
    "num_heads": 2,
    "kernel_sizes": (3,),
    "dilation_rates": (1, 2, 3),
    "reweighting": "cac",
    "global_pooling": True,
}
"""CaC-Net in full, the row that all six tables share; what they vary."""

DEEPER = {"resnet50": "resnet101"}
"""The deeper backbone of Table 1's last row, by the backbone of the other rows."""


@dataclass(frozen=True)
class Variant:
    """A row of a table, as what it changes.

    Args:
        row: its name in `paper.TABLES`, or of a control.
        changes: settings that differ from CaC-Net in full.
        views: "all" of the protocol, "mirrored" for one scale with flip, "one" for one scale without.
        deeper: whether the row has the deeper backbone.
        control: the row of the table with the same convolutions and the same pooled branch that re-weights nothing.
        ours: whether it is such a control itself, which the paper does not have.
    """

    row: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    views: Literal["all", "mirrored", "one"] = "all"
    deeper: bool = False
    control: str | None = None
    ours: bool = False


VARIANTS: dict[int, tuple[Variant, ...]] = {
    1: (
        Variant("FCN", {"num_heads": 0, "global_pooling": False}),
        Variant("none", {"reweighting": "none", "global_pooling": False}, ours=True),
        Variant("none + GP", {"reweighting": "none"}, ours=True),
        Variant("CaC", {"global_pooling": False}, control="none"),
        Variant("CaC + GP", control="none + GP"),
        Variant("CaC + GP, ResNet-101", deeper=True),
    ),
    2: (
        Variant("none", {"auxiliary_weight": 0.0}, views="one"),
        Variant("DS", views="one"),
        Variant("DS + Flip", views="mirrored"),
        Variant("DS + Flip + MS"),
    ),
    3: tuple(Variant(f"H = {heads}", {"num_heads": heads}) for heads in (1, 2, 3, 4)),
    4: (
        # (3,) and (3, 3) are one network; so that they are one recipe too, it is always written (3,).
        Variant("3 + 3"),
        Variant("3 + 5", {"kernel_sizes": (3, 5)}),
        Variant("3 + 7", {"kernel_sizes": (3, 7)}),
    ),
    5: (
        Variant("{1}", {"dilation_rates": (1,)}),
        Variant("{1, 2}", {"dilation_rates": (1, 2)}),
        Variant("{1, 2, 3}"),
        Variant("{1, 2, 3, 4}", {"dilation_rates": (1, 2, 3, 4)}),
    ),
    6: (
        Variant("None", {"reweighting": "none"}, ours=True),
        Variant("Fixed", {"reweighting": "fixed"}, control="None"),
        Variant("FC", {"reweighting": "fc"}, control="None"),
        Variant("GAP", {"reweighting": "gap"}, control="None"),
        Variant("SEHead", {"reweighting": "se"}, control="None"),
        Variant("EncHead", {"reweighting": "enc"}, control="None"),
        Variant("Ours", control="None"),
    ),
}
"""The rows of every table that can be run, in the paper's order, and before what they are a control for this project's
controls."""


@dataclass(frozen=True)
class PlannedRow:
    """A row as it is trained and scored.

    Args:
        name: its name in `paper.TABLES`, or of a control.
        recipe: the settings; the seed is that of the base recipe and is replaced for every run.
        protocol: how it is scored.
        notes: where it is not what the paper's row is, or not scored as the others are.
        control: the row that re-weights nothing and is otherwise the same.
        ours: whether it is such a control, which the paper does not have.
    """

    name: str
    recipe: Recipe
    protocol: Protocol
    notes: tuple[str, ...] = ()
    control: str | None = None
    ours: bool = False


@dataclass(frozen=True)
class Plan:
    """A table to be run.

    Args:
        table: its number in the paper.
        base: the recipe that the rows change.
        protocol: the protocol that the rows are scored by.
        rows: the rows.
        left_out: the rows that are not run, with the reason.
        reference: the row that the others are compared with.
    """

    table: int
    base: Recipe
    protocol: Protocol
    rows: tuple[PlannedRow, ...]
    left_out: Mapping[str, str]
    reference: str


def plan(
    table: int,
    base: Recipe,
    protocol: Protocol,
    rows: Sequence[str] | None = None,
    deep_backbone: str | None = None,
    deep_weights: str | None = None,
    against: str | None = None,
) -> Plan:
    """Lay out the rows of one of the paper's tables, with this project's controls.

    Args:
        table: its number, 1 to 6.
        base: the settings that all rows share; what the tables vary has to be CaC-Net's in full, `FULL_NETWORK`.
        protocol: how the rows are scored. In Table 2 that of the last row: the others leave its scales or its mirror
            images out.
        rows: names of the rows to run; all where None.
        deep_backbone: backbone of Table 1's last row; by default that of `DEEPER`, and where there is none the row
            is left out.
        deep_weights: weights of that backbone; the base's where these are None or "imagenet".
        against: name of the row to compare the others with; the one that the paper compares with where None.

    Returns:
        The plan.

    Raises:
        ValueError: another table, an unknown row, a base that is not CaC-Net in full, a protocol for Table 2 that
            does not mirror or has one scale, or a deeper backbone without weights of its own.

    Example:
        >>> laid = plan(4, Recipe(), Protocol())
        >>> [(row.name, row.recipe.kernel_sizes) for row in laid.rows]
        [('3 + 3', (3,)), ('3 + 5', (3, 5)), ('3 + 7', (3, 7))]

    Reference:
        Section 4.2 of the CaC-Net paper.
    """
    if table not in VARIANTS:
        raise ValueError(f"table must be one of {', '.join(map(str, VARIANTS))}, the ablations; got {table}")
    known = [variant.row for variant in VARIANTS[table]]
    for row in (*(rows or ()), *([against] if against else [])):
        if row not in known:
            raise ValueError(f"Table {table} has no row {row!r}; its rows are {'; '.join(known)}")
    _require_full_network(table, base)
    if table == 2 and not (protocol.flip and len(protocol.scales) > 1):
        raise ValueError(
            f"Table 2 compares evaluation with and without flip and several scales; {protocol.to_text()} has not both: "
            "give --flip and several --scales, or no protocol, which is the paper's"
        )
    planned, left_out = [], {}
    for variant in VARIANTS[table]:
        if rows is not None and variant.row not in rows:
            left_out[variant.row] = "not chosen"
            continue
        changes, notes = dict(variant.changes), []
        if variant.deeper:
            backbone = deep_backbone or DEEPER.get(base.backbone)
            if backbone is None:
                reason = f"no deeper backbone goes with {base.backbone}; --deep-backbone NAME names one"
                if rows is not None:
                    raise ValueError(f"row {variant.row!r}: {reason}")
                left_out[variant.row] = reason
                continue
            changes |= {"backbone": backbone, "weights": _deep_weights(base, backbone, deep_weights)}
            if backbone != "resnet101":
                notes.append(f"{backbone} stands in for ResNet-101")
        recipe = replace(base, **changes)
        shown = _views(variant, protocol)
        size = recipe.input_size
        if size is not None and shown.crop_size != size:
            shown = replace(shown, crop_size=size)
            notes.append(f"it takes images of one size only, so it is scored in windows of {size} pixels")
        planned.append(PlannedRow(variant.row, recipe, shown, tuple(notes), variant.control, variant.ours))
    return Plan(table, base, protocol, tuple(planned), left_out, against or str(TABLES[table].reference))


def _require_full_network(table: int, base: Recipe) -> None:
    for name, value in FULL_NETWORK.items():
        if getattr(base, name) != value:
            raise ValueError(
                f"{name} is what the tables vary; the base of an ablation has {name}={value!r}, got "
                f"{getattr(base, name)!r}: leave it out"
            )
    if table == 2 and not base.auxiliary_weight:
        raise ValueError("auxiliary_weight=0 leaves nothing to compare in Table 2, whose first row sets it to 0 itself")


def _deep_weights(base: Recipe, backbone: str, deep_weights: str | None) -> str | None:
    if deep_weights is not None:
        return deep_weights
    if base.weights not in (None, "imagenet"):
        raise ValueError(
            f"weights={base.weights!r} are those of {base.backbone}; give the weights of {backbone} by --deep-weights, "
            "or choose the other rows by --rows"
        )
    return base.weights


def _views(variant: Variant, protocol: Protocol) -> Protocol:
    if variant.views == "all":
        return protocol
    return replace(protocol, scales=(1.0,), flip=variant.views == "mirrored")
