"""The flag `synchronized` reaches every batch norm of every network, however deep it sits."""

import keras
import pytest

from keras_cacnet.models import SegmentationNetwork
from keras_cacnet.models.heads import HEADS, CaCHead, EncHead, HeadContext
from keras_cacnet.models.settings import REWEIGHTINGS


def batch_norms(layer):
    for part in layer._flatten_layers():
        if isinstance(part, keras.layers.BatchNormalization):
            yield part


def heads():
    for name, head in HEADS.items():
        yield pytest.param(EncHead(8, 4) if name == "encnet" else head(8), id=name)
    for name in REWEIGHTINGS:
        positions = (4, 5) if name == "fc" else None
        yield pytest.param(CaCHead(8, reweighting=name, positions=positions), id=f"cacnet-{name}")


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("head", list(heads()))
def test_the_flag_reaches_every_batch_norm_of_a_head(head, wanted):
    decoder = head.decoder(16, HeadContext(4, synchronized=wanted))
    found = list(batch_norms(decoder))
    # Every moving mean belongs to one: nothing normalises by statistics beside these layers.
    assert len(found) == sum(weight.path.endswith("moving_mean") for weight in decoder.weights) >= 1
    assert {norm.synchronized for norm in found} == {wanted}


@pytest.mark.parametrize("wanted", [True, False])
def test_and_of_a_network_with_a_backbone_by_name(wanted):
    network = SegmentationNetwork(4, CaCHead(8), backbone="resnet14_narrow", synchronized=wanted)
    for part, least in ((network.backbone, 10), (network.decoder, 5), (network.auxiliary, 1)):
        found = list(batch_norms(part))
        assert len(found) >= least
        assert {norm.synchronized for norm in found} == {wanted}
