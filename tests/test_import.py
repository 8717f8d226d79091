"""What `import keras_cacnet` loads, and that its public names are there."""

import json
import os
import subprocess
import sys

import pytest

MODULES = """
import json, sys
import keras
before = set(sys.modules)
import keras_cacnet
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_import_loads_nothing_that_keras_does_not(backend):
    result = run(MODULES, KERAS_BACKEND=backend)
    assert result.returncode == 0, result.stderr
    own = {"keras_cacnet"}
    assert set(json.loads(result.stdout)) - own - sys.stdlib_module_names == set()


def test_import_needs_none_of_the_optional_packages():
    absent = ("keras_cv", "keras_hub", "tensorflow_datasets", "matplotlib", "PIL")
    block = f"import sys\nfor name in {absent}: sys.modules[name] = None\nimport keras_cacnet"
    result = run(block)
    assert result.returncode == 0, result.stderr


def test_public_names():
    import keras_cacnet as kc

    for path in (
        *("CaCLayer", "CaCNet", "models.backbone", "models.dilate", "losses.SegmentationCrossentropy"),
        *("models.SegmentationNetwork", "models.heads.PSPHead"),
        *("metrics.MeanIoU", "optimizers.SGD", "export.saved_model", "export.tflite", "datasets.open_dataset"),
        *(
            "evaluation.evaluate",
            "pipeline.training_batches",
            "visualization.overlay",
            "training.train",
            "training.Recipe",
            "training.with_settings",
            "paper.experiment_named",
        ),
    ):
        value = kc
        for name in path.split("."):
            value = getattr(value, name)
        assert callable(value)
    assert all(getattr(kc, name) is not None for name in kc.__all__)
    assert dir(kc.training) == sorted(kc.training.__all__)
    assert all(getattr(kc.training, name) is not None for name in kc.training.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kc.nothing
