"""The operation, the layer and the network under JAX, beside PyTorch's, eager and compiled, and the memory's bandwidth.

python benchmarks/accelerator.py                  # every subject of both libraries
python benchmarks/accelerator.py --only operation # those whose name has that word

Meant for a machine with a GPU; without one it runs on the CPU, smaller, into a file of its own. TensorFlow is not
needed: the network is this package's on Keras' own ResNet-50, under `KERAS_BACKEND=jax`. PyTorch's is that of
`pytorch_peers.py`, as it is, with channels last, the usual form on GPUs, and that through `torch.compile`.

Method. Each library has a process of its own, one after the other. A subject is called once, which takes its
compilation too, and three times more to warm up; then in groups of calls that are long enough to time, each group
waited for at its end only, as a training loop does. A time is the median over the groups with its quartiles. Inputs are
random and stay on the device. float32 allows TF32 in convolutions and products of matrices, in both libraries. bfloat16
is Keras' mixed policy and PyTorch's autocast for the network; for operation and layer it is the type of the features,
and here kernels and sums stay float32, in PyTorch they are bfloat16 too.

The floor is the time of the bytes that have to move over the bandwidth of a copy that was measured in the same process:
features, results and their gradients, read and written as often as no cache can avoid (`PASSES`). Memory is what the
device allocates at the most, arguments and results included: of the compiled program in JAX, of the allocator in
PyTorch.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from performance import CLASSES, short

TYPES = ("float32", "bfloat16")
LIBRARIES = ("jax", "pytorch")
# How often X, or an array of its size, is read or written at the least.
PASSES = {
    ("operation", False): 2,  # X in, W out
    ("operation", True): 5,  # and X and the gradient of W in, that of X out
    ("layer", False): 3,  # X for the kernels, X again for the weights, the result out
    ("layer", True): 8,  # X and the gradient twice more, for that of the kernels and then for that of X, which goes out
}
GROUPS = 7
GROUP_SECONDS = 0.1


class Sizes(NamedTuple):
    """What fills a device, or a processor."""

    shape: tuple[int, int, int, int]
    batch: int
    side: int
    copied: int


GPU = Sizes((16, 64, 64, 512), 16, 512, 2**31)
CPU = Sizes((1, 64, 64, 512), 2, 256, 2**28)

Subject = Callable[[], Any]
Work = tuple[Any, tuple[Any, ...]]


def names(only: str) -> list[tuple[str, str, bool, str]]:
    """Every subject as its name, what it is of, whether with gradients, and its type."""
    found = []
    for what in ("operation", "layer", "network"):
        for gradient in (False, True):
            kind = ("step of training" if what == "network" else "forward and backward") if gradient else "forward"
            found += [(f"{what}, {kind}, {dtype}", what, gradient, dtype) for dtype in TYPES]
    return [one for one in found if only in one[0]]


def timed(call: Subject, wait: Callable[[Any], Any]) -> dict[str, Any]:
    """Seconds of a call, and of the first one."""

    def group(calls: int) -> float:
        started = time.perf_counter()
        result = None
        for _ in range(calls):
            result = call()
        wait(result)
        return (time.perf_counter() - started) / calls

    first = group(1)
    group(2)
    calls = max(1, round(GROUP_SECONDS / group(1)))
    times = [group(calls) for _ in range(GROUPS)]
    low, median, high = map(short, statistics.quantiles(times, n=4))
    return {"first_s": short(first), "median": median, "low": low, "high": high}


def peak_memory(device: Any) -> int:
    """What the allocator of a JAX device gave at the most; 0 where it does not count."""
    return (device.memory_stats() or {}).get("peak_bytes_in_use", 0)


def jax_subjects(only: str, output: Path) -> None:
    """This package's."""
    import jax
    import jax.numpy as jnp
    import keras

    import keras_cacnet as kc

    on_gpu = jax.default_backend() == "gpu"
    sizes = GPU if on_gpu else CPU
    device = jax.devices()[0]
    result: dict[str, Any] = {
        "device": device.device_kind,
        "versions": {"jax": jax.__version__, "keras": keras.__version__, "keras-cacnet": kc.__version__},
        "sizes": sizes._asdict(),
        "subjects": {},
    }
    copied = jnp.ones(sizes.copied // 4, "float32")
    copy = timed(partial(jax.jit(lambda x: x + 1), copied), jax.block_until_ready)
    result["bandwidth_gb_s"] = round(2e-9 * sizes.copied / copy["median"], 1)
    del copied
    for name, what, gradient, dtype in names(only):
        make = {"operation": jax_operation, "layer": jax_layer, "network": jax_network}[what]
        function, arguments = make(sizes, gradient, dtype)
        # A step of training compiles itself; it is seen in the allocator where it takes more than all before it.
        peak = peak_memory(device)
        memory = None
        started = time.perf_counter()
        if hasattr(function, "lower"):
            function = function.lower(*arguments).compile()
            sizes_of = function.memory_analysis()
            parts = ("argument", "output", "temp")
            memory = sum(getattr(sizes_of, f"{part}_size_in_bytes") for part in parts)
        compilation = time.perf_counter() - started
        found = timed(partial(function, *arguments), jax.block_until_ready)
        found["first_s"] = short(found["first_s"] + compilation)
        if memory is None and (reached := peak_memory(device)) > peak:
            memory = reached
        report(result, output, name, "this package", found, memory)


def jax_work(forward: Callable[..., Any], arguments: tuple[Any, ...], upstream: Any) -> Work:
    """The function compiled, with the gradients that `upstream` gives where there is one."""
    import jax

    if upstream is None:
        return jax.jit(forward), arguments

    def both(upstream: Any, *arguments: Any) -> Any:
        value, back = jax.vjp(forward, *arguments)
        return value, back(upstream)

    return jax.jit(both), (upstream, *arguments)


def jax_operation(sizes: Sizes, gradient: bool, dtype: str) -> Work:
    import jax

    from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv

    batch, _, _, channels = sizes.shape
    keys = jax.random.split(jax.random.key(0), 3)
    x, upstream = (jax.random.normal(key, sizes.shape, dtype) for key in keys[:2])
    kernels = jax.random.normal(keys[2], (batch, 3, 3, channels), "float32")

    def forward(x: Any, kernels: Any) -> Any:
        wide = x.astype("float32")
        return sum(jax.nn.sigmoid(dynamic_depthwise_conv(wide, kernels, rate)) for rate in (1, 2, 3)).astype(dtype)

    return jax_work(forward, (x, kernels), upstream if gradient else None)


def jax_layer(sizes: Sizes, gradient: bool, dtype: str) -> Work:
    import jax

    from keras_cacnet.layers import CaCLayer

    layer = CaCLayer(dtype="float32" if dtype == "float32" else "mixed_bfloat16")
    layer.build(sizes.shape)
    x, upstream = (jax.random.normal(key, sizes.shape, dtype) for key in jax.random.split(jax.random.key(0)))
    trained, others = values(layer)

    def forward(trained: Any, x: Any) -> Any:
        return layer.stateless_call(trained, others, x, training=gradient)[0]

    return jax_work(forward, (trained, x), upstream if gradient else None)


def values(layer: Any) -> tuple[list[Any], list[Any]]:
    """Weights that are trained, and all others."""
    return [v.value for v in layer.trainable_variables], [v.value for v in layer.non_trainable_variables]


def network(dtype: str) -> Any:
    """CaC-Net on Keras' own ResNet-50, at output stride 8."""
    import keras

    import keras_cacnet as kc

    keras.config.set_dtype_policy("float32" if dtype == "float32" else "mixed_bfloat16")
    resnet = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3))
    ends = {"P2": "conv2_block3_out", "P3": "conv3_block4_out", "P4": "conv4_block6_out", "P5": "conv5_block3_out"}
    levels = {level: resnet.get_layer(name).output for level, name in ends.items()}
    model = kc.CaCNet(CLASSES, backbone=keras.Model(resnet.input, levels), output_stride=8)
    keras.config.set_dtype_policy("float32")
    return model


def jax_network(sizes: Sizes, gradient: bool, dtype: str) -> Work:
    import jax
    import jax.numpy as jnp

    import keras_cacnet as kc

    model = network(dtype)
    images = jax.random.randint(jax.random.key(0), (sizes.batch, sizes.side, sizes.side, 3), 0, 256, "uint8")
    if not gradient:
        trained, others = values(model)

        def ids(trained: Any, others: Any, images: Any) -> Any:
            return jnp.argmax(model.stateless_call(trained, others, images, training=False)[0], axis=-1)

        return jax.jit(ids), (trained, others, images)
    masks = jax.random.randint(jax.random.key(1), images.shape[:3], 0, CLASSES)
    model.compile(kc.optimizers.SGD(1e-3, momentum=0.9, weight_decay=1e-4), kc.losses.SegmentationCrossentropy())
    return model.train_on_batch, (images, masks)


def pytorch_subjects(only: str, output: Path) -> None:
    """The same networks, eager and compiled."""
    import pytorch_peers as peers
    import torch

    on_gpu = torch.cuda.is_available()
    sizes = GPU if on_gpu else CPU
    if on_gpu:
        torch.set_default_device("cuda")
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
        "versions": {"torch": torch.__version__},
        "sizes": sizes._asdict(),
        "subjects": {},
    }

    def wait(_: Any) -> None:
        if on_gpu:
            torch.cuda.synchronize()

    copied = torch.ones(sizes.copied // 4)
    result["bandwidth_gb_s"] = round(2e-9 * sizes.copied / timed(partial(torch.add, copied, 1), wait)["median"], 1)
    del copied
    for name, what, gradient, dtype in names(only):
        eager = peers.Form(getattr(torch, dtype))
        forms = {"eager": eager, "compiled": eager._replace(compiled=torch.compile)}
        if what == "network":
            make: Any = peers.train if gradient else peers.predict
            options: dict[str, Any] = {
                "network": "cacnet",
                "size": sizes.side,
                "batch": sizes.batch,
                "classes": CLASSES,
            }
            last = {f"{name}, channels last": form._replace(layout=torch.channels_last) for name, form in forms.items()}
            forms = {"eager": eager, **last}
        else:
            make = {"operation": peers.operation, "layer": peers.layer}[what]
            options = {"shape": sizes.shape, "gradient": gradient}
        for form, given in forms.items():
            torch.manual_seed(0)
            torch.compiler.reset()
            if on_gpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            found = timed(make(**options, form=given), wait)
            report(result, output, name, form, found, torch.cuda.max_memory_allocated() if on_gpu else None)


def report(
    result: dict[str, Any], output: Path, name: str, form: str, found: dict[str, Any], memory: int | None
) -> None:
    """Keep what was found, in the file too, so that a run that is broken off is not lost."""
    found["memory_mb"] = None if memory is None else round(memory / 2**20)
    result["subjects"].setdefault(name, {})[form] = found
    output.write_text(json.dumps(result))
    print(name, form, json.dumps(found), flush=True)


def floor(name: str, sizes: dict[str, Any], bandwidth: float) -> float | None:
    """Seconds that the bytes take, or None for the network."""
    what, kind, dtype = name.split(", ")
    passes = PASSES.get((what, kind != "forward"))
    if passes is None:
        return None
    numbers = 1
    for side in sizes["shape"]:
        numbers *= side
    return passes * numbers * (4 if dtype == "float32" else 2) / (bandwidth * 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a word in the name of the subjects to run")
    parser.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="results/accelerator.json, or accelerator_cpu.json")
    options = parser.parse_args()
    if options.library:
        {"jax": jax_subjects, "pytorch": pytorch_subjects}[options.library](options.only, options.output)
        return
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    parts = {}
    with tempfile.TemporaryDirectory() as folder:
        for library in LIBRARIES:
            part = Path(folder) / f"{library}.json"
            command = [sys.executable, __file__, "--library", library, "--only", options.only, "--output", str(part)]
            subprocess.run(command, check=True, env=environment)
            parts[library] = json.loads(part.read_text())
    name = "accelerator_cpu.json" if parts["jax"]["device"] == "cpu" else "accelerator.json"
    output = options.output or Path(__file__).with_name("results") / name
    output.write_text(json.dumps(merged(parts), indent=2) + "\n")


def merged(parts: dict[str, Any]) -> dict[str, Any]:
    """Both libraries' times by subject, beside the floor."""
    ours = parts["jax"]
    subjects = {}
    for name, forms in ours["subjects"].items():
        seconds = floor(name, ours["sizes"], ours["bandwidth_gb_s"])
        all_forms = {f"JAX, {form}": value for form, value in forms.items()}
        all_forms |= {f"PyTorch, {form}": value for form, value in parts["pytorch"]["subjects"].get(name, {}).items()}
        subjects[name] = {"floor_s": None if seconds is None else short(seconds), "forms": all_forms}
    return {
        "device": ours["device"],
        "versions": ours["versions"] | parts["pytorch"]["versions"],
        "sizes": ours["sizes"],
        "bandwidth_gb_s": {library: part["bandwidth_gb_s"] for library, part in parts.items()},
        "subjects": subjects,
    }


if __name__ == "__main__":
    main()
