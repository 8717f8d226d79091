"""Bring any usual data set into the standard folder: recognise its form, read it, write images, masks and classes."""

import os
from collections import Counter
from collections.abc import Sequence

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.importing.cityscapes import Cityscapes
from keras_cacnet.datasets.importing.class_lists import NamedClass, read_class_list
from keras_cacnet.datasets.importing.coco import COCO
from keras_cacnet.datasets.importing.coco_panoptic import COCOPanoptic
from keras_cacnet.datasets.importing.forms import Form, Wishes, recognise_form
from keras_cacnet.datasets.importing.import_report import ImportReport
from keras_cacnet.datasets.importing.labelme import LabelMe
from keras_cacnet.datasets.importing.mask_coding import CODINGS
from keras_cacnet.datasets.importing.paired_masks import PairedMasks, VOCTree
from keras_cacnet.datasets.importing.source_tree import SourceTree
from keras_cacnet.datasets.importing.splitting import SPLITS, deal, require_pattern, require_shares
from keras_cacnet.datasets.importing.writing import Target, fingerprint
from keras_cacnet.datasets.importing.yolo import YOLO
from keras_cacnet.files import user_path, writable_folder
from keras_cacnet.progress import ProgressBar
from keras_cacnet.wording import listed

__all__ = ["IMPORT_FORMATS", "MASK_CODINGS", "ImportReport", "import_folder"]

_FORMS: tuple[Form, ...] = (Cityscapes(), VOCTree(), COCOPanoptic(), COCO(), LabelMe(), YOLO(), PairedMasks())
IMPORT_FORMATS = tuple(form.name for form in _FORMS)
"""The forms that are recognised, the most particular first."""
MASK_CODINGS = CODINGS
"""How masks write classes."""


def import_folder(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format: str | None = None,
    split: Sequence[float] | None = None,
    seed: int = 0,
    group_by: str | None = None,
    classes: str | os.PathLike[str] | Sequence[str] | None = None,
    masks: str | None = None,
    progress: bool = True,
) -> ImportReport:
    """Bring a data set into the standard folder that `Folder` reads.

    The source is only read. A run that was broken off goes on when the same call is made again; `classes.txt` is
    written last. What was left out, and why, is in the report and in `import.json` beside the set.

    Args:
        source: the folder with images and annotations, in one of the forms of `IMPORT_FORMATS`.
        output: the folder to write, which is new or empty, or holds a part of this very import.
        format: one of `IMPORT_FORMATS`; None to recognise it.
        split: the shares of train, val and test, dealt by chance. By default the source's own splits are kept;
            where it has none, 0.8, 0.1, 0.1.
        seed: of the dealing.
        group_by: a regular expression on an image's path in the source; images for which its groups (or all of it)
            match the same text are dealt to one split, as frames of one video should be.
        classes: a file with names, and colours or ids where the masks need them (any usual list), or a sequence of
            names; by default a list in the source, else what the annotations hold.
        masks: how masks write classes, one of `MASK_CODINGS`; None to find it out.
        progress: whether to show progress.

    Returns:
        What was written and what was left out.

    Raises:
        ValueError: the source has no known form, or what it holds does not fit together; or the output holds something
            else.
        OSError: the output cannot be written.

    Example:
        >>> import_folder("nowhere", "data")
        Traceback (most recent call last):
        ValueError: nowhere: does not exist; name the folder that has the images and their masks.
    """
    tree = SourceTree(source)
    folder = writable_folder(output)
    shares = None if split is None else require_shares(tuple(split))
    pattern = None if group_by is None else require_pattern(group_by)
    if masks is not None and masks not in MASK_CODINGS:
        raise ValueError(f"masks {masks!r} is none of {', '.join(MASK_CODINGS)}")
    if folder.resolve() == tree.root.resolve() or tree.root.resolve() in folder.resolve().parents:
        raise ValueError(f"{folder}: is in the source, {tree.root}, which is only read; name a folder outside of it")
    form = recognise_form(tree, _FORMS, format)
    if masks is not None and not form.has_masks:
        has_masks = listed(one.name for one in _FORMS if one.has_masks)
        raise ValueError(f"masks={masks!r} is for the formats {has_masks}; {form.name} has its own coding")
    show = ProgressBar if progress else _unseen
    if progress:
        print(f"{tree.root}: format {form.name}, {len(tree.files)} files", flush=True)
    found = form.read(tree, Wishes(_wanted(classes), masks, show))
    if not found.items:
        first = f"; {found.findings[0]}" if found.findings else ""
        raise ValueError(f"{tree.root}: {found.what}, and none of their images{first}")
    if progress:
        print(found.what, flush=True)
    dealt, findings = deal(found.items, shares, seed, pattern)
    choices = (form.name, found.classes.to_json(), shares, seed, group_by, masks)
    target = Target(folder, fingerprint(tree, choices), found.classes)
    if (finished := target.finished()) is not None:
        return ImportReport.from_json(finished)
    written = target.write(dealt, show)
    counts = Counter(split for (_, split), entry in zip(dealt, written, strict=True) if entry.is_written)
    if not counts:
        raise ValueError(f"{tree.root}: nothing is left; {written[0].findings[0]}")
    occurring = {i for entry in written for i in entry.ids}
    kept = found.classes
    if found.has_ground and kept.ids[0] not in occurring:
        # Annotations that cover everything leave no background.
        kept = ClassTable(kept.names[1:], kept.palette[1:], kept.ids[1:])
    report = ImportReport(
        tree.root,
        folder,
        form.name,
        found.what,
        kept,
        {split: counts[split] for split in SPLITS if counts[split]},
        (*found.findings, *findings, *(finding for entry in written for finding in entry.findings)),
    )
    target.finish(kept, report.to_json())
    return report


def _wanted(classes: str | os.PathLike[str] | Sequence[str] | None) -> tuple[NamedClass, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, str | os.PathLike):
        return read_class_list(user_path(classes))
    return tuple(NamedClass(str(name)) for name in classes)


def _unseen(title: str, total: int) -> ProgressBar:
    return ProgressBar(title, 0)
