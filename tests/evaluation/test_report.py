import json
import math
import sys

import numpy as np
import pytest

from keras_cacnet.datasets.unpacked import CONTEXT_NAMES
from keras_cacnet.evaluation import Protocol, Report

NAMES = ("sky", "sea", "a|b")


def slow_scores(truth, guess, classes):
    """Pixel accuracy and IoU written straight from their definitions, over sets of pixels."""
    right = sum(t == g for t, g in zip(truth, guess, strict=True)) / len(truth)
    iou = []
    for c in range(classes):
        is_truth = {i for i, t in enumerate(truth) if t == c}
        is_guess = {i for i, g in enumerate(guess) if g == c}
        union = is_truth | is_guess
        iou.append(len(is_truth & is_guess) / len(union) if union else math.nan)
    return right, iou


def confusion_of(truth, guess, classes):
    matrix = np.zeros((classes, classes), "int64")
    for t, g in zip(truth, guess, strict=True):
        matrix[t, g] += 1
    return matrix


@pytest.mark.parametrize("seed", range(3))
def test_scores_follow_their_definitions(seed):
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(0, 3, 200).tolist(), rng.integers(0, 3, 200).tolist()
    report = Report(confusion_of(truth, guess, 3), NAMES)
    accuracy, iou = slow_scores(truth, guess, 3)
    # Both are ratios of the same whole numbers in float64.
    assert report.pixel_accuracy == pytest.approx(accuracy, rel=1e-15)
    np.testing.assert_allclose(report.iou, iou, rtol=1e-15)
    assert report.mean_iou == pytest.approx(sum(iou) / 3, rel=1e-14)
    assert report.pixels == 200


def test_absent_classes_are_left_out_or_count_as_zero():
    matrix = np.array([[6, 2, 0], [0, 8, 0], [0, 0, 0]])
    ignore, zero = Report(matrix, NAMES), Report(matrix, NAMES, absent="zero")
    assert ignore.mean_iou == pytest.approx((0.75 + 0.8) / 2)
    assert zero.mean_iou == pytest.approx((0.75 + 0.8) / 3)
    assert np.isnan(ignore.iou[2])
    assert np.isnan(zero.iou[2])


def test_a_class_that_is_only_predicted_or_only_true_scores_zero_under_both_rules():
    matrix = np.array([[4, 0, 4], [0, 8, 0], [0, 0, 0]])
    for absent in ("ignore", "zero"):
        assert Report(matrix, NAMES, absent=absent).mean_iou == pytest.approx((0.5 + 1 + 0) / 3)


@pytest.mark.parametrize(("absent", "rule"), [("ignore", "left out of the mean (Keras' rule)"), ("zero", "scores 0")])
def test_every_rendering_states_the_rule_and_what_was_counted(absent, rule):
    report = Report(np.array([[6000, 2, 0], [0, 8, 0], [0, 0, 0]]), NAMES, absent, images=2, void_pixels=17)
    for text in (report.to_text(), report.to_markdown()):
        assert rule in text
        assert "2 images, 6,010 pixels scored, 17 void pixels left out" in text
        assert "absent here: a|b" in text
        assert f"{report.mean_iou:.4f}" in text
        assert f"{report.pixel_accuracy:.4f}" in text
    value = report.to_json()
    assert rule in value["absent_rule"]
    assert (value["images"], value["pixels"], value["void_pixels"]) == (2, 6010, 17)
    assert value["absent_classes"] == ["a|b"]


def test_the_text_has_a_line_per_class_in_columns():
    lines = Report(np.array([[6, 2, 0], [0, 8, 0], [0, 0, 0]]), NAMES).to_text().splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("class"))
    assert lines[header + 1].split() == ["sky", "0.7500", "0.7500", "1.0000", "0.8571", "8"]
    assert lines[header + 3].split() == ["a|b", "-", "-", "-", "-", "0"]
    assert len({len(line) for line in lines[header:]}) == 1


def test_markdown_keeps_its_columns_whatever_the_class_names():
    table = [line for line in Report(np.eye(3, dtype="int64"), NAMES).to_markdown().splitlines() if "|" in line]
    assert table[-1] == "| a\\|b | 1.0000 | 1.0000 | 1.0000 | 1.0000 | 1 |"
    assert {line.replace("\\|", "").count("|") for line in table} == {7}


@pytest.mark.parametrize("pixels", [0, 1])
def test_json_is_strict(pixels):
    report = Report(np.diag([pixels, 0, 0]), NAMES)
    text = json.dumps(report.to_json(), allow_nan=False)
    value = json.loads(text)
    assert value["classes"][2] == {
        "name": "a|b",
        **dict.fromkeys(("iou", "accuracy", "precision", "f1")),
        "pixels": 0,
    }
    assert value["mean_iou"] == (1.0 if pixels else None)
    assert value["confusion"] == [[pixels, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_nothing_scored_is_undefined_and_not_zero():
    report = Report(np.zeros((3, 3), "int64"), NAMES, absent="zero")
    assert math.isnan(report.pixel_accuracy)
    assert math.isnan(report.mean_iou)
    assert "mean IoU        -" in report.to_text()


def test_counts_beyond_float32_stay_exact():
    big = 2**40 + 1
    assert Report(np.diag([big, 1, 0]), NAMES).to_json()["pixels"] == big + 1


@pytest.mark.parametrize("matrix", [np.eye(2, dtype="int64"), np.eye(3), np.zeros(9, "int64")])
def test_other_matrices_are_refused(matrix):
    with pytest.raises(ValueError, match=r"whole numbers of shape \(3, 3\)"):
        Report(matrix, NAMES)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="absent must be 'ignore' or 'zero', got 'drop'"):
        Report(np.eye(3, dtype="int64"), NAMES, absent="drop")


def test_text_and_markdown_state_the_protocol_and_the_run():
    report = Report(np.eye(3, dtype="int64"), NAMES)
    protocol = Protocol((0.5, 1.0), flip=True, crop_size=512)
    assert f"protocol: {protocol.to_text()}" in report.to_text(protocol)
    text = report.to_markdown(protocol, {"run": "runs/a", "checkpoint": "best"})
    assert f"run: `runs/a`, checkpoint: `best`, protocol: {protocol.to_text()}." in text
    assert "protocol" not in report.to_text() + report.to_markdown()


def test_contexts_59_classes_have_their_figure_beside_60_classes():
    """Against the mean over a 60-class matrix whose background is always missed."""
    rng = np.random.default_rng(0)
    known = rng.integers(1, 50, (59, 59))
    with_background = np.zeros((60, 60), "int64")
    with_background[1:, 1:] = known
    of_60 = Report(with_background, ("background", *CONTEXT_NAMES), absent="zero")
    for names in (CONTEXT_NAMES, tuple(sorted(CONTEXT_NAMES))):
        report = Report(known, names)
        assert report.mean_iou_of_60 == pytest.approx(of_60.mean_iou, rel=1e-14)
        figure = f"{report.mean_iou_of_60:.4f}"
        assert f"x 59/60   {figure}, beside figures over 60 classes" in report.to_text()
        assert f"Mean IoU x 59/60, beside figures over 60 classes: **{figure}**." in report.to_markdown()
        assert report.to_json()["mean_iou_of_60"] == report.mean_iou_of_60 < report.mean_iou
    others = (of_60, Report(known, tuple(map(str, range(59)))), Report(np.eye(3, dtype="int64"), NAMES))
    for other in others:
        assert other.mean_iou_of_60 is None
        assert "59/60" not in other.to_text() + other.to_markdown()
        assert "mean_iou_of_60" not in other.to_json()
    nothing = Report(np.zeros((59, 59), "int64"), CONTEXT_NAMES)
    assert nothing.to_json()["mean_iou_of_60"] is None


@pytest.mark.parametrize(
    ("confusion", "void", "told"),
    [
        ([[0, 0], [0, 0]], 9, "every pixel of the masks is void"),
        ([[3, 1], [0, 0]], 5, "the masks hold the first class, 'sky', and void (5 pixels) and no other class"),
        ([[4, 0], [0, 0]], 0, "the masks hold the first class, 'sky', and no other class"),
    ],
)
def test_masks_that_hold_next_to_nothing_are_told(confusion, void, told):
    """Masks of 0 and 255 where 255 was meant as a class, and masks divided by 255, look so."""
    report = Report(np.array(confusion), ("sky", "sea"), images=1, void_pixels=void)
    assert report.to_json()["warning"].startswith(told)
    assert f"warning: {told}" in report.to_text()
    assert f"Warning: {told}" in report.to_markdown()


def test_masks_with_another_class_are_no_reason_to_warn():
    for confusion, names in (([[0, 0], [1, 0]], ("sky", "sea")), ([[4]], ("sky",))):
        report = Report(np.array(confusion), names, images=1, void_pixels=5)
        assert report.warning is None
        assert "warning" not in report.to_json()
        assert "arning" not in report.to_text() + report.to_markdown()


def test_precision_and_f1_follow_their_definitions():
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    report = Report(confusion_of(truth, guess, 3), NAMES)
    for c in range(3):
        hits = np.sum((truth == c) & (guess == c))
        precision, recall = hits / np.sum(guess == c), hits / np.sum(truth == c)
        assert report.precision[c] == pytest.approx(precision, rel=1e-15)
        assert report.class_accuracy[c] == pytest.approx(recall, rel=1e-15)
        assert report.f1[c] == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-14)
    # Never there and never predicted; never predicted only.
    absent = Report(np.array([[6, 0, 0], [2, 0, 0], [0, 0, 0]]), NAMES)
    np.testing.assert_array_equal(absent.precision, [0.75, np.nan, np.nan])
    np.testing.assert_allclose(absent.f1, [12 / 14, 0, np.nan])


def test_outlines_are_shown_where_they_were_compared():
    report = Report(np.eye(3, dtype="int64"), NAMES, boundaries=np.array([[2, 1, 2, 1]] * 3))
    assert report.to_json()["classes"][0]["boundary_f"] == 0.5
    assert report.to_json()["boundaries"] == [[2, 1, 2, 1]] * 3
    for text in (report.to_text(), report.to_markdown(), report._repr_html_()):
        assert "boundary F" in text
        assert "0.5000" in text
    assert "boundary" not in json.dumps(Report(np.eye(3, dtype="int64"), NAMES).to_json())


def test_a_notebook_shows_a_table_a_figure_and_a_data_frame(monkeypatch):
    report = Report(np.array([[6, 2, 0], [0, 8, 0], [0, 0, 0]]), ("<sky>", "sea", "a|b"))
    shown = report._repr_html_()
    assert "&lt;sky&gt;" in shown
    assert "<sky>" not in shown
    assert shown.count("<tr>") == 4
    (axes,) = report.plot().axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["<sky>", "sea", "a|b"]
    widths = [[bar.get_width() for bar in bars] for bars in axes.containers]
    np.testing.assert_array_equal(widths[0], np.nan_to_num(report.iou))
    frames = []
    members = {"DataFrame": lambda rows, index: frames.append((rows, index)), "Index": lambda names, name: names}
    monkeypatch.setitem(sys.modules, "pandas", type("pandas", (), members))
    report.to_dataframe()
    ((rows, index),) = frames
    assert list(rows) == ["IoU", "accuracy", "precision", "F1", "pixels"]
    assert index == report.names
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="a table of scores as a data frame needs pandas .*: pip install pandas"):
        report.to_dataframe()
