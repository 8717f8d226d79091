"""Processes that share a run: two against one, stopped, killed, gone on with; devices, and the variables of Slurm."""

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.training import cluster
from keras_cacnet.training.checkpoint_file import read_progress
from keras_cacnet.training.cluster import slurm_resolver, strategy_for

PROGRAM = Path(__file__).parent / "train_on_workers.py"
EXACT = 1e-10
FLOAT32 = 1e-5
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
PATIENCE = 600  # seconds that a process may take on a busy machine
STEPS, EPOCHS = 3, 4
RECIPE = {
    "backbone": "resnet14_narrow",
    "head_channels": 8,
    "crop_size": 32,
    "batch_size": 4,
    "epochs": EPOCHS,
    "precision": "float64",
    "dropout": 0,
    # Its batch norm would see four values a channel, and magnify rounding.
    "global_pooling": False,
    "seed": 3,
}
CHIEFS_FILES = {
    *("best.keras", "classes.json", "config.json", "curve.png", "last.keras", "log.csv", "previous.keras"),
    *("times.csv", "validation.json"),
}


def by_tf_config(addresses, index):
    return {"TF_CONFIG": tf_config({"worker": addresses}, "worker", index)}


def by_tf_config_with_chief(addresses, index):
    kind, index = ("worker", index - 1) if index else ("chief", 0)
    return {"TF_CONFIG": tf_config({"chief": addresses[:1], "worker": addresses[1:]}, kind, index)}


def tf_config(cluster, kind, index):
    """In the form in which Kubeflow's operator sets it."""
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}, "environment": "cloud"})


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts processes that share a run, each with words of its own; what is left of them ends with the tests."""
    logs, started = tmp_path_factory.mktemp("logs"), []

    def start(*commands, cluster=by_tf_config, folder=None):
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in commands]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
        for index, words in enumerate(commands):
            log = logs / f"{len(started)}.log"
            with log.open("w") as file:
                process = subprocess.Popen(
                    [sys.executable, *map(str, words)],
                    env={**ENVIRONMENT, **(cluster(addresses, index) if len(commands) > 1 else {})},
                    cwd=folder,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            process.log = log
            started.append(process)
        return started[-len(commands) :]

    yield start
    for process in started:
        process.kill()
        process.wait()


def end(processes, status=0):
    """Wait until processes have ended; what they have printed."""
    for process in processes:
        try:
            assert process.wait(PATIENCE) == status, process.log.read_text()
        except subprocess.TimeoutExpired:
            pytest.fail(f"still there after {PATIENCE} seconds:\n{process.log.read_text()}")
    return [process.log.read_text() for process in processes]


def words(data, output, *more):
    settings = [f"{key}={value}" for key, value in RECIPE.items()]
    command = ["train", "--data", str(data), "--output", str(output), "--verbose", "2", "--no-report"]
    return [*command, "--set", *settings, *more]


@pytest.fixture(scope="module")
def share(start, data):
    """Starts the command in two processes, the second one with more words."""

    def share(output, *more, second=()):
        first = ["-m", "keras_cacnet", *words(data, output, *more, "--cluster", "tf_config")]
        return start(first, [*first, *second])

    return share


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_coast):
    """Twelve images to train on and three of different sizes to score, some with much more void than others."""
    root = write_coast(tmp_path_factory.mktemp("data") / "coast")
    rng = np.random.default_rng(0)
    sizes = {"train": [(40, 44)] * 12, "val": [(40, 44), (56, 36), (33, 64)]}
    every = [(split, index, *size) for split in sizes for index, size in enumerate(sizes[split])]
    for split, index, height, width in every:
        mask = np.zeros((height, width), "uint8")
        mask[height // 2 :] = 1
        image = np.where(mask[..., None] == 1, (20, 60, 140), (90, 160, 220)) + rng.integers(0, 9, (height, width, 3))
        mask[:, : 3 * index] = 2
        Image.fromarray(image.astype("uint8")).save(root / "images" / split / f"{index}.png")
        Image.fromarray(mask).save(root / "labels" / split / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The run of one process."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert main(words(data, output)) == 0
    return output


def rows(log):
    with log.open() as file:
        return list(csv.DictReader(file))


def state(output, which):
    """Weights, statistics of batch norms, the optimizer's state, the metrics' states and the progress."""
    model = keras.models.load_model(output / f"{which}.keras")
    progress = read_progress(output / f"{which}.keras")
    return {
        **{weight.path: keras.ops.convert_to_numpy(weight) for weight in model.variables if "seed" not in weight.path},
        **{f"optimizer {state.path}": keras.ops.convert_to_numpy(state) for state in model.optimizer.variables},
        **{f"metric {index}": state for index, state in enumerate(progress.metrics)},
        "progress": np.array([progress.step, progress.epochs, max(progress.best, 0)]),  # without scores -inf
    }


def difference(one, other):
    """The greatest one, over the greatest value or 1, and its name."""
    assert one.keys() == other.keys()
    return max(
        (np.abs(np.subtract(one[name], other[name], dtype="float64")).max() / max(np.abs(one[name]).max(), 1), name)
        for name in one
    )


def log_of(path):
    table = rows(path)
    return {name: np.array([float(row[name]) for row in table]) for name in table[0]}


def assert_same_end(output, undisturbed):
    for which in ("last", "best"):
        worst = difference(state(undisturbed, which), state(output, which))
        assert worst[0] < EXACT, worst
    worst = difference(log_of(undisturbed / "log.csv"), log_of(output / "log.csv"))
    assert worst[0] < EXACT, worst
    assert len(rows(output / "log.csv")) == EPOCHS


def free(port):
    """Whether nobody listens on a port, nor on the next one."""
    for number in (port, port + 1):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", number)) == 0:
                return False
    return True


def wait_for(happened, processes):
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it did not come to that"
        assert not any(process.poll() for process in processes), "\n".join(p.log.read_text() for p in processes)
        time.sleep(0.05)


def saved(output, step):
    """Whether a run has saved so many steps."""
    return (output / "last.keras").exists() and read_progress(output / "last.keras").step >= step


@pytest.mark.parametrize("synchronized", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_two_processes_are_one(start, tmp_path, synchronized):
    """In float64; the negative control takes statistics by process."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    end(start([PROGRAM, one]))
    end(start(*[[PROGRAM, two, synchronized]] * 2))
    alone, chief, other = (dict(np.load(path)) for path in (one / "0.npz", two / "0.npz", two / "1.npz"))
    worst = difference(alone, chief), difference(alone, other)
    worst = max(*worst, difference(log_of(one / "log.csv"), log_of(two / "log.csv")))
    # 5e-15 was measured.
    assert (worst[0] < EXACT) == synchronized, worst
    assert {name.split("|")[0] for name in alone} == {"weight", "optimizer", "metric", "batch_log"}
    assert log_of(one / "log.csv").keys() >= {"loss", "mean_iou", "val_loss", "val_mean_iou"}
    assert np.ptp(alone["batch_log|loss"]) > 1e-3


@pytest.mark.slow
def test_the_program_of_the_docs_ends_the_same_in_one_process_and_in_two(start, tmp_path):
    """With a chief, as Kubeflow names one."""
    text = (ROOT / "docs" / "multi_worker.md").read_text()
    program = tmp_path / "program.py"
    program.write_text(text[text.index("\nfrom pathlib") : text.rindex("```")])
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    end(start([program], folder=one))
    chief, other = end(start([program], [program], folder=two, cluster=by_tf_config_with_chief))
    worst = difference(*(state(folder / "own", "last") for folder in (one, two)))
    assert worst[0] < FLOAT32, worst
    assert "Epoch 2/2" in chief
    assert "Epoch" not in other


@pytest.mark.slow
def test_processes_of_slurm(start, undisturbed, data, tmp_path):
    """What `srun --ntasks=2` would set on this machine."""

    job = next(number for number in range(os.getpid(), os.getpid() + 100) if free(15000 + 16 * (number % 1000)))

    def slurm(addresses, index):
        values = {"JOB_ID": job, "PROCID": index, "LOCALID": index, "STEP_NUM_TASKS": 2}
        values |= {"STEP_NODELIST": "localhost", "STEP_TASKS_PER_NODE": 2}
        return {f"SLURM_{name}": str(value) for name, value in values.items()} | {"SLURMD_NODENAME": "localhost"}

    output = tmp_path / "run"
    command = ["-m", "keras_cacnet", *words(data, output, "--cluster", "slurm")]
    end(start(command, command, cluster=slurm))
    assert_same_end(output, undisturbed)


@pytest.mark.slow
def test_the_command_in_two_processes_is_the_command_in_one(share, undisturbed, tmp_path):
    """And the chief alone writes and shows its progress."""
    output = tmp_path / "shared"
    chief, other = end(share(output))
    assert_same_end(output, undisturbed)
    assert {path.name for path in output.iterdir()} == {*CHIEFS_FILES, "tensorboard"}
    assert len(list((output / "tensorboard").glob("train/*"))) == 1
    assert f"Epoch {EPOCHS}/{EPOCHS}" in chief
    assert "Epoch" not in other


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both(share, undisturbed, data, tmp_path):
    """And both, or one process, go on with what they saved."""
    output, alone = tmp_path / "shared", tmp_path / "alone"
    both = share(output, "--save-every", "1")
    wait_for(lambda: saved(output, 4), both)
    both[1].send_signal(signal.SIGTERM)
    chief, other = end(both)
    step = read_progress(output / "last.keras").step
    assert 4 <= step < STEPS * EPOCHS
    assert f"stopped by a signal to another process after step {step} of {STEPS * EPOCHS}" in chief
    assert f"stopped by SIGTERM after step {step} of {STEPS * EPOCHS}" in other
    shutil.copytree(output, alone)
    end(share(output, "--resume"))
    assert_same_end(output, undisturbed)
    assert main(words(data, alone, "--resume")) == 0
    assert_same_end(alone, undisturbed)


@pytest.mark.slow
def test_two_processes_go_on_with_what_one_saved(start, share, undisturbed, data, tmp_path):
    output = tmp_path / "run"
    (alone,) = start(["-m", "keras_cacnet", *words(data, output, "--save-every", "1")])
    wait_for(lambda: saved(output, 4), [alone])
    alone.send_signal(signal.SIGTERM)
    end([alone])
    assert read_progress(output / "last.keras").step < STEPS * EPOCHS
    end(share(output, "--resume"))
    assert_same_end(output, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_dies_the_other_says_so_and_all_go_on(share, undisturbed, tmp_path, victim):
    output = tmp_path / "run"
    both = share(output, "--save-every", "1")
    wait_for(lambda: saved(output, 4), both)
    both[victim].kill()
    (told,) = end([both[1 - victim]], status=2)
    assert "another process of the run has died or cannot be reached; start all of them again with --resume" in told
    assert read_progress(output / "last.keras").step < STEPS * EPOCHS
    end(share(output, "--resume"))
    assert_same_end(output, undisturbed)


@pytest.mark.slow
def test_processes_that_were_started_differently_do_not_begin(share, undisturbed, tmp_path):
    for told in end(share(tmp_path / "run", second=["--set", "seed=4"]), status=2):
        assert "error: the processes of the run differ: each needs the same command" in told
    # The chief alone sees the run that shall go on.
    output = shutil.copytree(undisturbed, tmp_path / "seen")
    for told in end(share(output, "--resume", second=["--output", tmp_path / "own"]), status=2):
        assert "an --output folder that all of them see" in told


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_process_does_not_wait_for_ever_for_one_that_never_starts(start, index):
    waiting = "from keras_cacnet.training import cluster\ncluster.START_S = 3\ncluster.strategy_for('all', 'tf_config')"
    nothing = ["-c", ""]
    commands = [["-c", waiting], nothing] if index == 0 else [nothing, ["-c", waiting]]
    processes = start(*commands)
    (told,) = end([processes[index]], status=1)
    assert "Timeout (0:00:03)!" in told
    assert "in strategy_for" in told


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_other(share, tmp_path):
    chief, other = end(share(tmp_path / "run", second=["--data", tmp_path / "nowhere"]), status=2)
    assert "nowhere: does not exist" in other
    assert "another process of the run has died" in chief


def test_errors_of_one_process_alone_stay_as_they_are(monkeypatch):
    strategy, error = tf.distribute.get_strategy(), tf.errors.UnavailableError(None, None, "one\nis aborted by: two\n")
    with pytest.raises(tf.errors.UnavailableError), cluster.lost_workers(strategy):
        raise error
    monkeypatch.setattr(cluster, "several_processes", lambda strategy: True)
    told = r"start all of them again with --resume.*\(two\)"
    with pytest.raises(cluster.WorkerLost, match=told), cluster.lost_workers(strategy):
        raise error
    with pytest.raises(ValueError, match="own"), cluster.lost_workers(strategy):
        raise ValueError("own")


def set_slurm(monkeypatch, rank, local, node, nodes, tasks, number):
    for name in ("JOB_ID", "PROCID", "LOCALID", "STEP_NUM_TASKS", "STEP_NODELIST", "STEP_TASKS_PER_NODE"):
        values = {"JOB_ID": 4017, "PROCID": rank, "LOCALID": local, "STEP_NUM_TASKS": number}
        values |= {"STEP_NODELIST": nodes, "STEP_TASKS_PER_NODE": tasks}
        monkeypatch.setenv(f"SLURM_{name}", str(values[name]))
    monkeypatch.setenv("SLURMD_NODENAME", node)


def test_every_process_of_slurm_finds_its_own_address(monkeypatch):
    """Twelve machines, of which TensorFlow's own resolver takes the second for n10."""
    found = []
    for rank in range(12):
        set_slurm(monkeypatch, rank, 0, f"n{rank + 1}", "n[1-12]", "1(x12)", 12)
        resolver = slurm_resolver()
        assert (resolver.task_type, resolver.rpc_layer) == ("worker", "grpc")
        assert resolver.cluster_spec().task_address("worker", resolver.task_id) == f"n{rank + 1}:15272"
        found.append(resolver.task_id)
    assert sorted(found) == list(range(12))


def test_processes_on_one_machine_have_ports_of_their_own(monkeypatch):
    found = []
    for rank, (node, local) in enumerate([("a", 0), ("a", 1), ("b", 0)]):
        set_slurm(monkeypatch, rank, local, node, "a,b", "2,1", 3)
        resolver = slurm_resolver()
        found.append(resolver.cluster_spec().task_address("worker", resolver.task_id))
    assert found == ["a:15272", "a:15273", "b:15272"]


def test_outside_of_a_step_of_slurm(monkeypatch):
    set_slurm(monkeypatch, 0, 0, "a", "a,b", "1(x2)", 2)
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(ValueError, match="SLURM_STEP_NODELIST, which is not set: start the processes by srun"):
        strategy_for("all", "slurm")


def test_what_cannot_be_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="needs the variable TF_CONFIG, which is not set"):
        strategy_for("all", "tf_config")
    with pytest.raises(ValueError, match="devices='2' does not go with cluster='slurm'"):
        strategy_for("2", "slurm")
    with pytest.raises(ValueError, match="--cluster.* must be tf_config or slurm, got 'kubernetes'"):
        strategy_for("all", "kubernetes")
