import os
import subprocess
import sys

SCRIPT = """
import keras, numpy as np
from keras_cacnet import evaluation, export
from keras_cacnet.datasets import ClassTable
classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
for attempt in (
    lambda: evaluation.evaluate(model, [], classes),
    lambda: evaluation.ids(model, np.zeros((2, 2, 3), "uint8")),
    lambda: evaluation.predict_files(model, [], "nowhere", classes),
    lambda: export.saved_model(model, "nowhere"),
    lambda: export.verify("nowhere", model, []),
):
    try:
        attempt()
    except ValueError as error:
        print(error)
"""


def test_another_backend_is_refused_by_name(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    lines = process.stdout.splitlines()
    assert len(lines) == 5, process.stderr
    for line, task in zip(
        lines, ["evaluation", "prediction", "prediction", "the export", "the comparison"], strict=True
    ):
        assert line.startswith(task)
        assert "Keras runs on jax: set the environment variable KERAS_BACKEND=tensorflow" in line
    assert not list(tmp_path.iterdir())
