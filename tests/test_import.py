"""What `import keras_cacnet` loads."""

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
