"""The progress bar of checks and of preparation."""


class Bar:
    """Keras' progress bar, or nothing.

    Args:
        total: Number of files; 0 for no bar.

    Example:

    >>> Bar(0).step()
    """

    def __init__(self, total: int) -> None:
        self._bar = None
        if total:
            # Keras loads its backend, which reading files does not need.
            from keras.utils import Progbar

            self._bar = Progbar(total, unit_name="file")

    def step(self) -> None:
        """Counts one file."""
        if self._bar is not None:
            self._bar.add(1)
