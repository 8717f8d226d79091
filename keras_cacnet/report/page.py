"""A run's page: its sections in one HTML file that needs no network, on any screen, by day and by night."""

import os
from html import escape
from pathlib import Path

from keras_cacnet.datasets import SegmentationDataset
from keras_cacnet.files import writable_file, write_atomically
from keras_cacnet.report import sections
from keras_cacnet.report.findings import Findings, find
from keras_cacnet.training.run import Run

REPORT_FILE = "report.html"

_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--text:#1d2430;--soft:#5d6878;--line:#dde2ea;--card:#f4f6f9;--bar:#3d7dd8}
@media (prefers-color-scheme:dark){:root{--ground:#14181f;--text:#e4e8ef;--soft:#9aa5b5;--line:#2d3542;--card:#1d232d;
--bar:#4d8de8}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:20px 16px 60px;background:var(--ground);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:26px;margin:8px 0;overflow-wrap:anywhere}h2{font-size:19px;margin:38px 0 10px;padding-top:10px;
border-top:1px solid var(--line)}h3{font-size:15px;margin:22px 0 6px}p{margin:6px 0 10px}
nav{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:14px}a{color:var(--bar)}.note{color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:10px;margin:16px 0}
.card{background:var(--card);border-radius:8px;padding:10px 14px}.card b{display:block;font-size:21px}
.card span{color:var(--soft);font-size:13px}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}th{font-weight:500;text-align:left}
.bars{width:100%}.bars th,.bars td{padding:3px 8px 3px 0;white-space:nowrap}.bars td{position:relative;width:15%;
min-width:58px}.bars td span{position:relative;padding-left:5px;z-index:1}.bars td i{position:absolute;left:0;top:3px;
bottom:3px;background:var(--bar);opacity:.32;border-radius:2px}.bars tfoot{border-top:1px solid var(--line)}
.bars tbody tr:nth-child(even),.facts tr:nth-child(even){background:var(--card)}
.swatch,.legend i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:7px;vertical-align:-1px;
border:1px solid var(--line)}
.matrix td,.matrix th{padding:2px 5px;font-size:12px;text-align:right;white-space:nowrap}
.matrix thead span{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left}
.matrix thead th{vertical-align:bottom}
.matrix td{min-width:30px;background:color-mix(in srgb,var(--bar) calc(var(--s)*100%),var(--ground))}
.matrix .full{color:#fff}.matrix tbody th{position:sticky;left:0;background:var(--ground)}
.figure svg{width:100%;max-width:640px;height:auto}svg text{fill:currentColor}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;padding:0;font-size:13px}
.pictures{display:grid;grid-template-columns:repeat(3,1fr);gap:6px;max-width:1080px}figure{margin:0}
img{width:100%;height:auto;display:block;border-radius:3px;image-rendering:auto}
figcaption{font-size:12px;color:var(--soft)}.example p{margin:12px 0 3px;font-size:14px;overflow-wrap:anywhere}
.batch{display:grid;grid-template-columns:repeat(auto-fill,minmax(104px,1fr));gap:8px}.batch figure{margin-bottom:4px}
.void{background:repeating-linear-gradient(45deg,var(--soft) 0 1px,var(--ground) 1px 5px)}
@media (max-width:560px){.bars th,.bars td,.facts{font-size:12px}.bars td{min-width:47px}.bars th,.bars td{
padding-right:4px}.bars thead th{white-space:normal}}
.facts th,.facts td{padding:3px 16px 3px 0;vertical-align:top;text-align:left}.facts td{overflow-wrap:anywhere}
.facts th{color:var(--soft);white-space:nowrap}
code{font:13px ui-monospace,Menlo,Consolas,monospace}summary{cursor:pointer;margin:8px 0}
"""


def write_report(
    run: Run | str | os.PathLike[str],
    dataset: SegmentationDataset | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    split: str | None = None,
    images: int | None = None,
) -> Path:
    """Write a run's page: what it came to, what its network sees, what it was made of, in one HTML file.

    It has the curves, every class with precision, recall, IoU, F1 and boundary F-score, the confusion matrix in shares
    and pixels, the best and the worst images beside their masks, a batch as augmented for training, the frequencies of
    the classes, configuration, environment, and time. Nothing in it is loaded from anywhere.

    Args:
        run: the run, or its folder.
        dataset: its data, to predict images; without it the page has what the run itself has counted.
        path: the file; `report.html` in the run's folder by default.
        split: the split to score; by default the recipe's validation split.
        images: the most images to predict; None takes all of the split.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: there is no such run, or it has no checkpoint yet.
        ValueError: data of other classes, or a split that there is not.
        OSError: the file cannot be written.

    Example:
        Of a run on data of its own::

            kc.report.write_report("runs/mine", kc.datasets.open_dataset("photographs"))
    """
    run = run if isinstance(run, Run) else Run(run)
    page = writable_file(path or run.path / REPORT_FILE)
    found = find(run, dataset, split, images)
    text = _page(run, found)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, lambda part: part.write_text(text, encoding="utf-8"))
    return page


def _page(run: Run, found: Findings) -> str:
    title = run.path.resolve().name
    parts = _sections(run, found)
    links = "".join(f"<a href='#{number}'>{escape(name)}</a>" for number, name in enumerate(parts))
    body = "".join(f"<h2 id='{number}'>{escape(name)}</h2>{part}" for number, (name, part) in enumerate(parts.items()))
    name = run.config.get("recipe_name")
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(title)}</title>"
        f"<meta name=viewport content='width=device-width,initial-scale=1'><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p class=note>A run of keras_cacnet{f', recipe {escape(name)}' if name else ''}</p>"
        f"{sections.headline(run, found)}<nav>{links}</nav>{body}</body></html>\n"
    )


def _sections(run: Run, found: Findings) -> dict[str, str]:
    """The sections that there is something to show in, by their headings."""
    classes = run.classes
    parts = {"Curves": sections.curves(run)}
    if found.scores is not None:
        parts["Classes"] = sections.class_scores(found.scores, classes, found.basis)
        parts["Confusion"] = sections.confusion(found.scores)
    if found.best or found.worst:
        worst = sections.examples("Worst", found.worst, classes)
        parts["Images"] = sections.legend(classes) + sections.examples("Best", found.best, classes) + worst
    if found.batch is not None:
        parts["Augmented batch"] = sections.batch(*found.batch, classes)
    if found.frequencies:
        parts["Class frequencies"] = sections.frequencies(found.frequencies, classes)
    parts["Configuration"] = sections.settings(run)
    parts["Environment"] = sections.environment(run)
    parts["Time and cost"] = sections.cost(run, found)
    return parts
