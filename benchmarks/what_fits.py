"""How many images fit on a device in a step of training, by recipe of the paper.

python benchmarks/what_fits.py            # traces the networks and writes results/what_fits.json; some 20 minutes
python benchmarks/what_fits.py --check    # measures steps on this machine's CPU beside what is predicted of them

Method. A step of training is traced, forward, losses, gradients and update, and its operations are gone through in the
order in which TensorFlow's executor begins them (`live_memory.py`). The most that their tensors hold at once grows with
the number of images; weights and momentum lie beside it:

    memory = `FIXED` * weights + images * (tensors of a step with one image)

`FIXED` is 3: weights, momentum and gradients. `RESERVE` of every device is left to CUDA, cuDNN's workspaces and
fragmentation, and was not measured.

The check takes the difference between steps on larger images and one on 256x256, in processes of their own, for what
Python, TensorFlow and the weights take is in all. `FREEING` has memory go back to the system when a tensor is freed:
with TensorFlow's own allocator the difference has its fragmentation too.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from performance import CLASSES, FREEING, HERE, Process

DEVICES = (16, 24, 40, 80)
"""GB."""
RESERVE = 2e9
FIXED = 3
RECIPES = ("pascal_context_resnet50", "pascal_context_resnet101", "ade20k_resnet101")
SMALL, CHECKED = 256, (384, 512)
BATCH = 2
OUTPUT = HERE / "results" / "what_fits.json"


def predicted(name: str, precision: str, recompute: bool) -> dict[str, Any]:
    """Bytes of a step by recipe, and the images that fit on every device."""
    import keras
    from live_memory import live_bytes, traced

    from keras_cacnet.paper import recipe_named
    from keras_cacnet.training.compiling import compile_network, new_network

    published = recipe_named(name)
    recipe = replace(published.recipe, weights=None, precision=precision, recompute=recompute)
    model = new_network(recipe, published.num_classes)
    compile_network(model, recipe, published.num_classes, total_steps=2)
    model.optimizer.build(model.trainable_variables)
    weights = sum(4 * weight.value.shape.num_elements() for weight in model.weights)
    image = live_bytes(traced(model, 1, (recipe.crop_size,) * 2))
    keras.utils.clear_session()
    fits = {size: max(0, int((size * 1e9 - RESERVE - FIXED * weights) // image)) for size in DEVICES}
    return {"crop": recipe.crop_size, "weights_bytes": weights, "image_bytes": image, "images": fits}


def checked() -> Iterator[dict[str, Any]]:
    """What steps on larger images take beyond one on smaller ones: on this CPU, and as predicted from their graphs."""
    from live_memory import live_bytes, traced
    from own_subjects import build

    import keras_cacnet as kc

    for recompute in (False, True):
        model = build("cacnet", CLASSES, recompute=recompute)
        model.compile(kc.optimizers.SGD(1e-3, momentum=0.9, weight_decay=1e-4), kc.losses.SegmentationCrossentropy())
        model.optimizer.build(model.trainable_variables)
        mb = {size: live_bytes(traced(model, BATCH, (size, size))) / 2**20 for size in (SMALL, *CHECKED)}
        small = _measured(SMALL, recompute)
        for size in CHECKED:
            own, expected = _measured(size, recompute) - small, mb[size] - mb[SMALL]
            yield {
                **{"size": size, "recompute": recompute, "measured_mb": round(own), "predicted_mb": round(expected)},
                "ratio": round(expected / own, 3),
            }


def _measured(size: int, recompute: bool) -> float:
    """MiB of a step beyond the import."""
    settings = {"by": "ours", "what": "train", "network": "cacnet", "classes": CLASSES, "recompute": recompute}
    with Process({**settings, "size": size, "batch": BATCH, "environment": FREEING}) as process:
        process.call()
    return float(process.result()["peak_mb"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="measure instead of predicting")
    parser.add_argument("--only", default="", help="a word in the recipes to predict")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    result = json.loads(options.output.read_text()) if options.output.is_file() else {"recipes": {}, "check": []}
    if options.check:
        result["check"] = []
        for row in checked():
            print(json.dumps(row), flush=True)
            result["check"].append(row)
            options.output.write_text(json.dumps(result, indent=2) + "\n")
    else:
        result |= {"fixed": FIXED, "reserve_bytes": RESERVE}
        for name in RECIPES:
            for precision in ("float32", "bfloat16"):
                for recompute in (False, True):
                    key = f"{name}, {precision}{', recompute' if recompute else ''}"
                    # So that the page says what was not run.
                    result["recipes"].setdefault(key, None)
                    if options.only in key:
                        result["recipes"][key] = predicted(name, precision, recompute)
                        print(key, json.dumps(result["recipes"][key]), flush=True)
                    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
