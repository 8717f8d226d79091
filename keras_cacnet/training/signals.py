"""The signals by which a machine that is taken away, or its user, stops a run: save, then end."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(KeyboardInterrupt):
    """A signal has stopped the run, and everything that it had done is saved.

    A `KeyboardInterrupt`, so that nothing that handles errors takes it for one.
    """


class StopSignals:
    """Turns the first SIGTERM or SIGINT into a request to stop, as long as the context lasts.

    Until `defer` is called there is nothing to save, and the signal raises `Stopped` at once. After it, the signal
    sets `requested`, which the training loop looks at after every step; one that comes after the last look raises
    `Stopped` where the context ends, or whoever called would go on. A second signal does what it always did. Outside
    of the main thread, where Python takes no signals, nothing changes.

    Example:
        >>> try:
        ...     with StopSignals() as stop:
        ...         stop.defer()
        ...         signal.raise_signal(signal.SIGTERM)
        ...         print(stop.requested)
        ... except Stopped as stopped:
        ...     print(stopped)
        SIGTERM
        stopped by SIGTERM after the last step
    """

    def __init__(self) -> None:
        self.requested = ""
        self._deferred = False
        self._former: dict[signal.Signals, Any] = {}

    def defer(self) -> None:
        """Let a signal ask from now on, and not raise."""
        self._deferred = True

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._give_back()
        if self.requested and kind is None:
            raise Stopped(f"stopped by {self.requested} after the last step")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._give_back()
        self.requested = signal.Signals(number).name
        if not self._deferred:
            raise Stopped(f"stopped by {self.requested} before the first step")

    def _give_back(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
