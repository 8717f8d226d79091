"""Pictures inside a page: photographs and masks as data, figures as SVG in the colours of the page."""

import base64
import io
import re

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from keras_cacnet.datasets.classes import VOID, ClassTable

LONG_SIDE = 420
"""Pixels of the long side of a picture on the page."""


def photograph(image: np.ndarray) -> str:
    """Encode a photograph as the data of a JPEG, no larger than it is shown.

    Example:
        >>> photograph(np.zeros((4, 6, 3), "uint8"))[:27]
        'data:image/jpeg;base64,/9j/'
    """
    return _data(Image.fromarray(image), "JPEG", Image.Resampling.LANCZOS, quality=82)


def mask(ids: np.ndarray, classes: ClassTable) -> str:
    """Encode class indices in the colours of the classes, as the data of a palette PNG; void lets the ground through.

    Example:
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> mask(np.zeros((4, 6), "uint8"), classes)[:22]
        'data:image/png;base64,'
    """
    picture = Image.fromarray(ids.astype("uint8"))
    palette = np.zeros((256, 3), "uint8")
    palette[: len(classes)] = classes.palette
    picture.putpalette(palette.tobytes())
    return _data(picture, "PNG", Image.Resampling.NEAREST, transparency=VOID)


def svg(figure: Figure, title: str) -> str:
    """Render a figure as SVG: its ground is the page's, and what is black in it has the colour of the page's text.

    Args:
        figure: of matplotlib.
        title: what it shows, for those who cannot see it.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"#000000|(?<=stroke: )black", "currentColor", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def _data(picture: Image.Image, kind: str, resampling: Image.Resampling, **options: object) -> str:
    factor = LONG_SIDE / max(picture.size)
    if factor < 1:
        size = tuple(max(1, round(side * factor)) for side in picture.size)
        picture = picture.resize((size[0], size[1]), resampling)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
