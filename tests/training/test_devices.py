"""Which devices a run asks for; the processes of a Slurm step, by the variables that srun sets."""

import pytest

from keras_cacnet.training.devices import slurm_resolver, strategy_for


def slurm(monkeypatch, rank, local, node, nodes, tasks, number):
    for name in ("JOB_ID", "PROCID", "LOCALID", "STEP_NUM_TASKS", "STEP_NODELIST", "STEP_TASKS_PER_NODE"):
        values = {"JOB_ID": 4017, "PROCID": rank, "LOCALID": local, "STEP_NUM_TASKS": number}
        values |= {"STEP_NODELIST": nodes, "STEP_TASKS_PER_NODE": tasks}
        monkeypatch.setenv(f"SLURM_{name}", str(values[name]))
    monkeypatch.setenv("SLURMD_NODENAME", node)


def test_every_process_of_slurm_finds_its_own_address(monkeypatch):
    """Twelve machines, of which TensorFlow's own resolver takes the second for n10."""
    found = []
    for rank in range(12):
        slurm(monkeypatch, rank, 0, f"n{rank + 1}", "n[1-12]", "1(x12)", 12)
        resolver = slurm_resolver()
        assert (resolver.task_type, resolver.rpc_layer) == ("worker", "grpc")
        assert resolver.cluster_spec().task_address("worker", resolver.task_id) == f"n{rank + 1}:15272"
        found.append(resolver.task_id)
    assert sorted(found) == list(range(12))


def test_processes_on_one_machine_have_ports_of_their_own(monkeypatch):
    found = []
    for rank, (node, local) in enumerate([("a", 0), ("a", 1), ("b", 0)]):
        slurm(monkeypatch, rank, local, node, "a,b", "2,1", 3)
        resolver = slurm_resolver()
        found.append(resolver.cluster_spec().task_address("worker", resolver.task_id))
    assert found == ["a:15272", "a:15273", "b:15272"]


def test_outside_of_a_step_of_slurm(monkeypatch):
    slurm(monkeypatch, 0, 0, "a", "a,b", "1(x2)", 2)
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(ValueError, match="SLURM_STEP_NODELIST, which is not set: start the processes by srun"):
        strategy_for("all", "slurm")


def test_what_cannot_be_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="needs the variable TF_CONFIG, which is not set"):
        strategy_for("all", "tf_config")
    with pytest.raises(ValueError, match="devices='2' does not go with cluster='slurm'"):
        strategy_for("2", "slurm")
    with pytest.raises(ValueError, match="cluster must be tf_config or slurm, got 'kubernetes'"):
        strategy_for("all", "kubernetes")
