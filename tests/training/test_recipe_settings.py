"""Settings: KEY=VALUE read as its type and written back, or refused with the mend."""

from dataclasses import fields

import pytest

from keras_cacnet.models.settings import REWEIGHTINGS
from keras_cacnet.training.recipe import Recipe, origin
from keras_cacnet.training.recipe_settings import setting_text, with_settings


@pytest.mark.parametrize("name", REWEIGHTINGS)
def test_every_reweighting_can_be_written_on_the_command_line(name):
    assert with_settings(Recipe(), [f"reweighting={name}"]).reweighting == name


# None of these values is a default, so a setting that was not read would show.
OTHER = {
    "split": ("trainaug", "trainaug"),
    "validation_split": ("none", None),
    "backbone": ("resnet101", "resnet101"),
    "weights": ("a folder/with = in it", "a folder/with = in it"),
    "output_stride": ("16", 16),
    "head_channels": ("64", 64),
    "num_heads": ("3", 3),
    "kernel_sizes": ("5", (5,)),
    "dilation_rates": ("1,2,3,4", (1, 2, 3, 4)),
    "reweighting": ("se", "se"),
    "se_loss_weight": ("0.2", 0.2),
    "global_pooling": ("false", False),
    "auxiliary_weight": ("0", 0.0),
    "dropout": ("0.5", 0.5),
    "crop_size": ("96", 96),
    "batch_size": ("8", 8),
    "epochs": ("3", 3),
    "learning_rate": ("2e-2", 0.02),
    "head_factor": ("1", 1.0),
    "momentum": ("0.8", 0.8),
    "weight_decay": ("0.0005", 0.0005),
    "poly_power": ("1.5", 1.5),
    "scale_min": ("0.75", 0.75),
    "scale_max": ("1.5", 1.5),
    "flip": ("False", False),
    "precision": ("bfloat16", "bfloat16"),
    "seed": ("7", 7),
    "validate_every": ("2", 2),
    "freeze": ("backbone", "backbone"),
    "loss_stride": ("8", 8),
    "image_size": ("480", 480),
    "cached_views": ("2", 2),
    "cached_dtype": ("float32", "float32"),
    "loss": ("crossentropy+0.5*dice", "crossentropy+0.5*dice"),
    "class_weights": ("median_frequency", "median_frequency"),
    "label_smoothing": ("0.1", 0.1),
    "optimizer": ("adamw", "adamw"),
    "schedule": ("cosine", "cosine"),
    "warmup_steps": ("100", 100),
    "ema": ("0.99", 0.99),
    "accumulate": ("2", 2),
    "recompute": ("true", True),
    "early_stopping": ("3", 3),
    "brightness": ("0.3", 0.3),
    "contrast": ("0.3", 0.3),
    "saturation": ("0.3", 0.3),
    "hue": ("0.05", 0.05),
    "rotation": ("10", 10.0),
    "blur": ("1.5", 1.5),
    "cutout": ("0.25", 0.25),
}
# What a setting needs beside it, to have an effect.
WITH = {
    "se_loss_weight": {"reweighting": "enc"},
    "cached_views": {"freeze": "backbone"},
    "cached_dtype": {"freeze": "backbone", "cached_views": 2},
}


@pytest.mark.parametrize("name", [entry.name for entry in fields(Recipe)])
def test_every_setting_is_read_as_its_type_and_written_as_it_is_read(name):
    text, value = OTHER[name]
    before = Recipe(**WITH.get(name, {}))
    changed = with_settings(before, [f"{name}={text}"])
    assert getattr(changed, name) == value
    assert type(getattr(changed, name)) is type(value)
    assert changed != before
    assert with_settings(changed, [f"{name}={setting_text(getattr(before, name))}"]) == before
    assert with_settings(before, [f"{name}={setting_text(value)}"]) == changed
    assert origin(name).whose in ("paper", "ours")


def test_several_settings_and_the_last_counts():
    words = ["num_heads=2", "kernel_sizes=(3, 5)", "epochs=9", "epochs = 4"]
    assert with_settings(Recipe(seed=5), words) == Recipe(seed=5, kernel_sizes=(3, 5), epochs=4)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("epochs", "'epochs' is no setting: write KEY=VALUE"),
        ("=3", "'=3' is no setting"),
        (
            "epoch=3",
            r"no setting is called 'epoch'; did you mean epochs\? The settings are split, .*seed",
        ),
        ("learning-rate=3", r"did you mean learning_rate\?"),
        ("zzz=3", r"no setting is called 'zzz'\. The settings are"),
        ("epochs=many", "epochs must be a whole number, such as epochs=120; got 'many'"),
        ("epochs=1.5", "epochs must be a whole number, such as epochs=120; got '1.5'"),
        ("epochs=", "epochs must be a whole number, such as epochs=120; got ''"),
        ("epochs=none", "epochs must be a whole number, such as epochs=120; got 'none'"),
        ("learning_rate=fast", "learning_rate must be a number, such as learning_rate=0.001; got 'fast'"),
        ("flip=yes", "flip must be true or false, such as flip=true; got 'yes'"),
        ("flip=1", "flip must be true or false"),
        (
            "dilation_rates=1;2",
            "must be whole numbers, separated by commas, such as dilation_rates=1,2,3",
        ),
        ("kernel_sizes=", "kernel_sizes must be whole numbers"),
        ("backbone=", "backbone must be a name, such as backbone=resnet50; got ''"),
        ("weights=", "weights must be a name, or none, such as weights=imagenet; got ''"),
        ("epochs=0", "epochs must be at least 1, got 0"),
        ("learning_rate=nan", "learning_rate must be a positive number, got nan"),
        ("reweighting=senet", "reweighting must be one of cac, fixed"),
        ("precision=half", "precision must be one of float32, bfloat16, float16, float64, got 'half'"),
    ],
)
def test_a_wrong_setting_is_answered_by_the_right_one(word, told):
    with pytest.raises(ValueError, match=told):
        with_settings(Recipe(), [word])
