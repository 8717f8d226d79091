"""Constructor arguments: numbers of NumPy do, and what would be kept as something else is refused by name."""

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.models.heads import APCHead, CaCHead, DMHead, EncHead, FCNHead, PSPHead


@pytest.fixture
def network_of(small_backbone):
    def make(num_classes=3, **settings):
        return kc.CaCNet(num_classes, backbone=small_backbone, head_channels=8, **settings)

    return make


@pytest.mark.parametrize("count", [3.0, "3", True, None, 0, -1])
def test_a_number_of_classes_is_a_whole_number(network_of, count):
    with pytest.raises(ValueError, match="num_classes must be a whole number from 2 on, got"):
        network_of(count)


def test_one_class_has_nothing_to_be_told_from(network_of):
    for one in (1, np.int64(1), 1.0):
        with pytest.raises(ValueError, match="num_classes=2, background and object"):
            network_of(one)


def test_numbers_of_numpy_are_those_of_python(network_of, tmp_path):
    network = network_of(
        np.int64(3),
        output_stride=np.int32(16),
        num_heads=np.int64(1),
        kernel_sizes=np.int64(3),
        dilation_rates=np.array([1, 2]),
        auxiliary_weight=np.float32(0.25),
        dropout=np.float64(0.5),
        global_pooling=np.True_,
        synchronized=np.False_,
        reweighting="fc",
        input_size=np.array([32, 48]),
    )
    config = network.get_config()
    assert config["num_classes"] == 3
    assert config["input_size"] == [32, 48]
    assert {type(value) for value in config.values()} <= {int, float, bool, str, list, dict}
    network.save(tmp_path / "network.keras")
    assert keras.models.load_model(tmp_path / "network.keras").get_config() == config
    assert network_of(kernel_sizes=np.array([3, 5])).kernel_sizes == (3, 5)
    assert FCNHead(np.int32(8)) == FCNHead(8)
    assert CaCHead(8, np.array([3, 5]), [1, 2]) == CaCHead(8, (3, 5), (1, 2))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_heads": 1.0}, "num_heads must be a whole number from 0 on, got 1.0"),
        ({"num_heads": True}, "num_heads must be a whole number from 0 on, got True"),
        ({"output_stride": "8"}, "output_stride must be a whole number from 1 on, got '8'"),
        ({"kernel_sizes": "35"}, "kernel_size must be one of .* got '3'"),
        ({"kernel_sizes": True}, "kernel_size must be one of .* got True"),
        ({"dilation_rates": 3}, "dilation_rates must be a sequence"),
        ({"dilation_rates": (1, "2")}, "dilation_rates must be whole numbers"),
        ({"auxiliary_weight": "0.1"}, "auxiliary_weight must be 0 or more and finite, got '0.1'"),
        ({"auxiliary_weight": float("nan")}, "auxiliary_weight must be 0 or more and finite, got nan"),
        ({"auxiliary_weight": float("inf")}, "auxiliary_weight must be 0 or more and finite, got inf"),
        ({"dropout": True}, r"dropout must be in \[0, 1\), got True"),
        ({"synchronized": "no"}, "synchronized must be True or False, got 'no'"),
        ({"global_pooling": 0}, "global_pooling must be True or False, got 0"),
        ({"trainable": "no"}, "trainable must be True or False, got 'no'"),
        ({"reweighting": None}, "got None .*'none'"),
        ({"reweighting": "CAC"}, "got 'CAC'; did you mean cac"),
        ({"reweighting": "fc", "input_size": "32"}, "in pixels, got '32'"),
        ({"reweighting": "fc", "input_size": (32, 40, 3)}, "got .32, 40, 3."),
        ({"reweighting": "fc", "input_size": 32.0}, "in pixels, got 32.0"),
    ],
)
def test_what_is_none_is_refused(network_of, settings, told):
    with pytest.raises(ValueError, match=told):
        network_of(**settings)


def test_unknown_arguments_are_refused(network_of):
    with pytest.raises(TypeError, match="num_head"):
        network_of(num_head=3)
    with pytest.raises(TypeError, match="positional"):
        kc.CaCNet(3, "resnet14_narrow")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: PSPHead(8.0), "channels must be a whole number from 1 on, got 8.0"),
        (lambda: PSPHead(8, "12"), "pool_sizes must be a sequence of at least one whole number, got '12'"),
        (lambda: PSPHead(8, (1, 2.0)), r"pool_sizes must be whole numbers from 1 on, got \(1, 2.0\)"),
        (lambda: APCHead(8, module_conv="no"), "module_conv must be True or False, got 'no'"),
        (lambda: DMHead(8, fusion_conv=1), "fusion_conv must be True or False, got 1"),
        (lambda: DMHead(8, ("1",)), "kernel_sizes must be whole numbers"),
        (lambda: EncHead(8, "4"), "codewords must be a whole number from 1 on, got '4'"),
        (lambda: EncHead(8, 4, True), "se_loss_weight must be 0 or more and finite, got True"),
        (lambda: CaCHead(8, 3), "kernel_sizes must be a sequence, one size per head, got 3"),
        (lambda: CaCHead(8, reweighting="fc", positions=4), "positions must be a sequence"),
        (lambda: CaCHead(8, reweighting="fc", positions=(4, 5, 6)), "positions must be a height and a width"),
    ],
)
def test_settings_of_heads_are_refused_too(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_a_network_that_is_built_frozen(network_of):
    network = network_of(trainable=False)
    assert network.trainable_weights == []
    assert not network.backbone.trainable
    assert not network.auxiliary.trainable
