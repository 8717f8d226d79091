"""Saved models in a process that has used nothing of the package before."""

import importlib
import os
import pkgutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.saved_classes import MODULES

LOAD = """
import sys
{imports}
model = keras.models.load_model(sys.argv[1])
print(type(model).__module__, type(model.optimizer).__module__, type(model.loss).__module__)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = kc.CaCNet(3, backbone="resnet14_narrow", head_channels=8)
    metrics = [kc.metrics.MeanIoU(3)]
    model.compile(kc.optimizers.SGD(0.01), loss=kc.losses.SegmentationCrossentropy(), metrics=metrics)
    images = np.zeros((2, 16, 16, 3), "float32")
    model.fit(images, np.zeros((2, 16, 16), "int32"), verbose=0)
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path


@pytest.mark.parametrize("imports", ["import keras_cacnet\nimport keras", "import keras\nimport keras_cacnet"])
def test_load_model_finds_them(saved, imports):
    command = [sys.executable, "-c", LOAD.format(imports=imports), str(saved)]
    result = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    rooms = ("models.cacnet", "training.optimizers.sgd", "training.losses.crossentropy")
    assert result.stdout.split()[:3] == [f"keras_cacnet.{room}" for room in rooms]


def test_every_class_that_is_registered_is_listed():
    for module in pkgutil.walk_packages(kc.__path__, "keras_cacnet."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    registered = {name for name in keras.saving.get_custom_objects() if name.startswith("keras_cacnet>")}
    assert {f"keras_cacnet>{name}" for names in MODULES.values() for name in names} == registered
    for module, names in MODULES.items():
        for name in names:
            of_keras = keras.saving.get_registered_object(f"keras_cacnet>{name}")
            assert of_keras is getattr(importlib.import_module(f"keras_cacnet.{module}"), name)
