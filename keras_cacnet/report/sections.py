"""The sections of a run's page, each as HTML; every text in them is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation import Report
from keras_cacnet.report.findings import Findings, Shown
from keras_cacnet.report.pictures import mask, photograph, svg
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.recipe_settings import setting_text
from keras_cacnet.training.run import Run
from keras_cacnet.visualization import curve

MATRIX_CLASSES = 30
"""Classes up to which the confusion matrix is shown whole."""

_CONFUSIONS = 12


def headline(run: Run, found: Findings) -> str:
    """Show the figures that are looked at first."""
    cards: list[tuple[str, str]] = []
    if (scores := found.scores) is not None:
        cards += [("mean IoU", _percent(scores.mean_iou)), ("pixel accuracy", _percent(scores.pixel_accuracy))]
    cards += [("classes", str(len(run.classes))), ("training images", f"{run.config['images'][run.recipe.split]:,}")]
    if run.seconds:
        cards.append(("time", _duration(sum(run.seconds.values()))))
    shown = "".join(f"<div class=card><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in cards)
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in found.notes)
    return f"<div class=cards>{shown}</div>{notes}"


def curves(run: Run) -> str:
    """Show losses and scores by epoch."""
    try:
        drawn = curve(run.path / "log.csv", width=5)
    except (FileNotFoundError, ValueError) as error:
        return f"<p class=note>{escape(str(error))}</p>"
    return f"<div class=figure>{svg(drawn, 'losses and scores by epoch')}</div>"


def class_scores(scores: Report, classes: ClassTable, basis: str) -> str:
    """Show bars of every measure by class."""
    head = "".join(f"<th>{escape(name)}</th>" for name in scores.measures)
    rows = []
    for index, name in enumerate(scores.names):
        bars = "".join(_bar(values[index]) for values in scores.measures.values())
        rows.append(f"<tr><th>{_swatch(classes, index)}{escape(name)}</th>{bars}</tr>")
    means = "".join(
        f"<td><span>{100 * np.nanmean(values) if np.isfinite(values).any() else 0:.1f}</span></td>"
        for values in scores.measures.values()
    )
    told = f"In per cent, over {basis}. Accuracy is the recall; the mean is over the classes that have a score."
    table = f"<table class=bars><thead><tr><th>class</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<p>{escape(told)}</p><div class=wide>{table}<tfoot><tr><th>mean</th>{means}</tr></tfoot></table></div>"


def confusion(scores: Report) -> str:
    """Show what is taken for what: the matrix as shares and as counts, and the largest confusions."""
    counts = scores.confusion
    whole = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = counts / whole
    off = counts - np.diag(np.diagonal(counts))
    places = [np.unravel_index(place, off.shape) for place in np.argsort(-off, axis=None)[:_CONFUSIONS]]
    lines = "".join(
        f"<li>{escape(scores.names[row])} taken for {escape(scores.names[column])}: {_percent(shares[row, column])} of "
        f"its pixels, {off[row, column]:,}</li>"
        for row, column in places
        if off[row, column]
    )
    largest = f"<h3>Largest confusions</h3><ul>{lines}</ul>" if lines else "<p>Nothing was taken for anything else.</p>"
    if len(scores.names) > MATRIX_CLASSES:
        return largest
    tables = [
        _matrix(scores.names, shares, [[f"{100 * share:.0f}" for share in row] for row in shares]),
        _matrix(scores.names, shares, [[f"{count:,}" for count in row] for row in counts]),
    ]
    return (
        f"<p>A row is a class of the masks, a column what its pixels were taken for, in per cent of the row.</p>"
        f"<div class=wide>{tables[0]}</div><details><summary>In pixels</summary><div class=wide>{tables[1]}</div>"
        f"</details>{largest}"
    )


def examples(title: str, shown: Sequence[Shown], classes: ClassTable) -> str:
    """Show images with mask and prediction side by side."""
    rows = "".join(
        f"<div class=example><p>{escape(one.name)}, mean IoU {_percent(one.mean_iou)}</p><div class=pictures>"
        f"{_picture(photograph(one.image), 'image')}{_picture(mask(one.truth, classes), 'mask', 'void')}"
        f"{_picture(mask(one.ids, classes), 'prediction')}</div></div>"
        for one in shown
    )
    return f"<h3>{escape(title)}</h3>{rows}" if rows else ""


def legend(classes: ClassTable) -> str:
    """Show the colours of the classes."""
    entries = "".join(f"<li>{_swatch(classes, index)}{escape(name)}</li>" for index, name in enumerate(classes.names))
    return f"<ul class=legend>{entries}<li><i class=void></i>void</li></ul>"


def batch(images: np.ndarray, masks: np.ndarray, classes: ClassTable) -> str:
    """Show augmented training images above their masks, as the network sees them."""
    pairs = "".join(
        f"<div>{_picture(photograph(image), '')}{_picture(mask(ids, classes), '', 'void')}</div>"
        for image, ids in zip(images, masks, strict=True)
    )
    return f"<div class=batch>{pairs}</div>"


def frequencies(counts: Mapping[str, np.ndarray], classes: ClassTable) -> str:
    """Show how much of the labelled pixels is of every class, by split."""
    head = "".join(f"<th>{escape(split)}</th>" for split in counts)
    shares = [values / max(values.sum(), 1) for values in counts.values()]
    largest = max(float(values.max()) for values in shares) or 1.0
    rows = "".join(
        f"<tr><th>{_swatch(classes, index)}{escape(name)}</th>"
        f"{''.join(_bar(values[index], largest, digits=2) for values in shares)}</tr>"
        for index, name in enumerate(classes.names)
    )
    return f"<div class=wide><table class=bars><thead><tr><th>class</th>{head}</tr></thead>{rows}</table></div>"


def settings(run: Run) -> str:
    """Show the recipe; what is not a default stands out."""
    usual = Recipe().to_json()
    rows = []
    for key, value in run.config["recipe"].items():
        text = escape(setting_text(tuple(value) if isinstance(value, list) else value))
        rows.append((escape(key), f"<b>{text}</b>" if usual.get(key, value) != value else text))
    return f"<p>What differs from the defaults is bold.</p>{_facts(rows)}"


def environment(run: Run) -> str:
    """Data, command, versions and machine."""
    config = run.config
    rows = [
        ("data", escape(str(config.get("data")))),
        ("images", escape(", ".join(f"{count:,} in {split}" for split, count in config.get("images", {}).items()))),
        ("command", f"<code>{escape(' '.join(map(str, config.get('command', ()))))}</code>"),
        *((escape(name), escape(version)) for name, version in config.get("versions", {}).items()),
        *((escape(name), escape(str(value))) for name, value in config.get("hardware", {}).items()),
    ]
    if start := config.get("start_from"):
        rows.insert(1, ("started from", escape(str(start["run"]))))
    return _facts(rows)


def cost(run: Run, found: Findings) -> str:
    """Show how long it took, and what of."""
    seconds = run.seconds
    rows = []
    if seconds:
        total = sum(seconds.values())
        images = run.config["steps_per_epoch"] * run.recipe.batch_size * len(seconds)
        processors = run.config.get("hardware", {}).get("processors") or 1
        rows = [
            ("epochs", f"{len(seconds)} of {run.recipe.epochs}"),
            ("training and validation", _duration(total)),
            ("an epoch", f"{_duration(total / len(seconds))}, the first {_duration(next(iter(seconds.values())))}"),
            ("training images a second", f"{images / total:.1f}, validation included"),
            ("machine-hours", f"{total / 3600:.3f} of a machine with {processors} processors"),
        ]
    sizes = [path.stat().st_size for path in (run.path / "best.keras",) if path.is_file()]
    rows += [("checkpoint", f"{sizes[0] / 1e6:.1f} MB, with the optimizer")] if sizes else []
    rows.append(("this page", f"{found.seconds:.1f} s to score and to read"))
    return _facts(rows)


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<div class=wide><table class=facts>{body}</table></div>"


def _matrix(names: Sequence[str], shares: np.ndarray, cells: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th><span>{escape(name)}</span></th>" for name in names)
    rows = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(
            f"<td style='--s:{share:.3f}'{' class=full' if share > 0.5 else ''}>{cell}</td>"
            for share, cell in zip(shares[index], cells[index], strict=True)
        )
        + "</tr>"
        for index, name in enumerate(names)
    )
    return f"<table class=matrix><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _bar(share: float, largest: float = 1.0, digits: int = 1) -> str:
    if np.isnan(share):
        return "<td><span>-</span></td>"
    width = 100 * min(max(share / largest, 0), 1)
    return f"<td><span>{100 * share:.{digits}f}</span><i style='width:{width:.1f}%'></i></td>"


def _picture(data: str, caption: str, ground: str = "") -> str:
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure><img class='{ground}' src='{data}' alt='{escape(caption)}'>{told}</figure>"


def _swatch(classes: ClassTable, index: int) -> str:
    return f"<i class=swatch style='background:rgb{tuple(classes.palette[index])}'></i>"


def _percent(share: Any) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 100 else f"{hours:.1f} h"
