"""What tests of training share; programs that tests start are no tests."""

import numpy as np
import pytest

from keras_cacnet.files import write_json
from keras_cacnet.models import CaCNet
from keras_cacnet.training import Run
from keras_cacnet.training.compiling import network_arguments

collect_ignore_glob = ["train_on_*.py"]


@pytest.fixture(scope="session")
def write_run():
    def write(folder, recipe, classes, seen, recipe_name=None):
        """A run's folder as train leaves it, but for the training."""
        folder.mkdir(parents=True)
        write_json(folder / "classes.json", classes.to_json())
        config = {"recipe_name": recipe_name, "recipe": recipe.to_json(), "start_from": None, "trained_on": [seen]}
        write_json(folder / "config.json", config)
        network = CaCNet(len(classes), **network_arguments(recipe))
        rng = np.random.default_rng(1)
        # Batch-norm statistics too, so that a forward pass shows whether they came along.
        network.set_weights([weight + rng.uniform(0, 0.01, weight.shape) for weight in network.get_weights()])
        network.save(folder / "best.keras")
        return Run(folder)

    return write
