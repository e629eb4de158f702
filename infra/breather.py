"""Rests between the pieces of work that nobody waits for.

While a program that counts as idle (SCHED_IDLE, see infra/launch.py) worked without a rest, requests were seen to wait
for a processor, though theirs goes before it on each: Linux gives what waits another processor once one has nothing to
do, and on a small machine none had. With a rest every millisecond or so they pass.
"""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PIECE = 0.001  # seconds of processor time after which there is a rest
TIMES = 4.0  # as long as the piece took, so long is the rest


class Breather:
    """Rests of one thread, of so many seconds altogether as were last allowed."""

    def __init__(self) -> None:
        self._left = 0.0
        self._since = 0.0

    def allow(self, seconds: float) -> None:
        """What follows may rest for so long altogether; a piece of work begins."""
        self._left, self._since = seconds, time.thread_time()

    def rest(self) -> None:
        """To be called often: sleep if a piece of work is done since the last rest, and rests are still allowed."""
        if self._left <= 0.0 or (worked := time.thread_time() - self._since) < PIECE:
            return
        pause = min(TIMES * worked, self._left)
        time.sleep(pause)
        self.allow(self._left - pause)

    def each(self, many: Iterable[T]) -> Iterator[T]:
        """All of them, with a rest after what is done with each."""
        for one in many:
            yield one
            self.rest()
