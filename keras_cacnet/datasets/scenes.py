"""The generated data set, as a tensorflow-datasets builder.

Loading this module loads tensorflow-datasets; `open_dataset("scenes")` does it on first use.
"""

import dataclasses
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from keras_cacnet.datasets.scene_drawing import CLASSES, compose, draw
from keras_cacnet.files import user_path

_DESCRIPTION = """\
Small generated landscapes in which the look of a patch does not tell its class: sky and lake are one texture,
white blobs and red discs float in both, and what they are depends on the side of the land they are on and on
what land it is. Masks hold class indices and 255 for void.
"""
_SIZES = (400, 60, 12)


@dataclasses.dataclass(eq=False, kw_only=True)
class ScenesConfig(tfds.core.BuilderConfig):
    """What is drawn: the seed, and how many scenes a split has."""

    seed: int = 0
    sizes: tuple[int, int, int] = _SIZES

    @classmethod
    def of(cls, seed: int, sizes: tuple[int, int, int]) -> "ScenesConfig":
        """Name the records' folder after all that they depend on, so that none are taken for others."""
        return cls(name="-".join(map(str, (f"seed{seed}", *sizes))), seed=seed, sizes=sizes)


class Scenes(tfds.core.GeneratorBasedBuilder):
    """Landscapes in which only context tells what a patch is; see `scene_drawing`.

    Args:
        seed: of all pictures; 0 or greater.
        train: number of scenes in the split of that name.
        val: likewise.
        test: likewise; its masks are there, for whoever wants to score on it.
        data_dir: where tensorflow-datasets keeps records; its own default where None.
        kwargs: for `tfds.core.GeneratorBasedBuilder`.

    Raises:
        ValueError: a seed below 0, or an empty split.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First drawing."}  # noqa: RUF012
    BUILDER_CONFIGS = [ScenesConfig.of(0, _SIZES)]  # noqa: RUF012
    # What tensorflow-datasets would find out for itself, had it not forgotten to ask for the package
    # importlib_resources, which it uses for that.
    code_path = tfds.core.Path(__file__)

    def __init__(
        self,
        *,
        seed: int = 0,
        train: int = _SIZES[0],
        val: int = _SIZES[1],
        test: int = _SIZES[2],
        data_dir: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        sizes = (train, val, test)
        if seed < 0 or min(sizes) < 1:
            raise ValueError(
                f"Scenes take a seed of 0 or greater and 1 or more scenes a split; received seed {seed}, sizes {sizes}."
            )
        config = ScenesConfig.of(seed, sizes)
        # A known one goes by its name: tensorflow-datasets warns of every other.
        kwargs.setdefault("config", config.name if config.name in self.builder_configs else config)
        # Records with random access.
        kwargs.setdefault("file_format", "array_record")
        super().__init__(data_dir=data_dir and user_path(data_dir), **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                }
            ),
            supervised_keys=("image", "mask"),
            metadata=tfds.core.MetadataDict(CLASSES.to_json()),
            # Example i of the records is scene i of the split.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Iterator[Any]]:
        sizes = zip(("train", "val", "test"), self.builder_config.sizes, strict=True)
        return {split: self._generate_examples(number, size) for number, (split, size) in enumerate(sizes)}

    def _generate_examples(self, split: int, size: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(size):
            image, mask = draw(compose(np.random.default_rng([self.builder_config.seed, split, index])))
            yield index, {"image": io.BytesIO(_png(image)), "mask": io.BytesIO(_png(mask))}


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
