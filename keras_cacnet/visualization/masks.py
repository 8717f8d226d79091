"""Class ids as palette PNGs: the pixel values are ids, the colours are for the eye."""

from pathlib import Path

import numpy as np
from PIL import Image

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.files import user_path


def save_ids(ids: np.ndarray, path: str | Path, classes: ClassTable) -> None:
    """Write class indices as a PNG that viewers show in the colours of the classes.

    The pixel values are the ids that the mask files of the data set use (`classes.ids`), with 255 for void, so
    the file can stand as a mask of that data set. The palette has all 256 entries, hence no writer or reader
    renumbers it.

    Args:
        ids: class indices, and `VOID`.
        path: the PNG.
        classes: the classes.

    Shapes:
        - ids: (H, W)

    Raises:
        ValueError: ids that are not (H, W) integers, or an index outside the classes.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(1, 2))
        >>> path = Path(tempfile.mkdtemp()) / "beach_ids.png"
        >>> save_ids(np.array([[0, 1]], "uint8"), path, classes)
        >>> np.asarray(Image.open(path)).tolist()
        [[1, 2]]
    """
    require_ids(ids)
    picture = Image.fromarray(classes.to_file(ids))
    palette = np.zeros((256, 3), "uint8")
    palette[list(classes.ids)] = classes.palette
    picture.putpalette(palette.tobytes())
    picture.save(user_path(path), format="PNG")


def require_ids(ids: np.ndarray, image: np.ndarray | None = None) -> None:
    """Refuse class indices of another form than (H, W) integers, or of another size than their image.

    Args:
        ids: class indices.
        image: the image they belong to, where there is one.

    Raises:
        ValueError: the message names the shapes.
    """
    if ids.ndim != 2 or 0 in ids.shape or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"class indices must be integers (H, W), got {ids.dtype} {ids.shape}")
    if image is None:
        return
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"an image must be uint8 (H, W, 3), RGB; got {image.dtype} {image.shape}")
    if image.shape[:2] != ids.shape:
        raise ValueError(
            f"the image is {image.shape[:2]} and its class indices {ids.shape}, (height, width) of both; "
            "take the ids of this very image"
        )
