"""What a form of data set is: a source is read into items, each with a way to draw its mask."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.importing.class_lists import NamedClass
from keras_cacnet.datasets.importing.source_tree import SourceTree
from keras_cacnet.datasets.source import Finding
from keras_cacnet.progress import ProgressBar

Draw = Callable[[tuple[int, int]], np.ndarray]
"""Give the mask of an image of a width and height, as it is shown, in ids of the class table; uint8 (height, width)."""


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Args:
        path: what the reports call it, and what groups are found in: the image's path in the source.
        image: the image file, or what gives its bytes.
        draw: gives its mask, or raises a ValueError that says why it has none; None where it has no mask at all.
        split: the split that the source puts it into; None where it says nothing.
    """

    path: str
    image: Path | Callable[[], bytes]
    draw: Draw | None
    split: str | None = None


@dataclass(frozen=True)
class Found:
    """What a source holds.

    Args:
        what: one line that says what was recognised.
        classes: the classes, with the ids that `Item.draw` gives.
        items: the images.
        findings: what is left out of the result (warnings) and what is read by a rule (notes).
        has_ground: whether the first class is what no annotation covers, which may be nothing.
    """

    what: str
    classes: ClassTable
    items: tuple[Item, ...]
    findings: tuple[Finding, ...] = ()
    has_ground: bool = False


@dataclass(frozen=True)
class Wishes:
    """What a user has said on how to read a source.

    Args:
        classes: names, and colours or ids where they are needed; None where the source has to know.
        masks: how masks write classes, one of `mask_coding.CODINGS`; None where they shall show it.
        progress: called with a title and a number of files, gives what counts them.
    """

    classes: tuple[NamedClass, ...] | None = None
    masks: str | None = None
    progress: Callable[[str, int], ProgressBar] = field(default=lambda title, total: ProgressBar(title, 0))


class Form(Protocol):
    """One form in which data sets are kept."""

    name: str
    expected: str
    """Its layout in a line, for errors."""
    has_masks: bool
    """Whether it has mask files, which may write classes in several ways."""

    def recognise(self, tree: SourceTree) -> bool:
        """Tell from names, and at most the first bytes of some files, whether a source has this form."""
        ...

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Read a source; what makes it unusable is a ValueError that names the file and the mend."""
        ...


def recognise_form(tree: SourceTree, forms: Sequence[Form], name: str | None) -> Form:
    """Find the form that a source has.

    Args:
        tree: the source.
        forms: all forms, the most particular first.
        name: that of the form to take; None to recognise it.

    Returns:
        The form.

    Raises:
        ValueError: there is no form of that name, or the source has none of the forms.
    """
    if name is not None:
        for form in forms:
            if form.name == name:
                return form
        raise ValueError(f"format {name!r} is none of {', '.join(form.name for form in forms)}")
    for form in forms:
        if form.recognise(tree):
            return form
    layouts = "\n  ".join(f"{form.name}: {form.expected}" for form in forms)
    raise ValueError(
        f"{tree.root}: no known form of data set ({len(tree.files)} files, {len(tree.images)} of them images). "
        f"The known forms are:\n  {layouts}\nIf it is one of them, name it: keras-cacnet import "
        f"{shlex.quote(str(tree.root))} --output NEW_FOLDER --format NAME"
    )
