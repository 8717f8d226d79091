"""Time, memory and size of this library's exports in the runtimes that take them.

python benchmarks/where_to_run.py                     # half an hour
python benchmarks/where_to_run.py --only 8x1024x1024  # the cases whose name has that word, into the same file

Method. A network is exported once: as a SavedModel (which OpenVINO reads too), as ONNX, and as TFLite, in float32 and
int8, all for images of any size; int8 for one size too. Every runtime is a process of its own with
`THREADS` threads, and all are called in turn as the top of `performance.py` says, which times and memory are from. A
call takes uint8 images and gives class ids and probabilities. The ratios are to the SavedModel's in the same round.

Only the SavedModel takes several images: the others get those of a batch one by one, and keep no answer. OpenVINO
computes in float32, not in the bfloat16 that it may choose. For folding, the SavedModel is exported once more with its
batch norms as Keras has them. Weights are random, with which int8's classes would say nothing: what it
keeps is in `tflite.py`.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from performance import HERE, LITE, THREADS, Settings, compared

import keras_cacnet as kc

CLASSES = 21
NETWORKS: dict[str, Settings] = {"laptop": LITE, "ResNet-50, output stride 8": {}}
SAVED_MODEL = "SavedModel"
UNFOLDED = "SavedModel, batch norms not folded"
RUNTIMES = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "LiteRT": "litert", "SavedModel": "saved_model"}


def cases() -> Iterator[tuple[str, int, int, int]]:
    """Network, size, batch, and over how many rounds."""
    for size, rounds in ((256, 15), (512, 9), (1024, 5)):
        yield "laptop", size, 1, rounds
        yield "laptop", size, 8, max(3, rounds // 2)
    yield "ResNet-50, output stride 8", 512, 1, 5


def exports(network: str, sizes: list[int], folder: Path) -> dict[str, Path]:
    """Files by the runtime and what is special about the file, those for one size with "@" and it behind that.

    What is in the folder already is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = kc.CaCNet(CLASSES, **NETWORKS[network])
    noise = list(np.random.default_rng(0).integers(0, 256, (30, 128, 128, 3)).astype("uint8"))
    int8: Settings = {"precision": "int8", "calibration": noise}

    def file(name: str, write: Callable[..., Path], **settings: Any) -> Path:
        return folder / name if (folder / name).exists() else write(model, folder / name, **settings)

    found = {SAVED_MODEL: file("1", kc.export.saved_model, warmup_size=None)}
    # Of the EfficientNet-Lites OpenVINO reads no ONNX file for any size.
    found["OpenVINO"] = found[SAVED_MODEL]
    found["ONNX Runtime"] = file("cacnet.onnx", kc.export.onnx)
    found["LiteRT"] = file("cacnet.tflite", kc.export.tflite)
    if network == "laptop":
        with patch("keras_cacnet.export.signatures.folded", lambda model: model):
            found[UNFOLDED] = file("2", kc.export.saved_model, warmup_size=None)
        found["LiteRT, int8"] = file("int8.tflite", kc.export.tflite, **int8)
        for size in sizes:
            one = file(f"int8_{size}.tflite", kc.export.tflite, size=(size, size), **int8)
            found[f"LiteRT, int8, one size@{size}"] = one
    return found


def subjects(files: dict[str, Path], size: int, batch: int) -> dict[str, Settings]:
    """What `compared` takes; the last is what the others are measured against."""
    found: dict[str, Settings] = {}
    for name, path in sorted(files.items(), key=lambda item: item[0] == SAVED_MODEL):
        name, _, only = name.partition("@")
        if only in ("", str(size)):
            by = RUNTIMES[name.split(",")[0]]
            found[name] = {"what": "export", "by": by, "path": str(path), "size": size, "batch": batch}
    return found


def megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return round(sum(file.stat().st_size for file in files) / 1e6, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a word in the name of the cases to run")
    parser.add_argument("--files", type=Path, help="a folder that keeps the exports, for further runs to take")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "where_to_run.json")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    if options.output.is_file():
        result = json.loads(options.output.read_text())
    result["machine"] = {"processors": os.cpu_count(), "architecture": platform.machine(), "threads": THREADS}
    result["classes"] = CLASSES
    versions = result.setdefault("versions", {"python": platform.python_version()})
    # So that the page says what was not run.
    for network, size, batch, _ in cases():
        own = result.setdefault(network, {"megabytes": {}, "cases": {}})
        own["cases"].setdefault(f"{batch}x{size}x{size}", None)
    for network in NETWORKS:
        own = result[network]
        named = {
            f"{network} {batch}x{size}x{size}": (size, batch, rounds)
            for name, size, batch, rounds in cases()
            if name == network
        }
        chosen = {name: case for name, case in named.items() if options.only in name}
        if not chosen:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = (options.files or Path(temporary)) / network.partition(",")[0]
            files = exports(network, sorted({size for size, _, _ in chosen.values()}), folder)
            own["megabytes"] |= {name: megabytes(path) for name, path in files.items()}
            for name, (size, batch, rounds) in chosen.items():
                found = compared(subjects(files, size, batch), rounds, versions)
                own["cases"][name.removeprefix(f"{network} ")] = {"rounds": rounds, "subjects": found}
                print(name, json.dumps({key: value.get("ratio") for key, value in found.items()}), flush=True)
                options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
