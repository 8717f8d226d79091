"""How far something long has come: a bar on a terminal, a line now and then in a file or a pipe."""

import sys
import time

from tqdm import tqdm

_SECONDS = 10.0


class ProgressBar:
    """A bar that counts what is done.

    On a terminal it is a progress bar. Where the output goes into a file or a pipe, it is a line at most every ten
    seconds, and one at the end, without backspaces.

    Args:
        title: what is done, such as "reading masks".
        total: how many there are; nothing is shown where it is 0. None where nobody knows: `close` is the end then.
        unit: what is counted.

    Example:
        >>> progress = ProgressBar("reading", 2)
        >>> for _ in range(2):
        ...     progress.add(1)
        reading: 2 of 2 files
    """

    def __init__(self, title: str, total: int | None, unit: str = "files") -> None:
        self._title, self._total, self._unit, self._done = title, total, unit, 0
        self._is_closed = False
        self._last = time.monotonic()
        is_shown = total != 0 and sys.stdout.isatty()
        self._bar = tqdm(desc=title, total=total, unit=f" {unit}", file=sys.stdout) if is_shown else None

    def add(self, count: int = 1) -> None:
        """Count what is done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        if self._done == self._total:
            self.close()
        elif self._bar is None and self._total != 0 and time.monotonic() - self._last > _SECONDS:
            self._last = time.monotonic()
            self._say()

    def close(self) -> None:
        """End it; where the total is known, the last `add` does."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._bar is not None:
            self._bar.close()
        elif self._total != 0:
            self._say()

    def _say(self) -> None:
        total = "" if self._total is None else f" of {self._total}"
        print(f"{self._title}: {self._done}{total} {self._unit}", flush=True)


def verbosity_of_fit(verbose: str | int) -> str | int:
    """Choose what Keras' `fit` is told, which does not look where its output goes: a line an epoch in a file or a pipe.

    Args:
        verbose: as for `keras.Model.fit`.

    Returns:
        2 for "auto" where the output is neither a terminal nor a notebook; else `verbose` itself.

    Example:
        >>> verbosity_of_fit("auto"), verbosity_of_fit(1)
        (2, 1)
    """
    is_seen = sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")
    return 2 if verbose == "auto" and not is_seen else verbose
