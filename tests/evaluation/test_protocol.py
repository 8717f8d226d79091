import json
from math import ceil

import numpy as np
import pytest

from keras_cacnet.evaluation import WHOLE, Protocol


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"scales": ()}, "scales must be positive numbers, at least one"),
        ({"scales": (1, 0)}, r"scales must be positive numbers, at least one; got \(1.0, 0.0\)"),
        ({"scales": (float("nan"),)}, "scales must be positive"),
        ({"scales": (float("inf"),)}, "scales must be positive"),
        ({"scales": 0.5}, "scales must be positive numbers, at least one; got 0.5"),
        ({"scales": ("a",)}, "scales must be positive numbers"),
        ({"crop_size": 512.5}, "crop_size must be at least 1 pixel, and a whole number; got 512.5"),
        ({"crop_size": True}, "crop_size must be .*; got True"),
        ({"base_size": "520"}, "base_size must be .*; got '520'"),
        ({"flip": "no"}, "flip must be True or False, got 'no'"),
        ({"crop_size": 0}, "crop_size must be at least 1 pixel, and a whole number; got 0"),
        ({"base_size": -5}, "base_size must be at least 1 pixel, and a whole number; got -5"),
        ({"stride": 0}, r"stride must lie in \(0, 1\]"),
        ({"stride": 1.5}, r"stride must lie in \(0, 1\].*got 1.5"),
        ({"stride": 0.5}, "stride=0.5 is the distance of windows: give their size as well"),
        ({"fusion": "max"}, "fusion must be 'softmax_mean' or 'exp_sum', got 'max'"),
    ],
)
def test_bad_settings_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Protocol(**settings)


def test_the_windows_distance_is_whole_pixels():
    # The paper's crops at PyTorch-Encoding's stride, and shares that floats hold only nearly.
    assert [Protocol(crop_size=size).step for size in (480, 512, 576, 520, 1)] == [320, 341, 384, 346, 1]
    assert Protocol(crop_size=10, stride=0.7).step == 7
    assert Protocol(crop_size=3, stride=0.1).step == 1
    assert Protocol().step is None


def test_sizes_are_pytorch_encodings():
    """Long side ceil(base * scale), short side int(short * long / image's long + 0.5)."""
    for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75):
        for height, width in ((333, 500), (500, 375), (481, 481)):
            long = ceil(520 * scale)
            expected = (
                (long, int(1.0 * width * long / height + 0.5))
                if height > width
                else (int(1.0 * height * long / width + 0.5), long)
            )
            assert Protocol(base_size=520).scaled_size(height, width, scale) == expected
    # 1.1 * 10 is a little more than 11 in floats.
    assert Protocol().scaled_size(10, 10, 1.1) == (11, 11)
    assert Protocol().scaled_size(2000, 1, 0.1) == (200, 1)


def test_json_and_text_state_everything():
    protocol = Protocol((0.5, 1.75), flip=True, crop_size=512, fusion="exp_sum", base_size=520)
    value = json.loads(json.dumps(protocol.to_json(), allow_nan=False))
    assert value == {
        "scales": [0.5, 1.75],
        "flip": True,
        "crop_size": 512,
        "stride": 2 / 3,
        "stride_pixels": 341,
        "fusion": "exp_sum",
        "base_size": 520,
        "image_size": None,
    }
    text = protocol.to_text()
    for told in ("0.5, 1.75", "520 pixels", "mirrored as well", "windows of 512 pixels every 341 (2/3)", "exp_sum"):
        assert told in text
    assert Protocol().to_text() == "scale 1.0 of the image, not mirrored, whole"


def test_numbers_of_numpy_become_those_of_json():
    protocol = Protocol(np.array([0.5, 1.0]), flip=np.True_, crop_size=np.int64(8), base_size=np.int32(9))
    assert json.loads(json.dumps(protocol.to_json())) == Protocol((0.5, 1.0), True, 8, base_size=9).to_json()


def test_plain_is_one_view_of_the_image_as_it_is():
    assert WHOLE.plain
    for other in ({"scales": (0.5,)}, {"scales": (1, 1)}, {"flip": True}, {"crop_size": 64}, {"base_size": 64}):
        assert not Protocol(**other).plain
