"""The signatures that take images as numbers, served without Keras."""

import numpy as np
import pytest

SIZES = [(1, 33, 47), (2, 64, 48), (3, 17, 96), (1, 33, 47), (1, 1, 1)]


@pytest.mark.parametrize(("signature", "dtype"), [("serving_default", "uint8"), ("serve_float", "float32")])
def test_sizes_and_batches_change_from_call_to_call(serve, photograph, assert_as_keras, signature, dtype):
    for count, height, width in SIZES:
        images = np.stack([photograph(height, width, seed) for seed in range(count)]).astype(dtype)
        result = serve(signature, images)
        assert result.keys() == {"class_ids", "probabilities"}
        assert result["probabilities"].dtype == np.float32
        if height > 1:
            assert_as_keras(images, result["class_ids"], result["probabilities"])


def test_floats_are_not_rounded(serve, photograph, assert_as_keras):
    images = photograph(32, 40)[np.newaxis].astype("float32") * 0.37
    result = serve("serve_float", images)
    assert_as_keras(images, result["class_ids"], result["probabilities"])
    assert not np.array_equal(serve("serve_float", np.round(images))["probabilities"], result["probabilities"])


def test_camvid(serve, assert_as_keras, shared_data):
    from keras_cacnet.datasets.reading import read_image

    for file in sorted((shared_data / "camvid" / "images" / "val").glob("*.jpg"))[:2]:
        images = read_image(file)[np.newaxis, :243, :321]
        result = serve("serving_default", images)
        assert_as_keras(images, result["class_ids"], result["probabilities"])
