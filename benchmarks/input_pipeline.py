"""Images a second that reach a network in training: read, decoded, augmented and batched.

python benchmarks/input_pipeline.py                                 # drawn photographs of 480x360, in a folder
python benchmarks/input_pipeline.py --data CAMVID                   # photographs of a folder
python benchmarks/input_pipeline.py --data voc2012 --data-dir VOC   # records

Method. Everything is read by a process that may run on one or two processors only, in turn with the others, as
`performance.py` does it. A call is an iteration over 4 batches of 16 crops of 512 pixels, with its begin and its end,
so that nothing is read ahead while others have their turn; files are in the system's cache. This package has the
paper's augmentation, mirror image, scale of 0.5 to 2 and crop; PyTorch's `DataLoader`, a worker a processor, has the
same by Pillow, as in PyTorch-Encoding; Keras' layers `RandomFlip`, `RandomZoom` and `RandomCrop` in `tf.data` crop what
has the image's size, and take images of one size only. Ratios are to this package on as many processors. A GPU that
takes N crops a second needs N times the processor time of a crop.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from performance import HERE, compared

CROP, BATCH, STEPS = 512, 16, 4
CROPS = BATCH * STEPS
CORES = (1, 2)


def drawn(folder: Path, count: int = 64, height: int = 360, width: int = 480) -> None:
    """Write photographs of smooth noise and masks of rectangles as a folder of the standard layout."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part / "train").mkdir(parents=True)
    (folder / "classes.txt").write_text("".join(f"{i} class_{i} {20 * i} 0 0\n" for i in range(11)))
    for number in range(count):
        small = rng.integers(0, 256, (height // 12, width // 12, 3)).astype("uint8")
        image = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype("int16")
        image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype("uint8")
        Image.fromarray(image).save(folder / "images" / "train" / f"{number}.jpg", quality=92)
        mask = np.kron(rng.integers(0, 11, (6, 8)), np.ones((60, 60))).astype("uint8")[:height, :width]
        Image.fromarray(mask).save(folder / "labels" / "train" / f"{number}.png")


def stream(by: str, cores: int, **settings: Any) -> Callable[[], Any]:
    """Batches of images on the first so many processors, which is all that the process may run on."""
    os.sched_setaffinity(0, range(cores))
    if by == "pytorch":
        return pytorch(cores=cores, **settings)
    return keras_layers(**settings) if by == "keras" else ours(**settings)


def ours(data: str, data_dir: str | None, split: str) -> Callable[[], Any]:
    """The batches that `train` makes."""
    import keras_cacnet as kc

    opened = kc.datasets.open_dataset(data, data_dir)
    batches = kc.pipeline.training_batches(
        opened.source(split), opened.classes, batch_size=BATCH, crop_size=CROP, steps=STEPS, seed=0
    )

    def run() -> None:
        for images, _ in batches:
            assert images.shape == (BATCH, CROP, CROP, 3)

    return run


def files(folder: Path, split: str) -> list[tuple[str, str]]:
    """Images and masks of a folder, as many as a call takes, from its start again where there are fewer."""
    names = sorted(path.stem for path in (folder / "labels" / split).iterdir())
    images = {path.stem: str(path) for path in (folder / "images" / split).iterdir()}
    pairs = [(images[name], str(folder / "labels" / split / f"{name}.png")) for name in names]
    return [pairs[i % len(pairs)] for i in range(CROPS)]


def pytorch(data: str, split: str, cores: int) -> Callable[[], Any]:
    """A `DataLoader` whose workers augment by Pillow."""
    import torch
    from input_peers import Crops
    from torch.utils.data import DataLoader

    crops = Crops(files(Path(data), split), CROP)
    loader: Any = DataLoader(crops, BATCH, shuffle=True, num_workers=cores, persistent_workers=True)

    def run() -> None:
        for images, _ in loader:
            assert images.shape == (BATCH, 3, CROP, CROP), images.shape
            assert images.dtype == torch.float32

    return run


def keras_layers(data: str, split: str) -> Callable[[], Any]:
    """Keras' own layers, one example at a time."""
    import keras
    import tensorflow as tf

    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomZoom((-0.5, 1.0), fill_mode="constant"),
        keras.layers.RandomCrop(CROP, CROP),
    ]

    paths = tuple(map(list, zip(*files(Path(data), split), strict=True)))
    size = tf.io.decode_image(tf.io.read_file(paths[0][0])).shape[:2]

    def example(image: Any, mask: Any) -> Any:
        image = tf.ensure_shape(tf.io.decode_image(tf.io.read_file(image), 3, expand_animations=False), (*size, 3))
        mask = tf.ensure_shape(tf.io.decode_png(tf.io.read_file(mask), 1), (*size, 1))
        found = {"images": tf.cast(image, "float32"), "segmentation_masks": mask}
        for layer in layers:
            found = layer(found, training=True)
        return found["images"], found["segmentation_masks"]

    batches = tf.data.Dataset.from_tensor_slices(paths).shuffle(CROPS)
    batches = batches.map(example, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(2)

    def run() -> None:
        for images, _ in batches:
            assert images.shape == (BATCH, CROP, CROP, 3), images.shape

    return run


def comparisons(data: str, data_dir: str | None, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Subjects by name, for every number of processors; the last is what the others are measured against."""
    for cores in CORES:
        settings = {"what": "input", "data": data, "split": split, "cores": cores}
        own = {"this package": {**settings, "by": "ours", "data_dir": data_dir}}
        peers = {"PyTorch's DataLoader": {**settings, "by": "pytorch"}, "Keras' layers": {**settings, "by": "keras"}}
        # The peers read folders.
        yield f"{cores} processor{'s' * (cores > 1)}", own if data_dir else {**peers, **own}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder of the standard layout, or a published set's name; drawn by default")
    parser.add_argument("--data-dir", help="of a published set")
    parser.add_argument("--split", default="train")
    parser.add_argument("--name", help="how the data is called in the results; its own name by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "input_pipeline.json")
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(options.output.read_text()) if options.output.is_file() else {"data": {}}
    result["machine"] = {"processors": os.cpu_count(), "architecture": platform.machine()}
    versions = result.setdefault("versions", {"python": platform.python_version()})
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            drawn(Path(folder) / "drawn")
        data = options.data or str(Path(folder) / "drawn")
        found = result["data"].setdefault(options.name or Path(data).name, {})
        for name, subjects in comparisons(data, options.data_dir, options.split):
            found[name] = compared(subjects, options.rounds, versions)
            for subject in found[name].values():
                subject["crops_per_second"] = round(CROPS / subject["wall_s"]["median"], 1)
                subject["processor_ms_per_crop"] = round(1e3 * subject["processor_s"]["median"] / CROPS, 2)
            print(
                name,
                {
                    key: (value["crops_per_second"], value["processor_ms_per_crop"])
                    for key, value in found[name].items()
                },
            )
            options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
