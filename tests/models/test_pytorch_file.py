"""Files of PyTorch's older format: tensors come back as they were, and nothing else is let in."""

import os
import pickle
import re
import sys
import zipfile

import numpy as np
import pytest

from keras_cacnet.models.pytorch_file import read_tensors


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    values = rng.normal(size=60).astype("float32")
    return {
        "conv.weight": rng.normal(size=(4, 3, 2, 2)).astype("float32"),
        "conv.transposed": rng.normal(size=(2, 3, 4)).transpose(2, 0, 1),
        "bn.num_batches_tracked": np.array(7),
        "half": rng.normal(size=5).astype("float16"),
        "whole": values,
        "part": values[12:36].reshape(4, 6)[:, ::2],
        "empty": np.zeros((0, 3), "float32"),
    }


def test_tensors_come_back_without_pytorch(state, tmp_path, write_pth):
    read = read_tensors(write_pth(tmp_path / "weights.pth", state))
    assert list(read) == list(state)
    for name, array in state.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    assert "torch" not in sys.modules


class Command:
    """A pickle that runs a command where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("place", ["value", "state", "magic"])
def test_a_command_in_the_pickle_is_refused_and_not_run(place, state, tmp_path, write_pth):
    mark = tmp_path / "was here"
    if place == "magic":
        path = write_pth(tmp_path / "hostile.pth", state, magic=Command(mark))
    else:
        path = write_pth(tmp_path / "hostile.pth", Command(mark) if place == "state" else {**state, "x": Command(mark)})
    with pytest.raises(ValueError, match=r"hostile\.pth is refused: its pickle asks for posix\.system"):
        read_tensors(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "function", [eval, getattr, np.load, pickle.loads, __import__], ids=lambda function: function.__name__
)
def test_any_other_function_or_class_is_refused(function, tmp_path, write_pth):
    class Call:
        def __reduce__(self):
            return function, ("1",)

    with pytest.raises(ValueError, match=rf"is refused: its pickle asks for \S+{function.__name__}"):
        read_tensors(write_pth(tmp_path / "hostile.pth", {"x": Call()}))


def test_what_the_pickle_sets_on_a_class_or_function_stays_outside(tmp_path, state, write_pth):
    """BUILD sets attributes on whatever is on the stack: a permitted class and the tensor's function among them."""
    prefix = write_pth(tmp_path / "whole.pth", state).read_bytes()
    start = prefix.index(b"ccollections\nOrderedDict") - 2
    for name in (b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n"):
        path = tmp_path / "hostile.pth"
        path.write_bytes(prefix[:start] + b"\x80\x02" + name + b"N}X\x08\x00\x00\x00__call__K\x01s\x86b.")
        with pytest.raises(ValueError, match=r"hostile\.pth is not a whole weights file"):
            read_tensors(path)
    assert read_tensors(tmp_path / "whole.pth")["bn.num_batches_tracked"] == 7


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "it holds one list, and no dictionary"),
        ({"epoch": 3}, "it holds int under 'epoch'"),
        ({"state_dict": {"x": 1}}, "it holds dict under 'state_dict'"),
    ],
)
def test_other_contents_are_named(state, message, tmp_path, write_pth):
    with pytest.raises(ValueError, match=rf"other\.pth is refused: {message}"):
        read_tensors(write_pth(tmp_path / "other.pth", state))


def test_truncated_files(state, tmp_path, write_pth):
    content = write_pth(tmp_path / "whole.pth", state).read_bytes()
    path = tmp_path / "part.pth"
    for length in {0, 1, len(content) - 1, *range(2, len(content), 37)}:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"part\.pth is not a whole weights file of PyTorch.*download it again"):
            read_tensors(path)


def test_damaged_files(state, tmp_path, write_pth):
    """A flipped byte is refused, or changes a number: it raises nothing that a caller would not expect."""
    content = write_pth(tmp_path / "whole.pth", state).read_bytes()
    path = tmp_path / "damaged.pth"
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(content) - 1000, 300):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            read_tensors(path)
        except ValueError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (b"K\x01", b"K\x02K\x04\x86", b"K\x04K\x01\x86"),
        (b"K\x00", b"K\x03K\x04\x86", b"K\x04K\x01\x86"),
        (b"K\x00", b"K\x02K\x04\x86", b"K\x05K\x01\x86"),
        (b"J\xff\xff\xff\xff", b"K\x02K\x04\x86", b"K\x04K\x01\x86"),
        (b"K\x07", b"K\x02K\x04\x86", b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86"),
        (b"K\x00", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"K\x00K\x00\x86"),
    ],
)
def test_tensors_beyond_their_storage(offset, shape, strides, tmp_path, write_pth):
    path = write_pth(tmp_path / "beyond.pth", {"x": np.arange(8, dtype="float32").reshape(2, 4)})
    content = path.read_bytes()
    pattern = rb"K\x00K\x02K\x04\x86(q.)K\x04K\x01\x86"
    assert len(re.findall(pattern, content)) == 1
    path.write_bytes(re.sub(pattern, lambda match: offset + shape + match[1] + strides, content))
    with pytest.raises(ValueError, match=r"beyond\.pth is not a whole weights file.*a tensor (of shape|has offset)"):
        read_tensors(path)


def test_other_formats(tmp_path, write_pth, state):
    path = tmp_path / "newer.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(ValueError, match=r"newer\.pth is in PyTorch's newer format.*_use_new_zipfile_serial"):
        read_tensors(path)
    with pytest.raises(ValueError, match="does not begin as PyTorch's files"):
        read_tensors(write_pth(tmp_path / "other.pth", state, magic=5))
