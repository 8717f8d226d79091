"""A signal asks a run to stop; a second one does what signals do."""

import signal
import subprocess
import sys
import threading

import pytest

from keras_cacnet.training.signals import Stopped, StopSignals


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_before_there_is_something_to_save_it_stops_at_once(name):
    former = signal.getsignal(signal.Signals[name])
    with pytest.raises(Stopped, match=f"stopped by {name} before the first step"), StopSignals():
        signal.raise_signal(signal.Signals[name])
    assert signal.getsignal(signal.Signals[name]) is former


def asked(error=None):
    with StopSignals() as stop:
        stop.defer()
        assert not stop.requested
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested == "SIGTERM"
        if error:
            raise error


def test_then_it_asks_and_what_ends_the_run_says_so():
    for error in (Stopped("after step 3 of 8"), ValueError("the loss is nan")):
        with pytest.raises(type(error), match=str(error)):
            asked(error)


def test_where_nobody_looked_it_stops_at_the_end():
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped by SIGTERM after the last step"):
        asked()
    assert signal.getsignal(signal.SIGTERM) is former


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", -signal.SIGTERM), ("SIGINT", -signal.SIGINT)])
def test_a_second_one_does_what_it_always_did(name, status):
    program = f"""
import signal
from keras_cacnet.training.signals import StopSignals
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background shells have it ignored
with StopSignals() as stop:
    stop.defer()
    signal.raise_signal(signal.{name})
    print("asked", flush=True)
    signal.raise_signal(signal.{name})
    print("never")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "asked\n")


def test_in_another_thread_signals_stay_as_they_are():
    former, found = signal.getsignal(signal.SIGTERM), []

    def run():
        with StopSignals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [former]
