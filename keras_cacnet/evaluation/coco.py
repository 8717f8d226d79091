"""Masks in COCO's format: one annotation for every class of a photograph, run-length encoded by pycocotools."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_cacnet.evaluation.segmentation import Segmentation


def to_coco(segmentations: Iterable["Segmentation"], first_id: int = 1) -> dict[str, Any]:
    """Put the masks of photographs into one COCO data set.

    Categories have the ids of the classes in mask files, as `save_ids` writes them.

    Args:
        segmentations: what a `Segmenter` gives, of one network.
        first_id: id of the first image; those of the others follow.

    Returns:
        "images", "categories" and "annotations" as JSON holds them; an annotation has the run-length encoded mask of a
        class, its area and its box.

    Raises:
        ImportError: pycocotools is not installed (extra `coco`).

    Example:
        >>> from keras_cacnet.datasets import ClassTable
        >>> from keras_cacnet.evaluation import Segmentation
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(1, 2))
        >>> ids = np.array([[0, 0, 1, 1]], "uint8")
        >>> found = to_coco([Segmentation(np.zeros((1, 4, 3), "uint8"), ids, classes, "beach.jpg")])
        >>> [(one["category_id"], one["bbox"]) for one in found["annotations"]]
        [(1, [0.0, 0.0, 2.0, 1.0]), (2, [2.0, 0.0, 2.0, 1.0])]

    Reference:
        https://cocodataset.org/#format-data
    """
    try:
        from pycocotools import mask as run_lengths
    except ImportError as error:
        raise ImportError(f"COCO's format needs pycocotools ({error}): pip install 'keras-cacnet[coco]'") from error
    annotations: list[dict[str, Any]] = []
    images, categories = [], {}
    for image_id, one in enumerate(segmentations, first_id):
        height, width = one.ids.shape
        images.append({"id": image_id, "file_name": one.name, "height": height, "width": width})
        for index, (class_id, name) in enumerate(zip(one.classes.ids, one.classes.names, strict=True)):
            categories[class_id] = {"id": class_id, "name": name}
            if not (mask := one.ids == index).any():
                continue
            encoded = run_lengths.encode(np.asfortranarray(mask, dtype="uint8"))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": class_id,
                    "segmentation": {"size": [height, width], "counts": encoded["counts"].decode("ascii")},
                    "area": float(run_lengths.area(encoded)),
                    "bbox": [float(side) for side in run_lengths.toBbox(encoded)],
                    "iscrowd": 0,
                }
            )
    return {"images": images, "categories": [*categories.values()], "annotations": annotations}
