"""Prints the tables of docs/ and examples/browser from the JSON in benchmarks/results.

python docs/tables.py
python docs/tables.py --write     # puts those between marks into results.md and performance.md
"""

import re
import sys
from pathlib import Path
from typing import Any

from performance_tables import RESULTS, TABLES, fill_performance, read

from keras_cacnet.paper.ablation_markdown import basis, table_lines


def camvid() -> str:
    reports = {"FCN": read("camvid_half_fcn.json"), "CaC + GP": read("camvid_half_cacnet.json")}
    lines = ["| | " + " | ".join(reports) + " |", "|---|" + "---|" * len(reports)]
    for key, title in (("mean_iou", "**mIoU**"), ("pixel_accuracy", "**pixel accuracy**")):
        lines.append(f"| {title} | " + " | ".join(f"{report[key]:.3f}" for report in reports.values()) + " |")
    by_class = [{row["name"]: row["iou"] for row in report["classes"]} for report in reports.values()]
    for name in by_class[0]:
        lines.append(f"| {name} | " + " | ".join(f"{scores[name]:.3f}" for scores in by_class) + " |")
    return "\n".join(lines)


def tflite() -> str:
    result = read("tflite.json")
    lines = [
        "| | MB | pixels as in Keras | mIoU | time, 1 thread | time, 2 threads |",
        "|---|---:|---:|---:|---:|---:|",
        f"| Keras | | | {result['keras']['mean_iou']:.2f} | | |",
    ]
    for name, file in result["files"].items():
        ratios = " | ".join(f"{result['threads'][threads][name]['ratio']:.2f}" for threads in ("1", "2"))
        equal = f"{100 * file['equal_ids']:.2f} %"
        lines.append(f"| {name} | {file['bytes'] / 1e6:.2f} | {equal} | {file['mean_iou']:.2f} | {ratios} |")
    return "\n".join(lines)


def int8_kept() -> str:
    lines = ["| `int8`, in float32 stays | pixels as in Keras | mIoU |", "|---|---:|---:|"]
    for name, score in read("tflite.json")["int8, any size, by what stays in float32"].items():
        lines.append(f"| {name} | {100 * score['equal_ids']:.2f} % | {score['mean_iou']:.2f} |")
    return "\n".join(lines)


def browser() -> str:
    """Times are those of the larger images, to float32's in the browser and to the same file's outside of it."""
    small, large = read("browser.json")["files"], read("browser_512.json")["files"]
    lines = [
        "| | MB | pixels as in Keras, 128x128 | 512x512 | time to float32's, 1 thread | 2 threads "
        "| time to LiteRT's outside, 1 thread | 2 threads |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, file in large.items():
        inside, outside = file["browser_ms"].values(), file["outside_ms"].values()
        ratios = [own / first for own, first in zip(inside, large["float32"]["browser_ms"].values(), strict=True)]
        ratios += [own / other for own, other in zip(inside, outside, strict=True)]
        equal = " | ".join(f"{100 * files[name]['equal_ids']:.2f} %" for files in (small, large))
        lines.append(f"| {name} | {file['bytes'] / 1e6:.1f} | {equal} | {' | '.join(f'{r:.2f}' for r in ratios)} |")
    return "\n".join(lines)


def ablation(name: str) -> str:
    """Table, what its figures are, and the figure, of one `ablation_NAME.json`."""
    values = read(f"ablation_{name}.json")
    shown = f"![mIoU, its interval and cost by row](images/ablation_{name}.png)"
    return "\n".join([*table_lines(values), "", f"In %. {basis(values)}", "", shown])


def ablation_classes(name: str) -> str:
    """The IoU of every class that counts, the mean over seeds, by row."""
    values = read(f"ablation_{name}.json")
    rows = {row["row"]: [run["classes"] for run in row["runs"] if run["classes"]] for row in values["rows"]}
    rows = {row: runs for row, runs in rows.items() if runs}
    if not rows:
        return "Not run yet."
    names = values["classes_that_count"] or list(next(iter(rows.values()))[0])
    lines = [f"| IoU in % | {' | '.join(rows)} |", "|---|" + "---:|" * len(rows)]
    for one in names:
        means = [sum(classes[one] for classes in runs) / len(runs) for runs in rows.values()]
        lines.append(f"| {one} | {' | '.join(f'{100 * mean:.1f}' for mean in means)} |")
    return "\n".join(lines)


def weighting(name: str) -> str:
    """What the weights and kernels of trained heads are like, means over the heads, of one `weighting_NAME.json`."""
    head = ["run", "saturated, before training", "after", "D between images", "D with pooled features", "with classes"]
    head += ["mIoU, own D", "mean D", "D of another image", "no D"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for run, found in read(f"weighting_{name}.json")["runs"].items():
        heads = list(found["heads"].values())
        shares = [[one["W before training"]["saturated"] for one in heads], [one["W"]["saturated"] for one in heads]]
        shares += [[one["kernels"]["share_between_images"] for one in heads]]
        cells = [f"{100 * sum(values) / len(values):.1f} %" for values in shares]
        for key in ("alignment_with_pooled_features", "alignment_with_class_areas"):
            values = [one["kernels"][key] for one in heads]
            cells.append("" if None in values else f"{sum(values) / len(values):.2f}")
        cells += [f"{100 * score:.2f}" for score in found["mean_iou_by_kernels"].values()]
        lines.append(f"| {run} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"![W and D of trained heads](images/weighting_{name}.png)"])


def resolution(name: str) -> str:
    """The mIoU by the size of the images of one `resolution_NAME.json`, in % of the run's `image_size`."""
    runs = read(f"resolution_{name}.json")["runs"]
    scales = list(runs[0]["mean_iou"])
    lines = [f"| mIoU in %, at times `image_size` | {' | '.join(scales)} |", "|---|" + "---:|" * len(scales)]
    titles = {"mean_iou": "", "mean_iou_of_the_sum": ", plain sum"}
    for run in runs:
        recipe = run["recipe"]
        title = recipe["reweighting"] + (" + GP" if recipe["global_pooling"] else "") + f", seed {recipe['seed']}"
        for key, more in titles.items():
            if key in run:
                figures = " | ".join(f"{100 * score:.2f}" for score in run[key].values())
                lines.append(f"| {title}{more} | {figures} |")
    return "\n".join(lines)


def variants(name: str) -> str:
    """Other starts and rates of the re-weighting against CaC-Net and its control, of one `variants_NAME.json`, in %."""
    lines = ["| | mIoU | less `Ours` | less `None` | seeds |", "|---|---:|---:|---:|---:|"]
    for title, found in read(f"variants_{name}.json")["variants"].items():
        cells = [f"{100 * found['mean']:.2f}", *(_difference(found[key]) for key in ("less_ours", "less_control"))]
        lines.append(f"| {title} | {' | '.join(cells)} | {len(found['mean_iou'])} |")
    return "\n".join(lines)


def finetune(name: str) -> str:
    """The IoU of every class that counts after `laptop`, of one `laptop_NAME.json`, and after `finetune`, in %."""
    before = {row["name"]: row["iou"] for row in read(f"laptop_{name}.json")["classes"] if row["counts"]}
    after = {row["name"]: row["iou"] for row in read(f"finetune_{name}.json")["classes"] if row["name"] in before}
    means = [sum(scores.values()) / len(before) for scores in (before, after)]
    lines = ["| IoU in % | `laptop` | `finetune` | difference |", "|---|---:|---:|---:|"]
    for one, first, then in [("**mean**", *means), *((one, before[one], after[one]) for one in before)]:
        lines.append(f"| {one} | {100 * first:.1f} | {100 * then:.1f} | {100 * (then - first):+.1f} |")
    return "\n".join(lines)


def _difference(found: dict[str, Any]) -> str:
    ends = found["interval"]
    return f"{100 * found['mean']:+.2f}" + (f" [{100 * ends[0]:+.2f}, {100 * ends[1]:+.2f}]" if ends else "")


# What the names of their JSON begin with, by table.
_FILES = {
    **{name: name for name in ("ablation", "weighting", "resolution", "variants", "finetune")},
    "ablation_classes": "ablation",
}
_MARKED = re.compile(rf"(<!-- ({'|'.join(_FILES)}) (\w+) -->\n).*?(<!-- end -->)", re.S)


def fill(text: str) -> str:
    """Put tables between marks such as `<!-- ablation camvid_table_1 -->` and `<!-- end -->`."""

    def filled(mark: re.Match[str]) -> str:
        if not (RESULTS / f"{_FILES[mark[2]]}_{mark[3]}.json").is_file():
            return f"{mark[1]}Not run yet.\n{mark[4]}"
        return f"{mark[1]}{globals()[mark[2]](mark[3])}\n{mark[4]}"

    return _MARKED.sub(filled, text)


if __name__ == "__main__":
    if "--write" in sys.argv:
        for name, filled in {"results.md": fill, "performance.md": fill_performance}.items():
            page = Path(__file__).with_name(name)
            page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        for table in (camvid, *TABLES.values(), tflite, int8_kept, browser):
            print(table(), end="\n\n")
        for file in sorted(RESULTS.glob("ablation_*_table_*.json")):
            print(ablation(file.stem.removeprefix("ablation_")), end="\n\n")
