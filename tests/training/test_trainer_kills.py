"""Real training processes that are killed, stopped and run out of disk, and go on; the end is the undisturbed one's."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.training.checkpoint_file import read_progress
from keras_cacnet.training.run import Run

SETTINGS = "backbone=resnet14_narrow head_channels=8 crop_size=32 batch_size=2 learning_rate=0.05 seed=3".split()
KILLS = 20
LONG_S = 300


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_coast):
    """With three images to score, which two replicas cannot share, of two sizes."""
    root = write_coast(tmp_path_factory.mktemp("data") / "coast")
    for kind in ("images", "labels"):
        with Image.open(root / kind / "val" / "0.png") as image:
            image.crop((3, 0, 36, 40)).save(root / kind / "val" / "2.png")
    return root


def words(data, output, *more, epochs=3, save_every=1):
    start = [sys.executable, "-m", "keras_cacnet", "train", "--data", data, "--output", output, "--resume"]
    return [
        *map(str, start),
        *(
            "--save-every",
            str(save_every),
            "--verbose",
            "0",
            "--no-report",
            *more,
            "--set",
            *SETTINGS,
            f"epochs={epochs}",
        ),
    ]


def start(command, **options):
    return subprocess.Popen(
        command,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(command, **options):
    process = start(command, **options)
    try:
        out, err = process.communicate(timeout=LONG_S)
    finally:
        process.kill()
    return process.returncode, out, err


def whole(data, output, *more, **options):
    status, _, err = finished(words(data, output, *more, **options))
    assert status == 0, err
    return output


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    return whole(data, tmp_path_factory.mktemp("runs") / "whole")


def wait_for(condition, process):
    end = time.monotonic() + LONG_S
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.001)


def stamp(path):
    return path.stat().st_mtime_ns if path.exists() else 0


def assert_same_end(output, other, tolerance=0.0):
    """Checkpoints with weights, optimizer and progress, and the log: all numbers."""
    assert worst(output, other) <= tolerance


def worst(output, other):
    one, two = numbers(output), numbers(other)
    assert one.keys() == two.keys()
    return max(np.abs(one[name] - two[name]).max() / max(np.abs(two[name]).max(), 1) for name in one)


def numbers(output):
    found = {}
    for which in ("last", "best"):
        model = Run(output).load_model(which, compile=True)
        progress = read_progress(output / f"{which}.keras")
        values = [*model.get_weights(), *(np.array(state) for state in model.optimizer.variables), *progress.metrics]
        values += [np.array([progress.step, progress.epochs, progress.best])]
        found |= {f"{which} {index}": np.asarray(value, "float64") for index, value in enumerate(values)}
    rows = [line.split(",") for line in (output / "log.csv").read_text().split()]
    assert len({row[1] for row in rows}) == len(rows)
    return found | {"log": np.array(rows[1:], "float64")}


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(data, tmp_path):
    """Every other kill hits a checkpoint that is being written."""
    reference = whole(data, tmp_path / "whole", epochs=30)
    output, moments, in_writes = tmp_path / "killed", random.Random(0), 0
    last, part = output / "last.keras", output / ".last.part.keras"
    for kill in range(KILLS):
        part.unlink(missing_ok=True)
        before = stamp(last)
        process = start(words(data, output, epochs=30))
        try:
            # Each life gets as far as a checkpoint, or the run would never end.
            wait_for(lambda: stamp(last) > before, process)  # noqa: B023
            if kill % 2:
                wait_for(part.exists, process)
            time.sleep(moments.uniform(0, 0.1 if kill % 2 else 0.5))
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        in_writes += part.exists()
    assert in_writes >= KILLS // 4
    assert read_progress(last).step < 60
    whole(data, output, epochs=30)
    assert_same_end(output, reference)


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_a_signal_saves_and_ends_with_0(data, tmp_path, name):
    # Too many epochs to come to the end before the signal, and no checkpoint but the one that it asks for.
    command = words(data, tmp_path / "run", epochs=10_000, save_every=10_000_000)
    process = start(command)
    try:
        wait_for((tmp_path / "run" / "log.csv").exists, process)
        process.send_signal(signal.Signals[name])
        _, err = process.communicate(timeout=LONG_S)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert f"stopped by {name} after step" in err
    assert "go on with --resume" in err
    progress = read_progress(tmp_path / "run" / "last.keras")
    assert f"after step {progress.step} of 20000" in err


@pytest.mark.slow
def test_a_run_stopped_by_a_signal_goes_on_exactly(data, undisturbed, tmp_path):
    output = tmp_path / "run"
    process = start(words(data, output))
    try:
        wait_for((output / "last.keras").exists, process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LONG_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert read_progress(output / "last.keras").step < 6
    assert_same_end(whole(data, output), undisturbed)


LIMITED = """
import resource, sys
from keras_cacnet.cli import main
from keras_cacnet.training.checkpoints import Checkpoints
after_step = Checkpoints.after_step

def limited(self, loop):
    if loop.step == 3:  # from now on no file may grow beyond 100 kB
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    after_step(self, loop)

Checkpoints.after_step = limited
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_good_checkpoint(data, undisturbed, tmp_path):
    """A limit on the size of files stands for the disk: a write fails in the middle of a checkpoint."""
    output = tmp_path / "run"
    status, _, err = finished([sys.executable, "-c", LIMITED, *words(data, output)[3:]])
    assert status == 2
    assert "last.keras cannot be written" in err
    assert "the last good checkpoint is" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in output.glob("*.keras")) == ["best.keras", "last.keras", "previous.keras"]
    assert read_progress(output / "last.keras").step == 2
    assert_same_end(whole(data, output), undisturbed)


BREAKING = """
import os, signal, sys
from keras_cacnet.cli import main
from keras_cacnet.training.checkpoints import Checkpoints
after_step = Checkpoints.after_step

def killed(self, loop):
    after_step(self, loop)
    if loop.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.after_step = killed
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def exact_run(data, tmp_path_factory):
    """On one device, in float64 and without dropout, whose masks depend on the replica."""
    return whole(data, tmp_path_factory.mktemp("runs") / "exact", *EXACTLY)


# The pooled branch's batch norm would see two values a channel here, and magnify rounding by a thousand.
EXACTLY = ("--precision", "float64", "--set", "dropout=0", "global_pooling=false")


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("cpu:2", "cpu:2"), ("cpu:2", "1"), ("1", "cpu:2"), ("1", "1")])
def test_one_number_of_replicas_goes_on_where_another_was_killed(data, exact_run, tmp_path, first, then):
    """In the middle of an epoch, so that the states of the metrics move from one number to the other as well."""
    output = tmp_path / "run"
    command = words(data, output, "--devices", first, *EXACTLY)
    status, _, err = finished([sys.executable, "-c", BREAKING, *command[3:]])
    assert status == -signal.SIGKILL, err
    whole(data, output, "--devices", then, *EXACTLY)
    assert_same_end(output, exact_run, tolerance=1e-10 if "cpu:2" in (first, then) else 0.0)
