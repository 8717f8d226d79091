"""Where cached features are kept: rows of arrays in files of some 32 MB, each whole or not there."""

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_cacnet.wording import size_text

_SHARD_BYTES = 2**25


@dataclass(frozen=True)
class FeatureShards:
    """Rows of several arrays, one row a view, in a folder of shards; a shard is a folder of NumPy files.

    Args:
        folder: where they are.
        count: number of rows.
        arrays: the shape of a row and the type of its numbers, by the name of the array.
    """

    folder: Path
    count: int
    arrays: Mapping[str, tuple[tuple[int, ...], str]]

    @property
    def row_bytes(self) -> int:
        """What a row of all arrays takes."""
        return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in self.arrays.values())

    @property
    def size(self) -> int:
        """Number of rows in a shard; the last one may have fewer."""
        return max(1, _SHARD_BYTES // self.row_bytes)

    def rows(self, shard: int) -> range:
        """Give the numbers of the rows in a shard."""
        return range(shard * self.size, min((shard + 1) * self.size, self.count))

    def missing(self) -> list[int]:
        """Give the numbers of the shards that are not there, or not whole."""
        return [shard for shard in self._numbers() if self._opened(shard) is None]

    def write(self, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a shard as a folder under a name of its own, which is renamed when it is whole.

        Args:
            shard: its number.
            arrays: all of its rows.

        Raises:
            OSError: it cannot be written.
        """
        place = self.folder / f"{shard:05d}"
        part = Path(tempfile.mkdtemp(prefix=f".{shard:05d}.", dir=self.folder))
        try:
            for name, values in arrays.items():
                with (part / f"{name}.npy").open("wb") as file:
                    np.save(file, values)
                    file.flush()
                    os.fsync(file.fileno())
            if self._opened(shard) is None:
                shutil.rmtree(place, ignore_errors=True)
                # Another process may have been first; it has written the same.
                with suppress(OSError):
                    os.replace(part, place)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def reader(self) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
        """Make what reads rows by their numbers, each when it is asked for, and keeps no file open.

        Returns:
            A function from numbers to the rows of every array, in the order of `arrays`.

        Raises:
            ValueError: shards are missing.
        """
        opened = [_Rows.of(arrays) for shard in self._numbers() if (arrays := self._opened(shard)) is not None]
        if len(opened) < len(self._numbers()):
            raise ValueError(f"{self.folder} is not complete: fill it first")

        def gather(numbers: np.ndarray) -> tuple[np.ndarray, ...]:
            places = [divmod(int(number), self.size) for number in numbers]
            return tuple(np.stack([opened[shard][name].read(row) for shard, row in places]) for name in self.arrays)

        return gather

    def require_room(self, needed: int) -> None:
        """Refuse a folder that cannot be written, or has no room.

        Args:
            needed: number of bytes that are still to be written.

        Raises:
            OSError: as said; it tells what would help.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise OSError(
                f"{self.folder} cannot be written ({error.strerror or error}): name another folder for what is "
                "cached by the variable KERAS_CACNET_DATA, or set cached_views=0"
            ) from error
        # Room for what else a run writes.
        if needed and needed * 1.05 > (free := shutil.disk_usage(self.folder).free):
            raise OSError(
                f"the features of {self.count:,} views take {size_text(needed)}, and {self.folder} has room for "
                f"{size_text(free)}: set fewer cached_views, a smaller crop_size or cached_views=0, or name another "
                "disk by the variable KERAS_CACNET_DATA"
            )

    def _numbers(self) -> range:
        return range(-(-self.count // self.size))

    def _opened(self, shard: int) -> dict[str, np.memmap] | None:
        """The arrays of a shard, mapped; None where they are not there or not whole."""
        count = len(self.rows(shard))
        try:
            arrays = {
                name: np.load(self.folder / f"{shard:05d}" / f"{name}.npy", mmap_mode="r") for name in self.arrays
            }
        except (OSError, ValueError, EOFError):
            return None
        whole = all(
            (arrays[name].shape, arrays[name].dtype) == ((count, *shape), dtype)
            for name, (shape, dtype) in self.arrays.items()
        )
        return arrays if whole else None


class _Rows(NamedTuple):
    """The rows of an array in a file, each read when it is asked for.

    TensorFlow keeps what a stream calls as long as the process lives, and mappings would stay open with it: a process
    that trains one network after another would run out of files.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, arrays: Mapping[str, np.memmap]) -> dict[str, "_Rows"]:
        return {
            name: cls(str(array.filename), array.offset, array.shape[1:], array.dtype) for name, array in arrays.items()
        }

    def read(self, row: int) -> np.ndarray:
        count = math.prod(self.shape)
        start = self.offset + row * count * self.dtype.itemsize
        return np.fromfile(self.path, self.dtype, count, offset=start).reshape(self.shape)
