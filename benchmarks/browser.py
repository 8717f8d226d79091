"""What a TFLite file keeps and how long it takes in a browser, by precision, on the page of examples/browser.

Method: a trained run is exported in every precision for one size; int8 is calibrated on training images spread evenly
over the split. The page is built and served with the headers for threads and without them, and headless Chromium
segments images of a split, resized to the size and given as PNG files. Agreement is the share of the pixels with the
class that Keras gives on the same image. Time is what the page measures around the network, the median over the images;
LiteRT outside the browser runs the same files on the same images. Written as JSON with the machine's description.

python benchmarks/browser.py quickstart/run --data scenes --data-dir quickstart/data --size 128x128
"""

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from tflite import runner

import keras_cacnet as kc
from keras_cacnet import evaluation
from keras_cacnet.cli.arguments import size
from keras_cacnet.export import TFLITE_PRECISIONS
from keras_cacnet.training.run import Run

PAGE = Path(__file__).resolve().parents[1] / "examples" / "browser"
CHROMIUM = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"


@contextmanager
def served(threads: bool) -> Iterator[str]:
    """The built page's address; a server of files alone sends no headers, and gives the page no threads."""
    plain = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", "dist"]
    command = ["node", "serve.mjs", "0"] if threads else plain
    process = subprocess.Popen(
        command, cwd=PAGE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield line.strip() if threads else f"http://127.0.0.1:{line.split('port ')[1].split()[0]}/"
    finally:
        process.terminate()
        process.wait()


def in_page(page: Page, path: Path, images: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    page.set_input_files("#model-file", path)
    page.locator("#status", has_text=f"{path.name}: ").wait_for()
    found, times = [], []
    # The first image again at the end, because a network's first run takes longer.
    for index, image in enumerate([*images, images[0]]):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        name = f"{path.stem}_{index}.png"
        page.set_input_files("#photograph-file", {"name": name, "mimeType": "image/png", "buffer": file.getvalue()})
        page.locator(f"#stage[data-photograph='{name}']").wait_for()
        ids, milliseconds = page.evaluate("[[...cacnet.lastResult.classIds], cacnet.lastResult.milliseconds]")
        found.append(np.array(ids).reshape(image.shape[:2]))
        times.append(milliseconds)
    return found[1:], statistics.median(times[1:])


def outside(path: Path, images: list[np.ndarray], threads: int) -> float:
    run = runner(path, threads)
    times = []
    for image in [images[0], *images]:
        started = time.perf_counter()
        run(image)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[1:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--size", type=size, required=True)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--calibration", type=int, default=60, help="number of training images")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "browser.json")
    options = parser.parse_args()

    run = Run(options.run)
    model, dataset = run.load_model("best"), kc.datasets.open_dataset(options.data, options.data_dir)

    def images_of(split: str, count: int) -> list[np.ndarray]:
        source = dataset.source(split)
        chosen = np.linspace(0, len(source) - 1, count).astype(int)
        examples = [kc.datasets.read_example(source[int(index)], dataset.classes)[0] for index in chosen]
        resized = [Image.fromarray(image).resize(options.size[::-1], Image.Resampling.BILINEAR) for image in examples]
        return [np.asarray(image) for image in resized]

    images, calibration = images_of(options.split, options.images), images_of("train", options.calibration)
    expected = [evaluation.ids(model, image, evaluation.WHOLE) for image in images]
    for words in (["npm", "ci"], ["npm", "run", "build"]):
        subprocess.run(words, cwd=PAGE, check=True, stdout=subprocess.DEVNULL)
    files: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM.split())
        for precision in TFLITE_PRECISIONS:
            path = kc.export.tflite(
                model,
                Path(folder, f"{precision}.tflite"),
                run.classes,
                precision=precision,
                size=options.size,
                calibration=calibration if precision == "int8" else None,
            )
            figures: dict[str, Any] = {"bytes": path.stat().st_size, "browser_ms": {}, "outside_ms": {}}
            for threads in (1, 2):
                with served(threads > 1) as address, chromium.new_page() as page:
                    page.goto(address)
                    found, milliseconds = in_page(page, path, images)
                    used = page.inner_text("#status").split("CPU, ")[1].split(".")[0]
                order = [*range(1, len(images)), 0]
                equal = [(ids == expected[index]).mean() for ids, index in zip(found, order, strict=True)]
                figures["equal_ids"] = round(float(np.mean(equal)), 5)
                figures["browser_ms"][used] = round(milliseconds, 2)
                figures["outside_ms"][str(threads)] = round(outside(path, images, threads), 2)
            files[precision] = figures
            print(precision, figures, flush=True)
        result = {
            "machine": {"processors": os.cpu_count(), "architecture": platform.machine()},
            "versions": {
                "chromium": chromium.version,
                "@litertjs/core": json.loads((PAGE / "package.json").read_text())["dependencies"]["@litertjs/core"],
                **{name: version(name) for name in ("ai-edge-litert", "keras", "tensorflow")},
            },
            "size": list(options.size),
            "images": len(images),
            "calibration": len(calibration),
            "files": files,
        }
        chromium.close()
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
