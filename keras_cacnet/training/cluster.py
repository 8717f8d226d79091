"""What a run is trained on: one device, several, or those of several machines, whose processes have to agree."""

import faulthandler
import json
import os
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from keras_cacnet.layers.replicas import sum_over_replicas

START_S = 900
"""Seconds after which a process of a cluster gives up waiting for those that have not started."""


class WorkerLost(RuntimeError):
    """Another process of the run has died or cannot be reached."""


def strategy_for(devices: str = "1", cluster: str | None = None) -> tf.distribute.Strategy:
    """Make the `tf.distribute` strategy that a user asks for; call it before anything else runs on TensorFlow.

    Args:
        devices: "all" GPUs of this machine, or the first so many of them, such as "2"; without a GPU "1" and "all" are
            the CPU. "cpu:2" splits the CPU into two logical devices, to try out what several do.
        cluster: None for only this machine; "tf_config" or "slurm" for all processes that the variable TF_CONFIG, or
            Slurm, names, each of which trains on all the GPUs that it sees. Where not all of them start, those
            that wait end with status 1 after `START_S` seconds.

    Returns:
        The strategy; the default one for a single device.

    Raises:
        ValueError: words that mean nothing, more devices than there are, a cluster with another choice of devices
            than all, or variables of the cluster that are not set.

    Example:
        >>> strategy_for("1").num_replicas_in_sync
        1
        >>> strategy_for("many")
        Traceback (most recent call last):
        ValueError: devices (--devices) must be all, a number, or cpu:N, got 'many'
    """
    if not (found := re.fullmatch(r"all|(cpu:)?([1-9]\d*)", devices)):
        raise ValueError(f"devices (--devices) must be all, a number, or cpu:N, got {devices!r}")
    if cluster is not None:
        return _of_cluster(devices, cluster)
    if found[1]:
        return _on_cpu(int(found[2]))
    gpus = tf.config.list_logical_devices("GPU")
    wanted = max(len(gpus), 1) if devices == "all" else int(devices)
    if wanted == 1:
        return tf.distribute.get_strategy()
    if wanted > len(gpus):
        raise ValueError(
            f"devices={devices!r} asks for {wanted} GPUs, TensorFlow sees {len(gpus)} here; cpu:{wanted} (--devices "
            f"cpu:{wanted}) tries it out on the CPU"
        )
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus[:wanted]])


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Tell whether this process is the one of a run that writes its files.

    Example:
        >>> is_chief(tf.distribute.get_strategy())
        True
    """
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type in (None, ""):
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" if has_chief else resolver.task_id == 0


def several_processes(strategy: tf.distribute.Strategy) -> bool:
    """Tell whether a strategy shares a run among processes.

    Example:
        >>> several_processes(tf.distribute.get_strategy())
        False
    """
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@contextmanager
def lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Say in plain words when another process is gone, which TensorFlow reports by errors of many kinds.

    Args:
        strategy: the devices; of one process, errors stay as they are.

    Raises:
        WorkerLost: another process of the run has died or cannot be reached.

    Example:
        >>> with lost_workers(tf.distribute.get_strategy()):
        ...     print("alone")
        alone
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError, tf.errors.CancelledError,
            tf.errors.DeadlineExceededError) as error:  # fmt: skip
        if not several_processes(strategy):
            raise
        told = re.search(r"aborted by: (.*)", str(error)) or re.search(r"(.*)", str(error))
        raise WorkerLost(
            "another process of the run has died or cannot be reached; start all of them again with --resume, and "
            f"they go on from the last checkpoint ({told[1] if told else error})"
        ) from error


def require_agreement(strategy: tf.distribute.Strategy, value: Any) -> None:
    """Refuse to share a run among processes that were started with different things.

    Args:
        strategy: the devices; all processes have to ask at the same point.
        value: what has to be the same for all, as JSON takes it.

    Raises:
        ValueError: it differs.

    Example:
        >>> require_agreement(tf.distribute.get_strategy(), {"seed": 3})
    """
    if not several_processes(strategy):
        return
    own = tf.constant(zlib.crc32(json.dumps(value, sort_keys=True).encode()), "int64")

    @tf.function(autograph=False)
    def over_processes() -> Any:
        return strategy.run(lambda: sum_over_replicas(tf.identity(own)))

    summed = over_processes()
    if int(strategy.experimental_local_results(summed)[0]) != int(own) * strategy.num_replicas_in_sync:
        raise ValueError(
            "the processes of the run differ: each needs the same command, the same files of data, and an --output "
            "folder that all of them see"
        )


def slurm_resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    """Find the processes of a Slurm step by the variables that `srun` sets.

    TensorFlow's `SlurmClusterResolver` reads the list of machines. Its ranks are not taken: it sorts the machines by
    name, n10 before n2, which Slurm does not. Nor does it work without GPUs, or for two jobs on one machine.

    Returns:
        A resolver; process i of a machine listens on port 15000 + 16 * (job id % 1000) + i.

    Raises:
        ValueError: a variable is not set.
    """
    step = ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
    names = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_LOCALID", "SLURMD_NODENAME", *step)
    if missing := [name for name in names if name not in os.environ]:
        raise ValueError(f"cluster='slurm' needs {missing[0]}, which is not set: start the processes by srun")
    port = 15000 + 16 * (int(os.environ["SLURM_JOB_ID"]) % 1000)
    # The counts of GPUs only say how many processes a machine may have; those of Slurm are left as they are.
    tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
    cluster = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=port, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
    ).cluster_spec()
    own = f"{os.environ['SLURMD_NODENAME']}:{port + int(os.environ['SLURM_LOCALID'])}"
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster,
        task_type="worker",
        task_id=cluster.job_tasks("worker").index(own),
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )


def _on_cpu(count: int) -> tf.distribute.Strategy:
    if count == 1:
        return tf.distribute.get_strategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:
        # TensorFlow has started; what it has will do where it is enough.
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise ValueError(
                f"devices='cpu:{count}' comes too late, TensorFlow has started with fewer: ask for it first"
            ) from None
    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(count)])


def _of_cluster(devices: str, cluster: str) -> tf.distribute.Strategy:
    if devices != "all":
        raise ValueError(
            f"devices={devices!r} does not go with cluster={cluster!r}, whose processes take all theirs: leave it out"
        )
    if cluster == "slurm":
        resolver = slurm_resolver()
    elif cluster == "tf_config":
        if not os.environ.get("TF_CONFIG"):
            raise ValueError("cluster='tf_config' needs the variable TF_CONFIG, which is not set")
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    else:
        raise ValueError(f"cluster (--cluster) must be tf_config or slurm, got {cluster!r}")
    # TensorFlow waits for the other processes deaf to signals and with Python's lock; this clock runs without it.
    faulthandler.dump_traceback_later(START_S, exit=True, file=sys.__stderr__ or 2)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        with lost_workers(strategy):
            require_agreement(strategy, "started")  # the first process waits here
        return strategy
    finally:
        faulthandler.cancel_dump_traceback_later()
