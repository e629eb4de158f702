"""Where a model runs: on the event loop while that takes no time to speak of, else in a thread of its own system's.

So a model that is slow, or slow for a large request, makes nobody wait but those who ask for it. A lane is narrow: one
call at a time, and a short queue; whoever comes when it is full is told at once.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from contracts.errors import Unavailable

MOST_WAITING = 16  # calls of one system; the gateway gives up on one after 150 ms

T = TypeVar("T")


class Lanes:
    """One thread for each system that has needed one. For one event loop."""

    def __init__(self) -> None:
        self._threads: defaultdict[str, ThreadPoolExecutor] = defaultdict(lambda: ThreadPoolExecutor(1, "lane"))
        self._waiting: Counter[str] = Counter()

    async def run(self, system: str, work: Callable[[], T]) -> T:
        """What `work` gives, from the system's own thread; `Unavailable` when too many wait for it."""
        if self._waiting[system] >= MOST_WAITING:
            raise Unavailable(f"The model of {system} is slow, and {MOST_WAITING} requests wait for it; try later.")
        self._waiting[system] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads[system], work)
        finally:
            self._waiting[system] -= 1
