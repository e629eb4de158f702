"""A process that is told to end at any moment, in the middle of beginning to wait among others."""

import signal
import subprocess
import sys
import time
from itertools import pairwise

from infra.settings import ROOT
from infra.stop_signal import StopSignal

TOLD_AT_ANY_MOMENT = """
import signal
from infra.stop_signal import StopSignal

stop = StopSignal()
signal.signal(signal.SIGALRM, lambda *_: stop.set())
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
for _ in range(1_000):
    stop = StopSignal()
    while not stop.wait(0):
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
"""
UNTIL_TOLD = """
from infra.stop_signal import StopSignal

stop = StopSignal.of_process()
print("up", flush=True)
stop.wait()
"""


def test_a_signal_at_any_moment_ends_the_wait() -> None:
    """With `threading.Event` in its place the handler waits for a lock that the wait it interrupted holds."""
    subprocess.run([sys.executable, "-c", TOLD_AT_ANY_MOMENT], cwd=ROOT, check=True, timeout=60)


def test_it_stays_set_and_is_not_waited_for_again() -> None:
    stop = StopSignal()
    assert not stop.wait(0)
    assert not stop.is_set()
    stop.set()
    moments = [time.monotonic()]
    for _ in range(3):
        assert stop.wait()
        moments.append(time.monotonic())
    assert stop.is_set()
    assert max(after - before for before, after in pairwise(moments)) < 1


def test_both_signals_set_that_of_the_process() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen([sys.executable, "-c", UNTIL_TOLD], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            process.send_signal(number)
            assert process.wait(20) == 0
