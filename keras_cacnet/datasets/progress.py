"""How far reading or writing many files has come: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

from tqdm import tqdm

_SECONDS = 10.0


class Progress:
    """Counts files.

    On a terminal it is a progress bar. Where the output goes into a file or a pipe, it is a line at most every ten
    seconds, and one at the end.

    Args:
        title: what is done, such as "reading masks".
        total: the number of files; nothing is shown where it is 0.

    Example:
        >>> progress = Progress("reading", 2)
        >>> for _ in range(2):
        ...     progress.add(1)
        reading: 2 of 2 files
    """

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._last = time.monotonic()
        is_shown = total > 0 and sys.stdout.isatty()
        self._bar = tqdm(desc=title, total=total, unit=" files", file=sys.stdout) if is_shown else None

    def add(self, count: int) -> None:
        """Count files that are done."""
        self._done += count
        is_last = self._done == self._total
        if self._bar is not None:
            self._bar.update(count)
            if is_last:
                self._bar.close()
        elif self._total and (is_last or time.monotonic() - self._last > _SECONDS):
            self._last = time.monotonic()
            print(f"{self._title}: {self._done} of {self._total} files", flush=True)
