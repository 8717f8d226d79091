"""Every head against a float64 NumPy rendering of its paper, and its costs against the public implementations."""

import math

import numpy as np
import pytest

from cac_oracle import cac_oracle
from harness import check_layer, normalised, sigmoid
from keras_cacnet.models.heads import APCHead, CaCHead, DMHead, EncHead, FCNHead, HeadContext, PSPHead
from keras_cacnet.models.heads.cacnet import GlobalPooling
from keras_cacnet.paper.costs import head_costs, own_costs
from keras_cacnet.paper.head_costs import LEAN

CLASSES, CHANNELS, DEEP = 3, 4, 6
HEADS = {
    "cacnet": CaCHead(CHANNELS, (3,), dilation_rates=(1, 2)),
    "fcn": FCNHead(CHANNELS),
    "pspnet": PSPHead(CHANNELS, (1, 2, 3)),
    "apcnet": APCHead(CHANNELS, (1, 2)),
    "apcnet, lean": APCHead(CHANNELS, (1, 3), module_conv=False, fusion_conv=False),
    "dmnet": DMHead(CHANNELS, (1, 3)),
    "dmnet, lean": DMHead(CHANNELS, (3, 5), module_conv=True, fusion_conv=False),
    "encnet": EncHead(CHANNELS, 3),
}


def convolutions(*kernels, channels=CHANNELS):
    """Parameters of convolutions without bias, each with its batch norm: (size, inputs) to the head's channels."""
    return sum(size**2 * inputs * channels + 2 * channels for size, inputs in kernels)


def classifier(inputs):
    return inputs * CLASSES + CLASSES


PARAMETERS = {
    # Query, key and batch norm of the layer.
    "cacnet": convolutions((3, DEEP), (3, CHANNELS), (1, CHANNELS)) + 9 * 4 + 4 * 4 + 2 * 4 + classifier(2 * 4),
    "fcn": convolutions((3, DEEP)) + classifier(4),
    "pspnet": convolutions(*[(1, DEEP)] * 3, (3, DEEP + 3 * 4)) + classifier(4),
    # Scores of 1 and 4, and of 1 and 9 regions, with a bias.
    "apcnet": convolutions(*[(1, DEEP), (1, 4)] * 4, *[(1, 4)] * 2, (3, DEEP + 2 * 4)) + 5 * 5 + classifier(4),
    "apcnet, lean": convolutions(*[(1, DEEP), (1, 4)] * 4) + 10 * 5 + classifier(DEEP + 2 * 4),
    # Kernels with a bias, and a batch norm behind them.
    "dmnet": convolutions(*[(1, DEEP)] * 2, (3, DEEP + 2 * 4)) + 2 * (7 * 4 + 2 * 4) + classifier(4),
    "dmnet, lean": convolutions(*[(1, DEEP), (1, 4)] * 2) + 2 * (7 * 4 + 2 * 4) + classifier(DEEP + 2 * 4),
    # Dictionary, smoothing, norm of the codes, and the FC to the weights.
    "encnet": convolutions((3, DEEP), (1, 4)) + 3 * 4 + 3 + 2 * 3 + 5 * 4 + classifier(4),
}


class Rendering:
    """The parts of a head in NumPy; `batch` normalises by the batch, as in training."""

    def __init__(self, values, batch):
        self.values, self.batch = values, batch

    def norm(self, x, name, axis=-1):
        return normalised(x, self.values, name, self.batch, axis)

    def conv(self, x, name):
        kernel = self.values[f"{name}/kernel"]
        size = kernel.shape[0]
        padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
        result = np.zeros((*x.shape[:3], kernel.shape[-1]))
        for i, j in np.ndindex(size, size):
            result += padded[:, i : i + x.shape[1], j : j + x.shape[2]] @ kernel[i, j]
        return result + self.values.get(f"{name}/bias", 0.0)

    def block(self, x, name):
        return np.maximum(self.norm(self.conv(x, f"{name}_conv"), f"{name}_norm"), 0)

    def classes(self, *branches):
        return self.conv(np.concatenate(branches, axis=-1), "classifier")


def regions(x, s):
    """Means over s x s regions, by the bounds that PyTorch documents."""
    _, height, width, _ = x.shape
    result = np.zeros((len(x), s, s, x.shape[-1]))
    for i, j in np.ndindex(s, s):
        rows = slice(math.floor(i * height / s), math.ceil((i + 1) * height / s))
        columns = slice(math.floor(j * width / s), math.ceil((j + 1) * width / s))
        result[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return result


def enlarged(x, height, width):
    """Bilinear, half-pixel centres, position by position."""
    result = np.zeros((len(x), height, width, x.shape[-1]))
    for p, q in np.ndindex(height, width):
        for i, a in taps(p, height, x.shape[1]):
            for j, b in taps(q, width, x.shape[2]):
                result[:, p, q] += a * b * x[:, i, j]
    return result


def taps(position, size, length):
    centre = min(max((position + 0.5) * length / size - 0.5, 0), length - 1)
    low = min(int(centre), length - 1)
    return [(low, 1 - (centre - low)), (min(low + 1, length - 1), centre - low)]


def rendered(name, values, x, training):
    head, r = HEADS[name], Rendering(values, training)
    _, height, width, _ = x.shape
    if name == "cacnet":
        reduced = r.block(x, "reduction")
        first = cac_oracle(values, r.block(reduced, "head_1"), training, (1, 2), "head_1_cac/")
        pooled = r.conv(reduced.mean(axis=(1, 2), keepdims=True), "pooling/conv")
        pooled = np.maximum(r.norm(pooled, "pooling/norm"), 0)
        return r.classes(first, np.broadcast_to(pooled, first.shape))
    if name == "fcn":
        return r.classes(r.block(x, "reduction"))
    if name == "encnet":
        reduced = r.block(x, "reduction")
        z = np.maximum(r.norm(r.conv(reduced, "encoding/conv"), "encoding/norm"), 0)
        codes = np.zeros((len(x), head.codewords, head.channels))
        for b, p, q in np.ndindex(x.shape[:3]):
            residuals = z[b, p, q] - r.values["encoding/dictionary"]
            shares = np.exp(r.values["encoding/smoothing"] * (residuals**2).sum(axis=-1))
            codes[b] += (shares / shares.sum())[:, None] * residuals / (height * width)
        encoding = np.maximum(r.norm(codes, "encoding/code_norm", axis=1), 0).mean(axis=1)
        weights = 1 + sigmoid(encoding @ r.values["encoding/dense/kernel"] + r.values["encoding/dense/bias"])
        return {"encoding": encoding, "logits": r.classes(reduced * weights[:, None, None])}
    branches = [x]
    sizes = head.kernel_sizes if name.startswith("dmnet") else head.pool_sizes
    for index, s in enumerate(sizes, start=1):
        part = f"context_{index}"
        if name == "pspnet":
            branches.append(enlarged(r.block(regions(x, s), part), height, width))
            continue
        if name.startswith("apcnet"):
            local = r.block(x, f"{part}_local")
            whole = r.block(local.mean(axis=(1, 2), keepdims=True), f"{part}_global")
            affinities = sigmoid(r.conv(local + whole, f"{part}_scores"))
            pooled = r.block(regions(x, s), f"{part}_regions")
            gathered = sum(affinities[..., i * s + j, None] * pooled[:, None, None, i, j] for i, j in np.ndindex(s, s))
            y = r.block(gathered, f"{part}_residual") + local
        else:
            kernels = r.conv(regions(x, s), f"{part}_kernels")
            reduced = r.block(x, f"{part}_reduction")
            padded = np.pad(reduced, ((0, 0), (s // 2,) * 2, (s // 2,) * 2, (0, 0)))
            filtered = sum(
                padded[:, i : i + height, j : j + width] * kernels[:, None, None, i, j] for i, j in np.ndindex(s, s)
            )
            y = np.maximum(r.norm(filtered, f"{part}_filtered_norm"), 0)
        branches.append(r.block(y, f"{part}_output") if head.module_conv else y)
    if name == "pspnet" or head.fusion_conv:
        branches = [r.block(np.concatenate(branches, axis=-1), "fusion")]
    return r.classes(*branches)


LEANER = {name: pytest.mark.slow for name in HEADS if name.endswith("lean")}


@pytest.mark.parametrize(
    ("name", "parameters"), [pytest.param(*case, marks=LEANER.get(case[0], ())) for case in PARAMETERS.items()]
)
def test_it_is_what_its_paper_says(name, parameters, tmp_path):
    """Also on features smaller than the grids, and on sizes that these do not divide."""
    check_layer(
        lambda dtype: HEADS[name].decoder(DEEP, HeadContext(CLASSES, dropout=0.0, dtype=dtype)),
        [(3, 5, 4, DEEP), (2, 2, 1, DEEP)],
        lambda values, x, training: rendered(name, values, x, training),
        parameters=parameters,
        folder=tmp_path,
        roundings=None,
        integers=False,
        weights=(-0.7, 1.2),
    )


ENCODING = 2 * 32 * 512 * 64 * 64  # products with the dictionary, which counters of layers do not see


C, M = 2048, 512  # channels of the features and of the head


@pytest.mark.parametrize(
    ("head", "exact", "parameters", "multiply_adds"),
    [
        # Dictionary, smoothing, norm of the codes, FC to the weights, FC to the classes.
        (
            EncHead(),
            convolutions((3, C), (1, M), channels=M) + 32 * M + 32 + 2 * 32 + M * M + M + M * 60 + 60,
            10.04,
            39.85,
        ),
        (PSPHead(), convolutions(*[(1, C)] * 4, (3, C + 4 * M), channels=M), 23.10, 77.49),
        # The scores of 1, 4, 9 and 36 regions have a bias.
        (
            APCHead(),
            convolutions(*[(1, C)] * 8, *[(1, M)] * 12, (3, C + 4 * M), channels=M) + 50 * (M + 1),
            30.49,
            103.47,
        ),
        # So have the kernels, and each filtered map has a batch norm.
        (DMHead(), convolutions(*[(1, C)] * 4, (3, C + 4 * M), channels=M) + 4 * (C * M + M + 2 * M), 27.31, 94.88),
    ],
)
def test_costs_are_those_of_mmsegmentation(head, exact, parameters, multiply_adds):
    """Its configurations on 2048x64x64 features with 60 classes, to the last digit that it prints."""
    parts = head_costs(head, 60, C, 64, 64).values()
    counted = sum(part.multiply_adds for part in parts) - (ENCODING if isinstance(head, EncHead) else 0)
    assert sum(part.parameters for part in parts) == exact + M * 60 + 60
    assert round(sum(part.parameters for part in parts) / 1e6, 2) == parameters
    assert round(counted / 1e9, 2) == multiply_adds


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds", "cut"),
    [("apcnet", 10.5, 21.7, (10, 22)), ("dmnet", 9.5, 21.7, (9, 22))],
)
def test_the_leaner_modules_of_table_7(name, parameters, multiply_adds, cut):
    """The paper prints what we count by its way of counting, cut to whole numbers, but for 20G of DMNet."""
    parts = head_costs(LEAN[name], 60, C, 64, 64)
    assert round(parts["heads"].parameters / 1e6, 1) == parameters
    assert round(parts["heads"].multiply_adds / 1e9, 1) == multiply_adds
    assert parts["fusion"] == parts["reduction"] == (0, 0)
    assert parts["classifier"].parameters == (C + 4 * M) * 60 + 60
    own = own_costs(parts, 60, M, 64 * 64)
    assert (own.parameters // 10**6, own.multiply_adds // 10**9) == cut


def test_the_fcn_is_one_convolution_and_the_classifier():
    parts = head_costs(FCNHead(), 60, C, 64, 64)
    assert parts["reduction"] == (convolutions((3, C), channels=M), 9 * C * M * 64 * 64)
    assert parts["classifier"] == (M * 60 + 60, M * 60 * 64 * 64)
    assert parts["heads"] == parts["fusion"] == (0, 0)


def test_a_pooled_branch_that_is_made_frozen_takes_no_statistics():
    layer = GlobalPooling(4, trainable=False)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 3)).astype("float32")
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    assert not layer.trainable_weights
    np.testing.assert_array_equal(layer.norm.moving_mean, np.zeros(4))
