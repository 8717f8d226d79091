"""Read the tensors of a file that PyTorch wrote, without PyTorch.

The format of PyTorch before 1.6: pickles of a magic number, of a version and of the machine, then of a state dict
in which tensors refer to storages by key, then of the list of keys; and for each key the number of values in eight
bytes and the values. A pickle may name any function of any module and have it called. Here it may name what a
state dict is made of, and nothing is called that this file does not define.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class _Storage(NamedTuple):
    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict.

    Args:
        path: a `.pth` or `.pt` file of PyTorch's old format.

    Returns:
        The name of every parameter and buffer, and its values.

    Raises:
        ValueError: the file is of another kind, damaged or truncated, or its pickle holds anything but tensors; the
            message names the file, and what was refused.
        FileNotFoundError: there is no such file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "weights.pth"
        >>> _ = path.write_bytes(pickle.dumps(print))
        >>> read_tensors(path)
        Traceback (most recent call last):
        ValueError: ...weights.pth is refused: its pickle asks for builtins.print, and weights hold only tensors.
    """
    with path.open("rb") as file:
        if file.peek(4).startswith(b"PK\x03\x04"):
            raise ValueError(
                f"{path} is in PyTorch's newer format, a zip archive, and only the older one is read. Where there is "
                "PyTorch: torch.save(torch.load(path), new_path, _use_new_zipfile_serialization=False)."
            )
        try:
            tensors, storages = _read_pickles(file)
            return {name: _values(tensor, storages) for name, tensor in tensors.items()}
        except _Refused as cause:
            raise ValueError(f"{path} is refused: {cause}") from cause
        # Damaged pickles raise whatever their opcodes run into.
        except Exception as cause:
            raise ValueError(
                f"{path} is not a whole weights file of PyTorch ({type(cause).__name__}: {cause}). If it was "
                "downloaded, download it again and compare its size."
            ) from cause


class _Refused(Exception):
    """What stands in a pickle is readable and no part of a state dict."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise _Refused(f"its pickle asks for {module}.{name}, and weights hold only tensors.")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, view = pid
        if kind != "storage" or dtype not in _TYPES.values() or view is not None:
            raise _Refused(f"it refers to {pid!r}, which is no storage of numbers.")
        return _Storage(key, dtype, count)

    # A method, since the attributes of a function could be set from the pickle.
    def _tensor(self, storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
        return _Tensor(storage, offset, shape, strides)


def _read_pickles(file: BinaryIO) -> tuple[dict[str, _Tensor], dict[str, np.ndarray]]:
    magic, version, machine = (_Unpickler(file).load() for _ in range(3))
    if (magic, version) != (_MAGIC_NUMBER, _VERSION) or machine["little_endian"] is not True:
        raise _Refused("it does not begin as PyTorch's files of the older format do.")
    tensors, keys = _Unpickler(file).load(), _Unpickler(file).load()
    if not isinstance(tensors, dict):
        raise _Refused(f"it holds one {type(tensors).__name__}, and no dictionary of weights.")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise _Refused(f"it holds {type(tensor).__name__} under {name!r}, where weights are tensors.")
    known = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    storages = {}
    for key in keys:
        values = np.dtype(known[key].dtype)
        count, size = file.read(8), known[key].length * values.itemsize
        if len(count) == 8 and int.from_bytes(count, "little") != known[key].length:
            raise ValueError(f"storage {key} is not of {known[key].length} values")
        content = file.read(size)
        if len(count) < 8 or len(content) < size:
            raise EOFError(f"it ends within storage {key}")
        storages[key] = np.frombuffer(content, values)
    return tensors, storages


def _values(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    _, offset, shape, strides = tensor
    values = storages[tensor.storage.key]
    if min((offset, *shape, *strides)) < 0 or len(shape) != len(strides):
        raise ValueError(f"a tensor has offset {offset}, shape {shape} and strides {strides}")
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if 0 not in shape and max(last + 1, int(np.prod(shape))) > len(values):
        raise ValueError(f"a tensor of shape {shape} reaches beyond its storage")
    steps = [step * values.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(values[offset:], shape, steps).copy()
