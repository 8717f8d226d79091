"""What images are normalised to, in every precision."""

import numpy as np
import pytest
import tensorflow as tf

from harness import check_layer
from keras_cacnet.layers import ImageNormalization

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_it_is_the_mean_and_the_deviation_of_each_channel(tmp_path):
    check_layer(
        lambda **settings: ImageNormalization(MEAN, STD, **settings),
        [(2, 5, 4, 3), (1, 1, 1, 3)],
        lambda values, x, training: (x / 255 - MEAN) / STD,
        parameters=0,
        folder=tmp_path,
        roundings=1,
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_values_of_a_photograph_are_rounded_once(dtype):
    """Every value from 0 to 255 is exact in half precision; what it is normalised to is rounded to it."""
    values = np.arange(256.0).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    found = tf.cast(ImageNormalization(MEAN, STD, dtype=dtype)(values), "float64")
    exact = (values / 255 - MEAN) / STD
    half_a_unit = 2.0**-11 if dtype == "float16" else 2.0**-8
    assert np.all(np.abs(found - exact) <= 1.01 * half_a_unit * np.abs(exact) + 1e-6)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ImageNormalization((0.5,), STD), r"three numbers.*\(0.5,\)"),
        (lambda: ImageNormalization(MEAN, (1, 1, 0)), r"\(1, 1, 0\)"),
        (lambda: ImageNormalization(MEAN, (1, 1, float("nan"))), "nan"),
        # NumPy would take the one channel of a grey image for all three.
        (lambda: ImageNormalization(MEAN, STD)(np.zeros((1, 4, 5, 1))), r"value 3.*\(1, 4, 5, 1\)"),
    ],
)
def test_bad_input_is_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()
