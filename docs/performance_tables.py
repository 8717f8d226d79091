"""The tables of docs/performance.md, from the JSON in benchmarks/results; `tables.py` prints and writes them."""

import json
import re
import statistics
from pathlib import Path
from typing import Any

# As benchmarks/performance.py names them.
NETWORKS = "networks"
RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


def performance() -> str:
    """Ratios, the median and the quartiles, and the memory beyond the bare import."""
    result = read("performance.json")
    lines = ["| | beside | time | of the fastest calls | processor time | peak memory | own | the other's |"]
    lines.append("|---|---|" + "---:|" * 6)
    for name, comparison in result["comparisons"].items():
        if name.startswith(NETWORKS):
            continue
        if comparison is None:
            lines.append(f"| {name} | | not run yet | | | | | |")
            continue
        *others, (beside, last) = comparison["subjects"].items()
        for subject, own in others:
            times = [own["ratio"][kind] for kind in ("wall", "processor")]
            cells = [f"{time['median']:.2f} ({time['low']:.2f} to {time['high']:.2f})" for time in times]
            walls = [one["wall_s"].get("least") for one in (own, last)]
            cells.insert(1, f"{walls[0] / walls[1]:.2f}" if all(walls) else "")
            cells += [f"{own['ratio']['peak_mb']:.2f}", f"{own['peak_mb']} MiB", f"{last['peak_mb']} MiB"]
            lines.append(f"| {name}: {subject} | {beside} | {' | '.join(cells)} |")
    return "\n".join(lines)


def networks() -> str:
    """Networks of this package and of KerasHub against CaC-Net."""
    lines = ["| | parameters | time | processor time | peak memory | own |", "|---|" + "---:|" * 5]
    for name, comparison in read("performance.json")["comparisons"].items():
        if not name.startswith(NETWORKS):
            continue
        title = name.removeprefix(f"{NETWORKS}, ")
        if comparison is None:
            lines.append(f"| {title} | not run yet | | | | |")
            continue
        for network, found in comparison["subjects"].items():
            cells = [f"{found['parameters'] / 1e6:.1f}M"]
            cells += [_of_spread(found, kind) for kind in ("wall", "processor")]
            cells += [f"{found['ratio']['peak_mb']:.2f}" if "ratio" in found else "1", f"{found['peak_mb']} MiB"]
            lines.append(f"| {title}: {network} | {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else "Not run yet."


def _of_spread(found: dict[str, Any], kind: str) -> str:
    if "ratio" not in found:
        return "1"
    ratio = found["ratio"][kind]
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def growth() -> str:
    """Processor time and memory by size, and their slopes."""
    lines = ["| | size | processor time | memory of a call |", "|---|---:|---:|---:|"]
    for name, found in read("performance.json")["growth"].items():
        if found is None:
            lines.append(f"| {name} | not run yet | | |")
            continue
        for step in found["steps"]:
            size = f"{step['batch']}x{step['size']}x{step['size']}"
            lines.append(f"| {name} | {size} | {step['processor_s']['median']:.2f} s | {step['calls_mb']} MiB |")
        slopes = found["slopes"]
        lines.append(f"| {name} | slope | {slopes['processor']:.2f} | {slopes['memory']:.2f} |")
    return "\n".join(lines)


def accelerator() -> str:
    """Milliseconds on a GPU."""
    return _under_jax("accelerator.json")


def accelerator_cpu() -> str:
    """Milliseconds on a CPU."""
    return _under_jax("accelerator_cpu.json")


def _under_jax(name: str) -> str:
    """Milliseconds under JAX and PyTorch by subject, and the floor."""
    if not (RESULTS / name).is_file():
        return "Not run yet."
    result = read(name)
    columns = ["JAX, this package", "PyTorch, eager", "PyTorch, eager, channels last", "PyTorch, compiled"]
    lines = [f"| ms a call | floor | {' | '.join(columns)} | to the fastest of PyTorch | memory | PyTorch's |"]
    lines.append("|---|" + "---:|" * (len(columns) + 4))
    for name, subject in result["subjects"].items():
        forms = {form.replace("compiled, channels last", "compiled"): found for form, found in subject["forms"].items()}
        own = forms["JAX, this package"]
        theirs = {form: found for form, found in forms.items() if form.startswith("PyTorch")}
        fastest = min(theirs.values(), key=lambda found: found["median"], default=None)
        floor = subject["floor_s"]
        cells = ["" if floor is None else f"{1e3 * floor:.3f}"]
        cells += [f"{1e3 * forms[form]['median']:.3g}" if form in forms else "" for form in columns]
        cells.append("" if fastest is None else f"{own['median'] / fastest['median']:.2f}")
        for found in (own, fastest):
            memory = found and found["memory_mb"]
            cells.append("" if memory is None else f"{memory / 1024:.2f} GiB")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def where_to_run() -> str:
    """Times to the SavedModel's, processor times in brackets, and memory beyond the import, by runtime and images."""
    if not (RESULTS / "where_to_run.json").is_file():
        return "Not run yet."
    result = read("where_to_run.json")
    cases = {
        f"{case}{'' if network == 'laptop' else ', ResNet-50'}": found
        for network in ("laptop", "ResNet-50, output stride 8")
        for case, found in result[network]["cases"].items()
    }
    sizes = result["laptop"]["megabytes"]
    runtimes: dict[str, list[str]] = {}
    for case in cases.values():
        for name in case["subjects"] if case else ():
            runtimes.setdefault(name, [])
    lines = [f"| | file, MB | import, MiB | {' | '.join(cases)} |", "|---|" + "---:|" * (len(cases) + 2)]
    for name in runtimes:
        size = next(megabytes for file, megabytes in sizes.items() if file.split("@")[0] == name)
        found = [case["subjects"].get(name) if case else {} for case in cases.values()]
        imported = round(statistics.median(one["import_mb"] for one in found if one))
        lines.append(f"| {name} | {size:.1f} | {imported} | {' | '.join(map(_time_and_memory, found))} |")
    return "\n".join(lines)


def _time_and_memory(found: dict[str, Any] | None) -> str:
    """Nothing for a file that there is not."""
    if not found:
        return "" if found is None else "not run yet"
    times = [found["ratio"][kind]["median"] if "ratio" in found else 1 for kind in ("wall", "processor")]
    return f"{times[0]:.2f} ({times[1]:.2f}), {found['peak_mb']} MiB"


def serving_speed() -> str:
    """Images a second and latencies of the KServe server, by clients and images a request."""
    if not (RESULTS / "serving_speed.json").is_file():
        return "Not run yet."
    found = read("serving_speed.json")["by concurrency"]
    titles = [f"{title}, `--concurrency {count}`" for count in found for title in ("images/s", "p50", "p99")]
    lines = [f"| images | clients | {' | '.join(titles)} |", "|---|---:|" + "---:|" * len(titles)]
    for rows in zip(*(server["rows"] for server in found.values()), strict=True):
        together, size = rows[0]["images a request"], rows[0]["size"]
        cells = [f"{together}x{size}x{size}", str(rows[0]["clients"])]
        for row in rows:
            cells += [f"{row['images a second']:.1f}", f"{row['p50_ms']:.0f} ms", f"{row['p99_ms']:.0f} ms"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def input_pipeline() -> str:
    """Crops a second and the processor time of one, by data and processors."""
    lines = ["| | processors | | crops a second | processor time of a crop | to this package's |"]
    lines.append("|---|---|---|---:|---:|---:|")
    for data, comparisons in read("input_pipeline.json")["data"].items():
        for cores, subjects in comparisons.items():
            for name, found in subjects.items():
                ratio = f"{found['ratio']['processor']['median']:.2f}" if "ratio" in found else ""
                time = f"{found['processor_ms_per_crop']:.1f} ms"
                lines.append(f"| {data} | {cores[0]} | {name} | {found['crops_per_second']:.0f} | {time} | {ratio} |")
    return "\n".join(lines)


def what_fits() -> str:
    """Images a device by recipe, and the check of what is predicted."""
    result = read("what_fits.json")
    devices = list(next(found["images"] for found in result["recipes"].values() if found))
    lines = [f"| recipe | GB an image | {' | '.join(f'{size} GB' for size in devices)} |"]
    lines.append("|---|---:|" + "---:|" * len(devices))
    for name, found in result["recipes"].items():
        if found is None:
            lines.append(f"| {name} | not run yet |{' |' * len(devices)}")
            continue
        images = " | ".join(str(count) for count in found["images"].values())
        lines.append(f"| {name} | {found['image_bytes'] / 1e9:.2f} | {images} |")
    lines += ["", "| step of 2 images, beyond one of 256x256 | predicted | measured | ratio |", "|---|---:|---:|---:|"]
    for one in result["check"]:
        name = f"{one['size']}x{one['size']}{', recompute' if one['recompute'] else ''}"
        lines.append(f"| {name} | {one['predicted_mb']} MiB | {one['measured_mb']} MiB | {one['ratio']:.2f} |")
    if not result["check"]:
        lines.append("| not run yet | | | |")
    return "\n".join(lines)


def layer() -> str:
    lines = ["| | this package | native dilation | shifted products |", "|---|---|---|---|"]
    for shape, kinds in read("layer.json")["convolution"].items():
        for kind, variants in kinds.items():
            ratios = " | ".join(f"{value['ratio']:.2f}" for value in variants.values())
            lines.append(f"| {shape}, {kind} | {ratios} |")
    return "\n".join(lines)


def step() -> str:
    variants = read("layer.json")["training step, ResNet-18, 4x128x128"]
    names = " | ".join(variants)
    ratios = " | ".join(f"{value['ratio']:.2f}" for value in variants.values())
    return f"| | {names} |\n|---|{'---|' * len(variants)}\n| training step | {ratios} |"


TABLES = {
    table.__name__: table
    for table in (
        performance,
        growth,
        accelerator,
        accelerator_cpu,
        input_pipeline,
        where_to_run,
        networks,
        what_fits,
        serving_speed,
        layer,
        step,
    )
}
_MARKED = re.compile(rf"(<!-- ({'|'.join(TABLES)}) -->\n).*?(<!-- end -->)", re.S)


def fill_performance(text: str) -> str:
    """Put the page's tables between marks such as `<!-- growth -->` and `<!-- end -->`."""
    return _MARKED.sub(lambda mark: f"{mark[1]}{TABLES[mark[2]]()}\n{mark[3]}", text)
