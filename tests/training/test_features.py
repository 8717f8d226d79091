"""Cached features: training on them is training on the same views of the images, whatever comes between."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.datasets import fingerprint, open_dataset
from keras_cacnet.models import freeze
from keras_cacnet.models.heads import FCNHead
from keras_cacnet.models.network import SegmentationNetwork
from keras_cacnet.pipeline import Views
from keras_cacnet.pipeline.augmentation import augment
from keras_cacnet.pipeline.examples import read
from keras_cacnet.training import Checkpoints, Features, Job, Recipe, Run, Stopped, feature_shards, train
from keras_cacnet.training.feature_shards import FeatureShards
from small_networks import random_statistics, small_backbone, small_networks

VIEWS = Views(count=2, crop_size=40, scale_range=(0.75, 1.5))
RECIPE = Recipe(
    backbone="resnet14_narrow",
    head_channels=8,
    num_heads=1,
    dilation_rates=(1,),
    output_stride=16,
    loss_stride=4,
    freeze="backbone",
    cached_views=2,
    cached_dtype="float32",
    crop_size=40,
    batch_size=2,
    epochs=3,
    learning_rate=0.01,
    seed=3,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(write_folder(tmp_path_factory.mktemp("data") / "coast"))


def write_folder(root, train=5, val=2):
    rng = np.random.default_rng(0)
    root.mkdir()
    (root / "classes.txt").write_text("0 sky 90 160 220\n1 sea 20 60 140\n2 Void 0 0 0\n")
    for split, count in (("train", train), ("val", val)):
        for index in range(count):
            image = rng.integers(0, 256, (44, 36 + 4 * index, 3)).astype("uint8")
            mask = rng.integers(0, 3, image.shape[:2]).astype("uint8")
            for kind, pixels in (("images", image), ("labels", mask)):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / kind / split / f"{index}.png")
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def build(dtype="float32", auxiliary_weight=0.2, loss_stride=4):
    """Its backbone has batch norms, which are in inference mode where features are computed."""
    keras.utils.set_random_seed(1)
    network = SegmentationNetwork(
        2,
        FCNHead(8),
        backbone=random_statistics(small_backbone(batch_norm=True, dtype=dtype)),
        output_stride=16,
        auxiliary_weight=auxiliary_weight,
        dropout=0.0,
        loss_stride=loss_stride,
        dtype=dtype,
    )
    freeze(network, "backbone")
    return network


def features_of(network, dataset, views=VIEWS, dtype="float32"):
    return Features.of(network, dataset.source("train"), dataset.classes, views, dtype, fingerprint(dataset, "train"))


def filled(network, dataset, views=VIEWS, dtype="float32"):
    features = features_of(network, dataset, views, dtype)
    features.fill(network, dataset.source("train"), verbose=False)
    return features


def trained(network, batches):
    network.compile(kc.optimizers.SGD(0.1), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    return [float(network.train_step(batch)["loss"]) for batch in batches]


@pytest.mark.parametrize("auxiliary_weight", [0.0, 0.2])
def test_training_on_features_is_training_on_their_views(dataset, auxiliary_weight):
    keras.config.dtype_policy()  # is what `floatx` is where it is first asked for, and stays
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        network = build("float64", auxiliary_weight)
        features = filled(network, dataset, dtype="float64")
        batches = features.batches(batch_size=2, steps=9, seed=7)
        assert batches.options().autotune.enabled is False  # see `ends_at_once`
        losses = trained(network, batches)
        source, other = dataset.source("train"), build("float64", auxiliary_weight)

        def view(g):
            number = VIEWS.number(g, len(source), seed=7)
            image, mask = read(source, dataset.classes, number % 5)
            return VIEWS.of(image, mask, number // 5, number % 5)

        wanted = trained(other, tf.data.Dataset.range(18).map(view).batch(2))
    finally:
        keras.config.set_floatx(before)
    assert len(set(np.round(losses, 6))) == 9
    # float64 sums in another order.
    np.testing.assert_allclose(losses, wanted, rtol=1e-10)
    for one, two in zip(network.variables, other.variables, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-10, err_msg=one.path)


def test_half_precision_is_half_a_thousandth_off(dataset):
    network = build()
    exact, half = filled(network, dataset), filled(network, dataset, dtype="float16")
    assert half.bytes < 0.6 * exact.bytes
    assert exact.folder != half.folder
    pairs = zip(*(one.batches(batch_size=2, steps=2, seed=0) for one in (exact, half)), strict=True)
    for (wanted, masks), (found, same) in pairs:
        assert found["P5"].dtype == "float16"
        np.testing.assert_array_equal(masks, same)
        # 11 bits; the smallest steps of float16 are 6e-8.
        np.testing.assert_allclose(np.float32(found["P5"]), wanted["P5"], rtol=2**-11, atol=6e-8)


def test_epochs_take_every_image_once_and_the_views_in_turn():
    numbers = [int(VIEWS.number(g, 5, seed=2)) for g in tf.range(20, dtype="int64")]
    for epoch in range(4):
        one = numbers[5 * epoch : 5 * epoch + 5]
        assert sorted(one) == [epoch % 2 * 5 + index for index in range(5)]
    assert numbers[:5] != numbers[10:15]
    assert numbers != [int(VIEWS.number(g, 5, seed=3)) for g in tf.range(20, dtype="int64")]


def test_every_other_view_is_mirrored(dataset):
    views = Views(count=2, crop_size=64)
    images = [image.numpy() for image, _ in views.stream(dataset.source("train"), dataset.classes, 0, 10)]
    masks = [mask.numpy() for _, mask in views.stream(dataset.source("train"), dataset.classes, 0, 10)]
    for index in range(5):
        width = 36 + 4 * index
        np.testing.assert_array_equal(images[index][:44, :width], images[5 + index][:44, :width][:, ::-1])
        np.testing.assert_array_equal(masks[index][:44, :width], masks[5 + index][:44, :width][:, ::-1])
        assert (masks[5 + index][:, width:] == 255).all()
        # To and fro as often as there is room.
        folded = np.concatenate([images[index][:44, :width], images[index][:44, :width][:, ::-1]], axis=1)[:, :64]
        np.testing.assert_array_equal(images[index][:44], folded)
        np.testing.assert_array_equal(images[index][44:], images[index][24:44][::-1])
    plain = Views(count=2, crop_size=64, flip=False)
    same = [image.numpy() for image, _ in plain.stream(dataset.source("train"), dataset.classes, 0, 10)]
    np.testing.assert_array_equal(same[:5], same[5:])


def test_a_view_is_what_augment_makes(dataset):
    image, mask = read(dataset.source("train"), dataset.classes, tf.constant(3, tf.int64))
    views = Views(count=4, crop_size=24, scale_range=(0.5, 2.0), image_size=30)
    found = views.of(image, mask, tf.constant(2, tf.int64), tf.constant(3, tf.int64))
    wanted = augment(image, mask, (2, 3), 24, (0.5, 2.0), False, 30, mirror=True)
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, two)


def test_broken_off_it_goes_on(dataset, monkeypatch):
    network = build()
    monkeypatch.setattr(feature_shards, "_SHARD_BYTES", 1)  # a view a shard
    whole = features_of(network, dataset)
    write, written = FeatureShards.write, []

    def killed(self, shard, arrays):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(shard)
        write(self, shard, arrays)

    monkeypatch.setattr(FeatureShards, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        filled(network, dataset)
    assert whole.shards.missing() == [4, 5, 6, 7, 8, 9]
    monkeypatch.setattr(FeatureShards, "write", write)
    # One that was cut short by a full disk or a crash is computed again.
    path = whole.folder / "00002" / "P5.npy"
    path.write_bytes(path.read_bytes()[:-7])
    assert whole.shards.missing() == [2, 4, 5, 6, 7, 8, 9]
    features = filled(network, dataset)
    assert not features.shards.missing()
    assert not [path for path in features.folder.iterdir() if path.name.startswith(".")]
    found = [np.array(x["P5"]) for x, _ in features.batches(batch_size=5, steps=2, seed=0)]
    monkeypatch.setenv("KERAS_CACNET_DATA", str(features.folder))
    wanted = [np.array(x["P5"]) for x, _ in filled(network, dataset).batches(batch_size=5, steps=2, seed=0)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="open files are read off /proc")
def test_no_file_stays_open_behind_a_run(dataset):
    features = filled(build(), dataset)
    for _ in features.batches(batch_size=5, steps=2, seed=0):
        pass
    assert str(features.folder) not in Path("/proc/self/maps").read_text()
    opened = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    assert not [path for path in opened if path.startswith(str(features.folder))]


def test_another_key_for_whatever_changes_the_features(dataset, tmp_path):
    network = build()
    folder = features_of(network, dataset).folder
    assert features_of(build(), dataset).folder == folder
    others = [
        features_of(network, dataset, dtype="float16"),
        features_of(network, dataset, Views(2, 40, (0.75, 1.25))),
        features_of(network, dataset, Views(3, 40, (0.75, 1.5))),
        features_of(network, dataset, Views(2, 48, (0.75, 1.5))),
        features_of(network, dataset, Views(2, 40, (0.75, 1.5), flip=False)),
        features_of(network, dataset, Views(2, 40, (0.75, 1.5), image_size=32)),
        features_of(build(auxiliary_weight=0.0), dataset),
        features_of(build(loss_stride=8), dataset),
    ]
    weight = network.backbone.variables[-1]
    weight.assign(weight + 1e-3)
    others.append(features_of(network, dataset))
    changed = write_folder(tmp_path / "coast")
    with Image.open(changed / "images/train/1.png") as image:
        pixels = np.array(image)
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(changed / "images/train/1.png")
    others.append(features_of(build(), open_dataset(changed)))
    for number, lines in enumerate(
        ("0 Void 0 0 0\n1 sea 1 2 3\n2 sky 90 160 220\n", "0 sky 0 0 0\n1 sea 1 2 3\n2 sun 9 9 9\n")
    ):
        reread = write_folder(tmp_path / f"coast{number}")
        (reread / "classes.txt").write_text(lines)
        others.append(features_of(build(), open_dataset(reread)))
    folders = [other.folder for other in others]
    assert len({*folders, folder}) == len(folders) + 1


def test_what_it_takes_is_said_and_refused_where_there_is_no_room(dataset, monkeypatch, capsys):
    network = build()
    features = features_of(network, dataset, Views(20, 40))
    source = dataset.source("train")
    # 3x3 positions of 8 and 16 channels, and a mask of 12x12.
    assert features.bytes == 100 * (9 * (8 + 16) * 4 + 144)
    monkeypatch.setattr(feature_shards.shutil, "disk_usage", lambda folder: type("", (), {"free": 60_000})())
    with pytest.raises(OSError, match="100 views take 0.10 MB, and .* has room for 0.06 MB: set fewer cached_views"):
        features.fill(network, source)
    monkeypatch.undo()
    capsys.readouterr()
    features.fill(network, source)
    assert "features: 100 views of 5 images, 0.10 MB in " in capsys.readouterr().out
    features.fill(network, source)
    assert "all there" in capsys.readouterr().out


def test_values_beyond_half_precision_are_refused(dataset):
    network = build()
    for variable in network.backbone.variables:
        if variable.path.endswith("gamma"):
            variable.assign(variable * 1e3)
    with pytest.raises(ValueError, match="features P. are not finite in float16: set cached_dtype=float32"):
        filled(network, dataset, dtype="float16")


def test_a_backbone_that_is_trained_is_refused(dataset):
    network = build()
    freeze(network, "none")
    with pytest.raises(ValueError, match="freeze it first"):
        features_of(network, dataset)


@pytest.mark.filterwarnings("ignore:freeze=backbone keeps what is random")
def test_a_run_goes_on_where_it_was(dataset, tmp_path, cache):
    """Stopped within an epoch and resumed, it ends with the weights of one that was not."""
    recipe = replace(RECIPE, validation_split=None)  # scores are of whole images, not of features
    with small_networks():
        train(Job(recipe, dataset, tmp_path / "whole"), verbose=0)
    (folder,) = cache.iterdir()
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}

    class Signalling(Checkpoints):
        def after_step(self, loop):
            super().after_step(loop)
            if loop.step == 3:
                signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch, small_networks():
        patch.setattr("keras_cacnet.training.start.Checkpoints", Signalling)
        with pytest.raises(Stopped):
            train(Job(recipe, dataset, tmp_path / "broken"), verbose=0)
    train(Job(recipe, dataset, tmp_path / "broken", resume=True), verbose=0)
    runs = [Run(tmp_path / name).load_model("last") for name in ("whole", "broken")]
    for one, two in zip(*(run.variables for run in runs), strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)
    # Computed once, by the first of the three.
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")} == written
    assert tuple(runs[0](np.zeros((1, 33, 47, 3), "uint8")).shape) == (1, 33, 47, 2)
