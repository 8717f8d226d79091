"""Which devices a run trains on: one, several, or those of several machines."""

import os
import re

import tensorflow as tf


def strategy_for(devices: str = "1", cluster: str | None = None) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy for what a user asks for; call it before anything else runs on TensorFlow.

    Args:
        devices: "all" GPUs of this machine, or the first so many of them, such as "2"; without a GPU "1" and "all" are
            the CPU. "cpu:2" splits the CPU into two logical devices, to try out what several do.
        cluster: None for this machine alone; "tf_config" or "slurm" for all processes that the variable TF_CONFIG, or
            Slurm, tells of, each of which trains on all its GPUs.

    Returns:
        The strategy; the default one for a single device.

    Raises:
        ValueError: words that mean nothing, more devices than there are, a cluster with another choice of devices
            than all, or TF_CONFIG is not set.

    Example:
        >>> strategy_for("1").num_replicas_in_sync
        1
        >>> strategy_for("many")
        Traceback (most recent call last):
        ValueError: devices must be all, a number, or cpu:N, got 'many'
    """
    if not (found := re.fullmatch(r"all|(cpu:)?([1-9]\d*)", devices)):
        raise ValueError(f"devices must be all, a number, or cpu:N, got {devices!r}")
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
            f"devices={devices!r} asks for {wanted} GPUs, TensorFlow sees {len(gpus)} here; "
            f"devices='cpu:{wanted}' tries it out on the CPU"
        )
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus[:wanted]])


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one of a run that writes its files.

    Example:
        >>> is_chief(tf.distribute.get_strategy())
        True
    """
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type in (None, ""):
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" if has_chief else resolver.task_id == 0


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
        raise ValueError(f"devices={devices!r} does not go with cluster={cluster!r}: its processes train on all theirs")
    if cluster == "slurm":
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
    elif cluster == "tf_config":
        if not os.environ.get("TF_CONFIG"):
            raise ValueError("cluster='tf_config' needs the variable TF_CONFIG, which is not set")
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    else:
        raise ValueError(f"cluster must be tf_config or slurm, got {cluster!r}")
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
