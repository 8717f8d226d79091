"""`keras-cacnet train --precision`: what is trained, recorded and saved, and what is refused."""

import json

import keras
import numpy as np
import pytest

from keras_cacnet.cli import main

pytestmark = pytest.mark.usefixtures("small_networks")

SETTINGS = (
    "--set backbone=resnet14_narrow head_channels=8 num_heads=1 dilation_rates=1 crop_size=32 batch_size=2 epochs=1 "
    "learning_rate=0.01"
)


@pytest.fixture(scope="module")
def coast(tmp_path_factory, write_coast):
    return str(write_coast(tmp_path_factory.mktemp("precision") / "coast"))


SLOW = [pytest.param(precision, marks=pytest.mark.slow) for precision in ("bfloat16", "float64")]


@pytest.mark.parametrize("precision", ["float16", *SLOW])
def test_a_run_is_trained_saved_and_scored_in_its_precision(coast, tmp_path, precision):
    run = tmp_path / "run"
    words = ["train", "--data", coast, "--output", str(run), "--verbose", "0", "--no-report", "--precision", precision]
    assert main([*words, *SETTINGS.split()]) == 0
    assert json.loads((run / "config.json").read_text())["recipe"]["precision"] == precision
    assert not (run / "report.html").exists()
    model = keras.models.load_model(run / "best.keras")
    assert {layer.compute_dtype for layer in model.decoder.layers if layer.name.endswith("_conv")} == {precision}
    optimizer = keras.models.load_model(run / "last.keras").optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == (precision == "float16")
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert main(["evaluate", str(run), "--data", coast, "--split", "val"]) == 0


def test_two_precisions_are_refused(coast, tmp_path, capsys):
    words = ["train", "--data", coast, "--output", str(tmp_path / "run"), "--precision", "float16"]
    assert main([*words, *SETTINGS.split(), "precision=bfloat16"]) == 2
    told = "error: --precision float16 and --set precision=bfloat16 differ: give one of them\n"
    assert capsys.readouterr().err == told
    # float32 is also the default, which must not pass for an answer.
    assert main([*words, *SETTINGS.split(), "precision=float32"]) == 2
    assert "--precision float16 and --set precision=float32 differ" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_resuming_keeps_the_precision(coast, tmp_path, capsys):
    run = ["train", "--data", coast, "--output", str(tmp_path / "run"), "--verbose", "0", "--no-report"]
    assert main([*run, "--precision", "bfloat16", *SETTINGS.split(), "precision=bfloat16"]) == 0
    assert main([*run, "--resume"]) == 0
    assert main([*run, "--resume", "--precision", "float32"]) == 2
    assert "precision 'bfloat16' -> 'float32'" in capsys.readouterr().err
