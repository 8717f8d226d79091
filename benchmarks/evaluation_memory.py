"""Peak memory and time of scoring one large photograph under the full protocol, with a network of one convolution.

python benchmarks/evaluation_memory.py [--size 3000x4000] [--classes 150] [--scales 0.5,0.75,1.0,1.25,1.5,1.75]
python benchmarks/evaluation_memory.py --backbone resnet101 --size 512x512 --scales 1.0 --output network.json
python benchmarks/evaluation_memory.py --backbone efficientnet_lite0 --classes 21 --segmenter --output segmenter.json

Method: one process scores one image of noise; the peak is the largest resident size that the system saw of it, with
Python and TensorFlow. The network's own memory comes on top: it is that of one window and its mirror image, which the
second line measures for CaC-Net. The third shows the photograph as `kc.Segmenter` does by itself, to the network of the
recipe `laptop`. Written as JSON; the time is that of this machine, and of nothing else.
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_cacnet as kc
from keras_cacnet.evaluation import Protocol


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="3000x4000")
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--scales", default="0.5,0.75,1.0,1.25,1.5,1.75")
    parser.add_argument("--crop-size", type=int, default=512)
    parser.add_argument("--backbone", help="of a CaC-Net instead of the one convolution")
    parser.add_argument("--segmenter", action="store_true", help="windows as kc.Segmenter takes them")
    parser.add_argument("--image-size", type=int, help="working size of the segmenter")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "evaluation_memory.json")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype("uint8")
    if options.backbone:
        lite = options.backbone.startswith("efficientnet")
        laptop: dict[str, Any] = {"output_stride": 16, "head_channels": 128} if lite else {}
        model: keras.Model = kc.CaCNet(options.classes, backbone=options.backbone, **laptop)
    else:
        model = keras.Sequential(
            [keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 64), keras.layers.Conv2D(options.classes, 1)]
        )
    scales = tuple(map(float, options.scales.split(",")))
    protocol = Protocol(scales, flip=True, crop_size=options.crop_size)
    if options.segmenter:
        protocol = Protocol(image_size=options.image_size)
    segmenter = kc.Segmenter(model, protocol=protocol)
    start = time.perf_counter()
    ids = segmenter(image).ids if options.segmenter else kc.evaluation.ids(model, image, protocol)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {
        "image": list(ids.shape),
        "network": options.backbone or "one convolution",
        "classes": options.classes,
        "protocol": protocol.to_json(),
        **({"window": segmenter.window} if options.segmenter else {}),
        "peak_gib": round(peak, 2),
        "seconds": round(seconds),
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
