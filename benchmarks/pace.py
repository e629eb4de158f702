"""How quick the machine itself is, while something else is measured on it.

A small piece of work is done again and again that is always the same. Its processor time does not grow with what else
runs here, but where the machine is a virtual one whose host runs others on the same core, or runs it more slowly.
"""

import threading
import time
from typing import Self

WORK = range(3_000)  # some 50 µs, so that it hardly matters what the caches hold at its begin
EVERY = 0.02  # seconds


def worked() -> int:
    """Nanoseconds of processor time that the piece of work takes now."""
    before = time.thread_time_ns()
    for _ in WORK:
        pass
    return time.thread_time_ns() - before


class Pace:
    """Does the piece of work within the context, in a thread beside what is done there."""

    def __init__(self) -> None:
        self._took: list[int] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def mean(self) -> float:
        """Microseconds that it took, on average; after the context."""
        return sum(self._took) / len(self._took) / 1e3

    def _run(self) -> None:
        self._took.append(worked())
        while not self._done.wait(EVERY):
            self._took.append(worked())
