"""A backbone that costs next to nothing."""

import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest

import small_networks


@pytest.fixture(scope="session")
def small_backbone():
    """Three convolutions with the levels P3, P4 and P5; a network dilates a copy of its own."""
    return small_networks.small_backbone()


@pytest.fixture(scope="session")
def write_pth():
    """Writes arrays as PyTorch before 1.6 wrote a state dict; the function needs no PyTorch."""

    def module(name, **contents):
        made = types.ModuleType(name)
        for key, value in contents.items():
            value.__module__, value.__qualname__, value.__name__ = name, key, key
            setattr(made, key, value)
        return made

    storages = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage", "float16": "HalfStorage"}

    class Tensor:
        def __init__(self, array):
            self.array = array

        def __reduce__(self):
            steps = tuple(step // self.array.itemsize for step in self.array.strides)
            offset = 0
            if self.array.base is not None:
                start = self.array.base.__array_interface__["data"][0]
                offset = (self.array.__array_interface__["data"][0] - start) // self.array.itemsize
            hooks = (False, OrderedDict())
            storage = Storage(self.array if self.array.base is None else self.array.base)
            return sys.modules["torch._utils"]._rebuild_tensor_v2, (storage, offset, self.array.shape, steps, *hooks)

    class Storage:
        def __init__(self, array):
            self.array = array

    class Pickler(pickle.Pickler):
        def __init__(self, file):
            super().__init__(file, protocol=2)
            self.storages = {}

        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            key = str(id(value.array))
            self.storages[key] = value.array
            kind = getattr(sys.modules["torch"], storages[value.array.dtype.name])
            return ("storage", kind, key, "cpu", value.array.size, None)

    def write(path, state, magic=0x1950A86A20F9469CFC6C):
        """`state`: anything; arrays in a dictionary become tensors, views of an array share its storage."""
        torch = module("torch", **{name: type(name, (), {}) for name in storages.values()})
        utilities = module("torch._utils", _rebuild_tensor_v2=lambda *_: None)
        with pytest.MonkeyPatch.context() as patch, path.open("wb") as file:
            patch.setitem(sys.modules, "torch", torch)
            patch.setitem(sys.modules, "torch._utils", utilities)
            machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
            for value in (magic, 1001, machine):
                pickle.dump(value, file, protocol=2)
            if isinstance(state, dict):
                tensors = ((key, Tensor(x) if isinstance(x, np.ndarray) else x) for key, x in state.items())
                state = OrderedDict(tensors)
                state._metadata = OrderedDict({"": {"version": 1}})
            pickler = Pickler(file)
            pickler.dump(state)
            pickle.dump(sorted(pickler.storages), file, protocol=2)
            for key in sorted(pickler.storages):
                array = pickler.storages[key]
                file.write(array.size.to_bytes(8, "little") + array.tobytes())
        return path

    return write
