"""ProgressBar on a terminal and into a pipe: a bar here, whole lines there."""

import io
import itertools

import pytest

from keras_cacnet.progress import ProgressBar, verbosity_of_fit


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def output_of(monkeypatch):
    def run(progress_of, steps, stream=None, seconds=0.0):
        stream = stream or io.StringIO()
        monkeypatch.setattr("sys.stdout", stream)
        clock = itertools.count(0.0, seconds)
        monkeypatch.setattr("time.monotonic", lambda: next(clock))
        progress = progress_of()
        for _ in range(steps):
            progress.add()
        return progress, stream

    return run


def test_in_a_pipe_there_are_whole_lines_now_and_then(output_of):
    _, stream = output_of(lambda: ProgressBar("predicting", 7, "images"), 7, seconds=4.0)
    # A look at the clock takes 4 seconds, and a line takes a second look.
    assert stream.getvalue().splitlines() == [
        "predicting: 3 of 7 images",
        "predicting: 6 of 7 images",
        "predicting: 7 of 7 images",
    ]
    progress, stream = output_of(lambda: ProgressBar("predicting", 700, "images"), 700)
    progress.close()
    assert stream.getvalue() == "predicting: 700 of 700 images\n"


def test_of_an_unknown_number_the_end_is_told(output_of):
    progress, stream = output_of(lambda: ProgressBar("scoring", None, "batches"), 3)
    assert stream.getvalue() == ""
    progress.close()
    assert stream.getvalue() == "scoring: 3 batches\n"


def test_of_nothing_nothing_is_said(output_of):
    progress, stream = output_of(lambda: ProgressBar("scoring", 0), 0, seconds=60.0)
    progress.close()
    assert stream.getvalue() == ""


def test_on_a_terminal_there_is_a_bar(output_of):
    _, stream = output_of(lambda: ProgressBar("predicting", 3, "images"), 3, Terminal())
    assert "\r" in stream.getvalue()
    assert "3/3" in stream.getvalue()


def test_fit_shows_a_bar_where_somebody_sees_it(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    assert verbosity_of_fit("auto") == "auto"
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert [verbosity_of_fit(verbose) for verbose in ("auto", 0, 1, 2)] == [2, 0, 1, 2]
    notebook = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr("sys.stdout", notebook)
    assert verbosity_of_fit("auto") == "auto"
