import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from keras_cacnet.visualization import curve


@pytest.fixture
def lines(monkeypatch, tmp_path):
    """Draws a log and gives back the points of every line, by panel and label."""

    def draw(text):
        drawn = []
        savefig = Figure.savefig

        def keep(figure, *arguments, **options):
            drawn.append(figure)
            savefig(figure, *arguments, **options)

        monkeypatch.setattr(Figure, "savefig", keep)
        (tmp_path / "log.csv").write_text(text)
        curve(tmp_path / "log.csv", tmp_path / "curve.png")
        with Image.open(tmp_path / "curve.png") as picture:
            assert picture.format == "PNG"
        return [
            (axes.get_ylabel(), {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()})
            for axes in drawn[0].axes
        ]

    return draw


def test_losses_and_scores_have_panels_of_their_own(lines):
    panels = lines(
        "epoch,learning_rate,loss,mean_iou,val_loss,val_mean_iou\n0,0.1,1.5,0.2,1.6,0.1\n1,0.1,1.2,0.3,1.4,0.2\n"
    )
    assert panels == [
        ("loss", {"loss, training": [[1, 1.5], [2, 1.2]], "loss, validation": [[1, 1.6], [2, 1.4]]}),
        ("score", {"mean_iou, training": [[1, 0.2], [2, 0.3]], "mean_iou, validation": [[1, 0.1], [2, 0.2]]}),
    ]


def test_epochs_without_a_value_are_gaps(lines):
    panels = lines("epoch,loss,val_mean_iou\n0,nan,\n1,1.2,NA\n2,inf,0.2\n3,1.0,0.3\n")
    assert panels == [
        ("loss", {"loss, training": [[2, 1.2], [4, 1.0]]}),
        ("score", {"mean_iou, validation": [[3, 0.2], [4, 0.3]]}),
    ]


def test_an_epoch_that_was_run_again_counts_as_it_was_last_written(lines):
    panels = lines("epoch,loss\n0,1.5\n1,1.2\n2,9\nepoch,loss\n1,1.1\n2,1.0\n")
    assert panels == [("loss", {"loss, training": [[1, 1.5], [2, 1.1], [3, 1.0]]})]


def test_a_line_that_a_kill_cut_off_is_left_out(lines):
    assert lines("epoch,loss\n0,1.5\n1,1.") == [("loss", {"loss, training": [[1, 1.5]]})]


def test_rows_longer_and_shorter_than_the_header_are_taken(lines):
    panels = lines("epoch,loss,val_loss\n0,1.5,1.6,0.3\n1,1.2\n")
    assert panels == [("loss", {"loss, training": [[1, 1.5], [2, 1.2]], "loss, validation": [[1, 1.6]]})]


def test_the_log_of_keras_is_drawn_after_every_epoch_and_after_a_resume(lines, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    x, y = np.ones((4, 2)), np.ones((4, 1))
    log = tmp_path / "keras.csv"
    for start, end in ((0, 2), (2, 3)):
        logger = keras.callbacks.CSVLogger(log, append=start > 0)
        model.fit(x, y, validation_data=(x, y), initial_epoch=start, epochs=end, callbacks=[logger], verbose=0)
    panels = dict(lines(log.read_text()))
    assert set(panels["score"]) == {"mae, training", "mae, validation"}
    assert [point[0] for point in panels["loss"]["loss, validation"]] == [1, 2, 3]


def test_other_logs_are_refused_by_name(tmp_path):
    log = tmp_path / "log.csv"
    with pytest.raises(FileNotFoundError, match=r"log\.csv: no such training log"):
        curve(log, tmp_path / "curve.png")
    for text, message in (
        ("", "no column 'epoch'"),
        ("a,b\n1,2\n", "no column 'epoch'"),
        ("epoch,loss\n", "no epoch has been finished"),
        ("epoch,loss\n0,nan\n", "no epoch has been finished"),
        ("epoch,learning_rate\n0,0.1\n", "neither a loss nor a score"),
    ):
        log.write_text(text)
        with pytest.raises(ValueError, match=rf"log\.csv: .*{message}"):
            curve(log, tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "log.csv").write_text("epoch,loss\n0,1.5\n")
    curve("~/log.csv", "~/curve.png")
    assert (tmp_path / "curve.png").is_file()


def test_the_best_epoch_is_marked_and_named(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss,val_loss,val_mean_iou\n0,1.5,1.1,0.2\n1,1.2,1.3,0.4\n2,1.1,1.2,0.3\n")
    figure = curve(tmp_path / "log.csv")
    assert figure.get_suptitle() == f"{tmp_path.name}; best val_mean_iou 0.4 in epoch 2"
    losses, scores = figure.axes
    assert not losses.collections
    np.testing.assert_array_equal(scores.collections[0].get_offsets(), [[2, 0.4]])


def test_one_huge_value_leaves_the_others_visible(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss\n0,2.0\n1,1e9\n2,1.5\n3,1.0\n")
    (axes,) = curve(tmp_path / "log.csv").axes
    low, high = axes.get_ylim()
    assert (low, high) == pytest.approx((0.92, 2.08))
    assert [text.get_text() for text in axes.texts] == ["1 value beyond, up to 1e+09"]


def test_what_fit_returns_is_drawn():
    history = keras.callbacks.History()
    history.epoch = [0, 1, 2, 3]
    history.history = {"loss": [2.0, 1.5, float("nan"), 1.0], "val_mean_iou": [0.1, 0.3]}
    losses, scores = curve(history).axes
    assert losses.get_lines()[0].get_xydata().tolist() == [[1, 2.0], [2, 1.5], [4, 1.0]]
    assert scores.get_lines()[0].get_xydata().tolist() == [[2, 0.1], [4, 0.3]]
