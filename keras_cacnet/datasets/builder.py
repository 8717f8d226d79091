"""The tensorflow-datasets builder of data sets that people fetch by themselves.

Loading this module loads tensorflow-datasets; `open_dataset` does it on first use.
"""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.writer import ExampleWriter

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.example_checking import examine_example, for_all, progress_bar
from keras_cacnet.datasets.reading import open_image, shown_size
from keras_cacnet.datasets.records import Records, cache_folder, split_checksum
from keras_cacnet.datasets.source import Example, require_no_errors
from keras_cacnet.datasets.unpacked import Layout, require_present
from keras_cacnet.files import user_path, write_json

SHARD = 256
"""Examples in a file of records: what a break in preparation can lose."""


class PublishedBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Makes records of a data set that lies in tensorflow-datasets' manual directory.

    All files are read and checked first; what is wrong is told before a record is written. Preparation that was
    broken off goes on with the first shard that is not finished, as long as the files are the same.

    Records have an `image` (the file as it is), a `mask` (PNG of one channel, the ids of the class table; all 255
    in splits without masks) and the `name`. The metadata has the class table, the SHA-256 of every split, and
    which form of the data set was read.

    Args:
        data_dir: where tensorflow-datasets keeps records; its own default where None.
        kwargs: for `tfds.core.ShardBasedBuilder`.
    """

    DESCRIPTION: str
    EXPECTED: str

    def class_table(self) -> ClassTable:
        """Give the classes and the ids that the records' masks have."""
        raise NotImplementedError

    @staticmethod
    def layout(folder: Path) -> Layout:
        """Find the data set's files.

        Args:
            folder: the manual directory.

        Returns:
            What is there.

        Raises:
            ValueError: it is not the data set, or not all of it.
        """
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "mask"),
            metadata=tfds.core.MetadataDict(self.class_table().to_json()),
            # Records are in the order of the lists of ids.
            disable_shuffling=True,
        )

    def _example_writer(self) -> "_KeptShards":
        self._shards = _KeptShards(self.info.file_format)
        return self._shards

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[Callable[[], Iterator[Any]]]]:
        layout = self.layout(Path(dl_manager.manual_dir))
        config = (self.builder_config.name,) if self.builder_config else ()
        version = f"{self.version}.partial-{layout.fingerprint()[:16]}"
        self._shards.folder = Path(self.data_dir_root, self.name, *config, version)
        self._shards.folder.mkdir(parents=True, exist_ok=True)
        self.info.metadata.update(
            **_examine_once(layout, self._shards.folder / "facts.json"),
            form=layout.form,
            notes=dict(layout.notes),
            nested=[list(pair) for pair in layout.nested],
            without_masks=[split for split, e in layout.splits.items() if e and e[0].mask is None],
        )
        bar = progress_bar(sum(map(len, layout.splits.values())))
        return {
            split: [
                partial(_records, layout, examples[start : start + SHARD], start, bar)
                for start in range(0, len(examples), SHARD)
            ]
            for split, examples in layout.splits.items()
        }

    def _post_download_and_prepare_hook(self) -> None:
        shutil.rmtree(self._shards.folder, ignore_errors=True)


def open_published(name: str, folder: str | os.PathLike[str] | None) -> Records:
    """Open a data set in the form in which people have it on disk, and make records of it on first use.

    The records lie in `cache_folder()`, below a name that sums up the files they were made from: another folder, or
    the same one after a change, gets records of its own.

    Args:
        name: of the data set, with its configuration where it has several.
        folder: where it lies.

    Returns:
        The data set.

    Raises:
        ValueError: there is no folder, it is not the data set or not all of it, or files in it are wrong.
    """
    module, _, config = name.partition("/")
    # Loading the module registers its builder.
    import_module(f"keras_cacnet.datasets.{module}")
    builder = tfds.builder_cls(module)
    if folder is None:
        raise ValueError(f"{name}: data_dir (--data-dir) is missing: the folder with {builder.EXPECTED}.")
    folder = user_path(folder)
    fingerprint = builder.layout(folder).fingerprint()
    # The one format with random access; tensorflow-datasets' own default is the one that its `load` reads.
    records = builder(
        config=config or None, data_dir=cache_folder() / "native" / fingerprint[:16], file_format="array_record"
    )
    return Records(records, name, folder)


def examine(layout: Layout, progress: bool = True) -> dict[str, dict[str, Any]]:
    """Read every file of a data set once, before anything is written or trained.

    Args:
        layout: the files.
        progress: whether to show Keras' progress bar.

    Returns:
        `sha256`, the checksum of every split (see `split_checksum`), and `pixels`, its pixels per id.

    Raises:
        ValueError: files are missing or cannot be read, masks have another size than their image, or ids that are
            no class. It counts all and names the first 20.
    """
    require_present(layout)
    pairs = {(e.image, e.mask): e for examples in layout.splits.values() for e in examples}
    bar = progress_bar(len(pairs)) if progress else None
    read = for_all(lambda one: examine_example(one, layout.classes, layout.read_ids), list(pairs.values()), bar)
    found = dict(zip(pairs, read, strict=True))
    require_no_errors(layout.name, chain.from_iterable(facts.findings for facts in found.values()))
    facts_of = {split: [found[e.image, e.mask] for e in examples] for split, examples in layout.splits.items()}
    zeros = np.zeros(256, "int64")
    return {
        "sha256": {split: split_checksum(one.checksum for one in facts) for split, facts in facts_of.items()},
        "pixels": {
            split: sum((one.counts for one in facts if one.counts is not None), zeros).tolist()
            for split, facts in facts_of.items()
        },
    }


def _examine_once(layout: Layout, memory: Path) -> dict[str, dict[str, Any]]:
    """Examine all files, unless preparation that was broken off has done it."""
    if not memory.exists():
        write_json(memory, examine(layout))
    return json.loads(memory.read_text())


def _records(layout: Layout, examples: Sequence[Example], start: int, bar: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, example in enumerate(examples, start):
        # Read when written: shards that are kept from a former try are counted, not read.
        image, mask = _Deferred(partial(_image, example)), _Deferred(partial(_mask, layout, example))
        yield number, {"image": image, "mask": mask, "name": example.name}
        if bar is not None:
            bar.add(1)


class _Deferred:
    """A file whose content is made when it is read."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self.read = read


def _image(example: Example) -> bytes:
    assert isinstance(example.image, Path)
    return example.image.read_bytes()


def _mask(layout: Layout, example: Example) -> bytes:
    if isinstance(example.mask, Path):
        ids = layout.read_mask(example.mask)
    else:
        with open_image(example.image, example.image_origin) as image:
            ids = np.full(shown_size(image)[::-1], VOID, "uint8")
    buffer = io.BytesIO()
    Image.fromarray(ids).save(buffer, "PNG")
    return buffer.getvalue()


class _KeptShards(ExampleWriter):
    """Writes shards where they survive a break; tensorflow-datasets removes its own folder then."""

    folder: Path

    def write(self, path: Any, examples: Iterable[Any]) -> None:
        kept = self.folder / Path(path).name
        if not kept.exists():
            unfinished = kept.with_name(f"{kept.name}.{os.getpid()}")
            super().write(unfinished, examples)
            os.replace(unfinished, kept)
        try:
            os.link(kept, path)
        except OSError:
            # A file system without links.
            shutil.copyfile(kept, path)
