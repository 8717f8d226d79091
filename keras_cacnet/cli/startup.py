"""TensorFlow's start-up lines: held back, since they come before any log level is read, and shown where it fails."""

import faulthandler
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_STDERR = 2


def import_tensorflow() -> str:
    """Import TensorFlow and look for devices, without a word on stderr.

    Nothing is held back where `TF_CPP_MIN_LOG_LEVEL=0` asks for every line.

    Returns:
        What it wrote; "" where it was imported before.

    Raises:
        ImportError: it cannot be imported; what it wrote is on stderr then.
    """
    wanted = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "0"
    if "tensorflow" in sys.modules or wanted:
        return ""
    with tempfile.TemporaryFile() as held:
        try:
            with _stderr_into(held.fileno()):
                import tensorflow as tf

                tf.config.list_physical_devices()
        except BaseException:
            sys.stderr.write(_text(held))
            raise
        return _text(held)


@contextmanager
def _stderr_into(file: int) -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    if watched := not faulthandler.is_enabled():
        # TensorFlow ends the process where it was built for another processor.
        faulthandler.enable(kept)
    os.dup2(file, _STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, _STDERR)
        if watched:
            faulthandler.disable()
        os.close(kept)


def _text(held: IO[bytes]) -> str:
    held.seek(0)
    return str(held.read(), errors="replace")
