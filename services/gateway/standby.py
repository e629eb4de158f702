"""Candidates for when stage one does not answer: those it last found for somebody of whom nothing is known."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

from contracts.errors import Unavailable
from contracts.ports import Clock, Scorer
from contracts.system import Columns, Retrieval, System

GOOD_FOR = 60.0  # seconds; then they are asked for again, beside the requests
PATIENCE = 1.0  # seconds, also between two attempts while there are none


class Standby:
    """Holds a system's standing candidates once stage one has answered for it.

    It is asked beside the requests and may take longer than they let it: where it is always too slow for them, they are
    answered with what stands in, not refused.
    """

    def __init__(self, scorer: Scorer, clock: Clock) -> None:
        self._scorer, self._clock = scorer, clock
        self._rows: dict[str, Columns] = {}
        self._asked: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def refreshed(self) -> None:
        """When what is being asked for now has come, or has not."""
        await asyncio.gather(*self._tasks)

    def rows(self, system: System) -> Columns:
        """The candidates; `Unavailable` while there are none yet."""
        try:
            return self._rows[system.name]
        except KeyError:
            raise Unavailable(f"Stage one of {system.name} does not answer and has not answered yet.") from None

    def refresh(self, system: System, retrieval: Retrieval) -> None:
        """Ask stage one, beside the requests, if that was long ago; soon again while it has never answered."""
        pause = GOOD_FOR if system.name in self._rows else PATIENCE
        if monotonic() - self._asked.get(system.name, float("-inf")) < pause:
            return
        self._asked[system.name] = monotonic()
        task = asyncio.create_task(self._fetch(system.name, retrieval.anybody))
        self._tasks.add(task)  # the event loop itself holds no reference
        task.add_done_callback(self._tasks.discard)

    async def _fetch(self, system: str, anybody: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._scorer.retrieve(system, anybody, self._clock.now())
        except (Unavailable, TimeoutError):
            return  # the older ones stay; the next request that finds it asks again after a while
        self._rows[system] = found.rows
