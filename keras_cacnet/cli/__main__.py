"""`python -m keras_cacnet.cli`, the same as `python -m keras_cacnet`."""

import keras_cacnet.__main__  # noqa: F401
