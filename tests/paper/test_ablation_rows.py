"""The rows that are run against the rows that the paper prints."""

import re
from dataclasses import replace

import pytest

from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import TABLES, VARIANTS, plan
from keras_cacnet.training import Recipe

PAPERS = Protocol((0.5, 1.0, 1.5), flip=True, crop_size=512)


@pytest.fixture(scope="module")
def plans():
    return {table: plan(table, Recipe(weights="imagenet"), PAPERS) for table in VARIANTS}


def papers(laid):
    return [row for row in laid.rows if not row.ours]


def test_every_row_of_the_paper_is_there_in_its_order(plans):
    assert sorted(plans) == [1, 2, 3, 4, 5, 6]
    for table, laid in plans.items():
        assert tuple(row.name for row in laid.rows if not row.ours) == TABLES[table].names
        assert not {row.name for row in laid.rows if row.ours} & set(TABLES[table].names)
        assert laid.reference in TABLES[table].names
        assert not laid.left_out


def test_the_marks_of_table_1_are_the_recipes(plans):
    for row in papers(plans[1]):
        cells = {column: TABLES[1].cell(row.name, column) for column in TABLES[1].columns}
        assert row.recipe.num_heads == (2 if cells["CaC"] else 0)
        assert row.recipe.global_pooling == bool(cells["GP"])
        assert row.recipe.backbone == cells["Backbone"].lower()
        assert row.recipe.weights == "imagenet"
        assert row.protocol == PAPERS


def test_the_marks_of_table_2_are_training_and_protocol(plans):
    for row in plans[2].rows:
        cells = {column: TABLES[2].cell(row.name, column) for column in TABLES[2].columns}
        assert (row.recipe.auxiliary_weight > 0) == bool(cells["DS"])
        assert row.protocol.flip == bool(cells["Flip"])
        assert (len(row.protocol.scales) > 1) == bool(cells["MS"])
        assert row.protocol.crop_size == 512
    assert plans[2].rows[0].protocol == plans[2].rows[1].protocol
    assert len({row.recipe for row in plans[2].rows}) == 2


def test_the_names_of_tables_3_to_6_are_the_recipes(plans):
    for row in plans[3].rows:
        assert row.name == f"H = {row.recipe.num_heads}"
    for row in plans[4].rows:
        sizes = row.recipe.kernel_sizes
        assert row.name == "{} + {}".format(*(sizes if len(sizes) == 2 else sizes * 2))
    for row in plans[5].rows:
        assert row.recipe.dilation_rates == tuple(map(int, re.findall(r"\d", row.name)))
    names = {
        "none": "None",
        "fixed": "Fixed",
        "fc": "FC",
        "gap": "GAP",
        "se": "SEHead",
        "enc": "EncHead",
        "cac": "Ours",
    }
    assert [row.name for row in plans[6].rows] == [names[row.recipe.reweighting] for row in plans[6].rows]


def test_rows_change_nothing_else(plans):
    varied = {
        1: {"num_heads", "global_pooling", "backbone", "reweighting"}, 2: {"auxiliary_weight"}, 3: {"num_heads"},
        4: {"kernel_sizes"}, 5: {"dilation_rates"}, 6: {"reweighting"},
    }  # fmt: skip
    for table, laid in plans.items():
        changed = set()
        for row in laid.rows:
            pairs = zip(vars(row.recipe).items(), vars(laid.base).values(), strict=True)
            changed |= {name for (name, ours), before in pairs if ours != before}
        assert changed == varied[table]


def test_cac_net_in_full_is_one_recipe_in_all_tables(plans):
    full = {1: "CaC + GP", 2: "DS + Flip + MS", 3: "H = 2", 4: "3 + 3", 5: "{1, 2, 3}", 6: "Ours"}
    recipes = {row.recipe for table, laid in plans.items() for row in laid.rows if row.name == full[table]}
    assert len(recipes) == 1


def test_controls_differ_from_their_rows_in_the_reweighting_only(plans):
    controls = {(table, row.name): row.recipe for table, laid in plans.items() for row in laid.rows if row.ours}
    assert list(controls) == [(1, "none"), (1, "none + GP"), (6, "None")]
    assert controls[6, "None"] == controls[1, "none + GP"]
    compared = {(table, row.name): row for table, laid in plans.items() for row in laid.rows if row.control}
    assert [name for table, name in compared if table == 1] == ["CaC", "CaC + GP"]
    assert {name for table, name in compared if table == 6} == set(TABLES[6].names)
    for (table, _), row in compared.items():
        assert replace(row.recipe, reweighting="none") == controls[table, row.control]


def test_the_row_to_compare_with():
    assert plan(1, Recipe(), PAPERS, ["CaC", "none"]).reference == "FCN"
    assert plan(1, Recipe(), PAPERS, ["CaC", "none"], against="none").reference == "none"
    with pytest.raises(ValueError, match="Table 1 has no row 'nothing'; its rows are FCN; none; none \\+ GP; CaC;"):
        plan(1, Recipe(), PAPERS, against="nothing")


def test_fc_is_scored_in_windows_of_its_one_size():
    whole = Protocol((1.0,))
    laid = plan(6, Recipe(crop_size=96), whole)
    by_name = {row.name: row for row in laid.rows}
    assert by_name["FC"].protocol == replace(whole, crop_size=96)
    assert "windows of 96 pixels" in by_name["FC"].notes[0]
    assert all(row.protocol == whole and not row.notes for name, row in by_name.items() if name != "FC")
    same = plan(6, Recipe(crop_size=96), Protocol(crop_size=96))
    assert not any(row.notes for row in same.rows)


def test_the_deeper_backbone():
    small = Recipe(backbone="resnet18")
    last = "CaC + GP, ResNet-101"
    laid = plan(1, small, PAPERS)
    assert [row.name for row in laid.rows] == ["FCN", "none", "none + GP", "CaC", "CaC + GP"]
    assert "no deeper backbone goes with resnet18; --deep-backbone" in laid.left_out[last]
    with pytest.raises(ValueError, match="no deeper backbone goes with resnet18"):
        plan(1, small, PAPERS, rows=[last])
    row = plan(1, small, PAPERS, deep_backbone="resnet34").rows[-1]
    assert (row.recipe.backbone, row.notes) == ("resnet34", ("resnet34 stands in for ResNet-101",))
    with pytest.raises(
        ValueError, match=r"weights='r50.h5' are those of resnet50; give .* resnet101 by --deep-weights"
    ):
        plan(1, Recipe(weights="r50.h5"), PAPERS)
    row = plan(1, Recipe(weights="r50.h5"), PAPERS, deep_weights="r101.h5").rows[-1]
    assert (row.recipe.backbone, row.recipe.weights, row.notes) == ("resnet101", "r101.h5", ())
    assert len(plan(1, Recipe(weights="r50.h5"), PAPERS, rows=["FCN", "CaC"]).rows) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((7, Recipe(), PAPERS), "table must be one of 1, 2, 3, 4, 5, 6, the ablations; got 7"),
        ((3, Recipe(), PAPERS, ["H = 5"]), "Table 3 has no row 'H = 5'; its rows are H = 1; H = 2"),
        ((3, Recipe(num_heads=4), PAPERS), "num_heads is what the tables vary; .*num_heads=2, got 4"),
        ((6, Recipe(dilation_rates=(1,)), PAPERS), "dilation_rates is what the tables vary"),
        ((2, Recipe(), Protocol()), "Table 2 compares .* scale 1.0 of the image, not mirrored, whole has not both"),
        ((2, Recipe(), Protocol((0.5, 1.0))), "give --flip"),
        ((2, Recipe(auxiliary_weight=0), PAPERS), "leaves nothing to compare in Table 2"),
    ],
)
def test_what_makes_no_table_is_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        plan(*arguments)
