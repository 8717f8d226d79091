"""What `import keras_cacnet` loads."""

import json
import os
import subprocess
import sys

import pytest

LOADED = """
import json, sys
{before}
before = set(sys.modules)
import keras_cacnet
{after}
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""
LIGHT = {"keras_cacnet", "lazy_loader", "wrapt"}


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def loaded(before="", after="", **environment):
    result = run(LOADED.format(before=before, after=after), **environment)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout)) - sys.stdlib_module_names


def test_import_is_light():
    assert loaded() == LIGHT


def test_recipes_are_described_without_keras():
    text = "from keras_cacnet.paper.recipe_listing import purpose_table, table\ntable(), purpose_table()"
    assert not loaded(after=text) & {"keras", "tensorflow", "matplotlib", "keras_cv"}


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_layers_networks_and_losses_load_nothing_that_keras_does_not(backend):
    used = (
        "keras_cacnet.CaCNet, keras_cacnet.CaCLayer\nkeras_cacnet.losses, keras_cacnet.metrics, keras_cacnet.optimizers"
    )
    assert loaded("import keras", used, KERAS_BACKEND=backend) - LIGHT == set()


def test_import_needs_none_of_the_optional_packages():
    absent = ("keras_cv", "keras_hub", "tensorflow_datasets", "matplotlib", "PIL")
    block = f"import sys\nfor name in {absent}: sys.modules[name] = None\nimport keras_cacnet\nkeras_cacnet.CaCNet"
    result = run(block)
    assert result.returncode == 0, result.stderr
