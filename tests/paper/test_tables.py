"""The paper's figures against its text, and against the arithmetic that ties them together."""

import os
import re
import subprocess
import sys

import pytest

from keras_cacnet.paper import CLAIMS, TABLES, VOC_COLUMNS

LOST = {(3, f"H = {heads}", "pixAcc") for heads in range(1, 5)}
# The tables in the order of the scan's blocks of tab-separated lines; Table 7 is plain text there.
BLOCKS = (1, 2, 3, 4, 5, 6, 8, 9, 10)


@pytest.fixture(scope="module")
def paper(shared_data):
    path = shared_data.parent / "paper.txt"
    if not path.is_file():
        pytest.skip("the paper's text is not at ../shared/paper.txt")
    return path.read_text()


@pytest.fixture(scope="module")
def printed(paper):
    """The scan's tables: for each number, its lines as lists of cells, headers left out."""
    blocks, block = [], []
    for line in [*paper.splitlines(), ""]:
        if "\t" in line:
            block.append([cell.strip() for cell in line.split("\t")])
        elif block:
            blocks.append([cells for cells in block if any(re.fullmatch(r"\d+\.\d+", cell) for cell in cells[1:])])
            block = []
    return dict(zip(BLOCKS, (found for found in blocks if found), strict=True))


@pytest.mark.parametrize("number", [number for number in BLOCKS if not TABLES[number].transposed])
def test_rows_are_those_of_the_paper(printed, number):
    table = TABLES[number]
    first = table.columns[0]
    lines = printed[number]
    assert len(lines) == len(table.rows)
    for line, name in zip(lines, table.names, strict=True):
        scores = [
            column for column in table.columns if column not in ("Method", "Backbone", "CaC", "GP", "DS", "Flip", "MS")
        ]
        assert [table.cell(name, column) for column in scores] == line[-len(scores) :]
        assert table.cell(name, first) == line[0]
        for column in set(table.columns) - set(scores) - {first}:
            cell = line[table.columns.index(column)]
            plain = re.sub(r"\\[a-z]+\{-\}|[${}\s]|\\(rm|bf)", lambda found: "-" if "-" in found[0] else "", cell)
            assert table.cell(name, column) == ("✓" if "✓" in cell or "checkmark" in cell else plain)


@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_columns_are_those_of_the_paper(printed, number):
    table = TABLES[number]
    count = len(table.names)
    lines = {line[-count - 1]: line[-count:] for line in printed[number]}
    for column in table.columns:
        cells = [table.cell(name, column) for name in table.names]
        if None in cells:
            assert column not in lines
        else:
            assert cells == lines[column]


def test_the_costs_are_those_of_the_paper(paper):
    (line,) = [line for line in paper.splitlines() if "225G" in line]
    found = re.findall(r"\+?\d+[MG]", line)
    cells = [cell for row in TABLES[7].rows for cell in row.cells]
    assert sorted(found) == sorted(cells)
    for column in TABLES[7].columns:
        order = [TABLES[7].cell(name, column) for name in TABLES[7].names]
        if column == "FLOPS":  # the scan has the parameters out of order
            assert [cell for cell in found if cell in order] == order


def test_what_the_text_prints_is_there(paper):
    text = paper.replace("\\%", "%")
    for claim in CLAIMS:
        for figure in claim.printed:
            assert figure in text, (claim.key, figure)
    assert "3+3, 3+5, 3+7" in text  # the columns of Table 4


def test_every_cell_is_a_figure_or_marked_as_lost():
    for number, table in TABLES.items():
        assert number == table.number
        assert len(set(table.names)) == len(table.names)
        assert table.reference is None or table.reference in table.names
        assert table.caption
        assert table.dataset
        for row in table.rows:
            assert len(row.cells) == len(table.columns)
            for column in table.columns:
                lost = table.cell(row.name, column) is None
                assert lost == ((number, row.name, column) in LOST)
                assert lost == any(remark.kind == "lost" for remark in table.remarks_on(row.name, column))
        for remark in table.remarks:
            for row_name, column in remark.cells:
                table.cell(row_name, column)


def test_the_same_network_has_the_same_mean_iou_everywhere():
    places = {
        1: "CaC + GP",
        2: "DS + Flip + MS",
        3: "H = 2",
        4: "3 + 3",
        5: "{1, 2, 3}",
        6: "Ours",
        8: "Ours, ResNet-50",
    }
    mean_iou = {TABLES[number].value(row, TABLES[number].columns[-1]) for number, row in places.items()}
    assert mean_iou == {52.5}
    assert TABLES[1].value("CaC + GP, ResNet-101", "mIoU%") == TABLES[8].value("Ours", "mIoU%")
    # Pixel accuracy is not the same everywhere, and the one that differs is marked.
    for number in (1, 2, 4, 5, 6):
        table, row = TABLES[number], places[number]
        (column,) = [column for column in table.columns if column.startswith("pixAcc")]
        marked = any(remark.kind == "contradiction" for remark in table.remarks_on(row, column))
        assert (table.value(row, column) != 80.2) == marked


def test_every_contradicted_figure_differs_from_what_the_remark_says():
    for table in TABLES.values():
        for remark in table.remarks:
            if remark.kind == "contradiction" and remark.text[0].isdigit():
                ((row, column),) = remark.cells
                assert float(remark.text.split()[0]) != table.value(row, column)


def test_table_10_implies_a_plausible_background():
    """mIoU is the mean over 21 classes of which 20 are printed; each figure is rounded to 0.05."""
    table = TABLES[10]
    implied = {}
    for name in table.names:
        classes = [table.value(name, column) for column in VOC_COLUMNS]
        assert len(classes) == 20
        implied[name] = 21 * table.value(name, "mIoU%") - sum(classes)
        # Background is the easiest class of VOC: above the network's own mean, and an IoU.
        assert table.value(name, "mIoU%") < implied[name] < 100
    # Rounding moves them by up to 21 * 0.05 + 20 * 0.05 = 2.05.
    assert implied["FCN"] == pytest.approx(min(implied.values())) == pytest.approx(91.2)
    assert implied["APCNet"] == pytest.approx(max(implied.values())) == pytest.approx(96.1)


def gain(number, better, worse, column):
    return round(TABLES[number].value(better, column) - TABLES[number].value(worse, column), 2)


def lead(number, column):
    table = TABLES[number]
    others = [table.value(name, column) for name in table.names if not name.startswith("Ours")]
    return round(table.value("Ours", column) - max(others), 2)


def deeper_and_beaten():
    table = TABLES[8]
    deeper = [name for name in table.names if re.match("ResNet1", table.cell(name, "Backbone")) and name != "Ours"]
    return len(deeper), sum(table.value(name, "mIoU%") < table.value("Ours, ResNet-50", "mIoU%") for name in deeper)


def won_classes():
    table = TABLES[10]
    others = [name for name in table.names if name != "Ours"]
    return sum(table.value("Ours", c) > max(table.value(name, c) for name in others) for c in VOC_COLUMNS)


def mean_ious(number):
    return [TABLES[number].value(name, "mIoU") for name in TABLES[number].names]


C, S, N = 512, 3, 64 * 64
CAC = C * C + S * S * C
CHECKS = {
    "baseline": lambda: (TABLES[1].value("FCN", "pixAcc%"), TABLES[1].value("FCN", "mIoU%")) == (76.0, 45.8),
    "gain of CaC": lambda: (gain(1, "CaC", "FCN", "pixAcc%"), gain(1, "CaC", "FCN", "mIoU%")) == (3.8, 6.2),
    "gain of global pooling": lambda: gain(1, "CaC + GP", "CaC", "mIoU%") == 0.5,
    "gain of deep supervision": lambda: gain(2, "DS", "none", "mIoU%") == 0.8,
    "mIoU of FC": lambda: TABLES[6].value("FC", "mIoU") == 51.7,
    "mIoU of GAP": lambda: TABLES[6].value("GAP", "mIoU") == 51.9,
    "parameters of FC": lambda: 0.5 < N * S * S * C / CAC < 2,
    "parameters of a full FC": lambda: 0.5 < (N * S * S * C * C / CAC) / N < 2,
    "parameters of GAP": lambda: S * S * C * C > 2 * CAC,
    "parameters of larger kernels": lambda: C * C + 49 * C > 2 * CAC,
    "more heads": lambda: max(mean_ious(3)) == mean_ious(3)[1] and mean_ious(3)[1:] == sorted(mean_ious(3)[1:])[::-1],
    "larger kernels": lambda: 0 < mean_ious(4)[0] - max(mean_ious(4)[1:]) < 0.5,
    "dilation": lambda: max(mean_ious(5)) == mean_ious(5)[2] > mean_ious(5)[0],
    "spatially varying": lambda: min(mean_ious(6)[:3]) > max(mean_ious(6)[3:5]),
    "extra cost": lambda: all(
        TABLES[7].value("Ours", column) < 0.1 * TABLES[7].value("Backbone", column) for column in TABLES[7].columns
    ),
    "two times the parameters": lambda: all(
        TABLES[7].value(name, "Parameters") >= 2 * TABLES[7].value("Ours", "Parameters") for name in ("APCNet", "DMNet")
    ),
    "lead over APCNet and DMNet": lambda: gain(8, "Ours", "APCNet", "mIoU%") > 1 < gain(8, "Ours", "DMNet", "mIoU%"),
    "ResNet-50 against deeper backbones": lambda: deeper_and_beaten()[1] > deeper_and_beaten()[0] / 2,
    "best on PASCAL Context": lambda: lead(8, "mIoU%") > 0,
    "mIoU on VOC 2012": lambda: TABLES[10].value("Ours", "mIoU%") == 85.1 and lead(10, "mIoU%") > 0,
    "most categories of VOC 2012": lambda: won_classes() > 10,
    "mIoU on ADE20K": lambda: TABLES[9].value("Ours", "mIoU%") == 46.12 and lead(9, "mIoU%") > 0,
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.key)
def test_claims_hold_or_not_as_stated(claim):
    assert CHECKS[claim.key]() == claim.holds


def test_figures_in_the_findings_are_computed():
    found = {claim.key: claim.found for claim in CLAIMS}
    assert len(found) == len(CLAIMS) == len(CHECKS)
    assert f"= {CAC:,} for CaC" in found["parameters of FC"]
    assert f"= {N * S * S * C:,} at 64x64 positions, {N * S * S * C / CAC:.0f} times" in found["parameters of FC"]
    assert f"{S * S * C * C / CAC:.1f} h w times" in found["parameters of a full FC"]
    assert f"{S * S * C * C:,} against {CAC:,}" in found["parameters of GAP"]
    larger = C * C + 49 * C
    assert (
        f"{larger:,} parameters at c = 512, {100 * (larger / CAC - 1):.1f} % more"
        in (found["parameters of larger kernels"])
    )
    assert "of the 10 " in found["ResNet-50 against deeper backbones"]
    assert deeper_and_beaten() == (10, 4)
    assert won_classes() == 8
    assert f"{lead(8, 'mIoU%') + 54.7:.1f}; APCNet" in found["best on PASCAL Context"]


def test_wrong_names_are_answered_with_the_right_ones():
    with pytest.raises(ValueError, match="Table 4 has no row '3 \\+ 9'; its rows are 3 \\+ 3, 3 \\+ 5, 3 \\+ 7"):
        TABLES[4].cell("3 + 9", "mIoU")
    with pytest.raises(ValueError, match="Table 4 has no column 'mIoU%'; it has pixAcc, mIoU"):
        TABLES[4].cell("3 + 3", "mIoU%")
    with pytest.raises(ValueError, match="'Ours', 'Method' is 'Ours' and no number"):
        TABLES[9].value("Ours", "Method")


def test_it_needs_no_tensorflow():
    code = "import sys; sys.modules['tensorflow'] = None; from keras_cacnet.paper import TABLES; print(len(TABLES))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "10", result.stderr
