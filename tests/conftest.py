"""Fixtures that every test may use."""

from pathlib import Path

import keras
import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs and masks beside the checkout; tests that need them skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real photographs are not at ../shared/data")
    return SHARED_DATA


@pytest.fixture(autouse=True, scope="module")
def seeded_module():
    """What fixtures of a module draw is the same whichever tests ran before."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
