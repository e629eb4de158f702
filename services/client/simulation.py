"""Simulated clients: requests at a steady rate over HTTP, and their outcomes when the world's time has come for them.

Arrivals are open-loop (a slow answer does not slow the next request down). Every outcome is sent until it is
acknowledged, as a real client's queue would.
"""

import asyncio
import heapq
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, Self

from contracts.errors import FlywheelError
from contracts.ports import Clock
from contracts.world import SimulatedOutcome, World
from services.client.gateway import GatewayClient
from services.client.ledger import Ledger

TICK = 0.05  # seconds between two looks at what is due
RETRY = 1.0  # seconds until an outcome that was not acknowledged is sent again
MOST_IN_FLIGHT = 256


@dataclass(order=True)
class _Due:
    when: datetime
    turn: int
    prediction_id: str = field(compare=False)
    outcome: SimulatedOutcome = field(compare=False)
    not_before: float = field(compare=False, default=0.0)  # monotonic, after a failure


class Simulation:
    """Clients of one system, run in a thread of their own between `start` and `stop`."""

    def __init__(self, client: GatewayClient, system: str, world: World, clock: Clock, rate: float) -> None:
        self.world = world  # replace it to change the world under the platform's feet
        self.rate = rate  # requests a second
        self.ledger = Ledger()
        self._client, self._system, self._clock = client, system, clock
        self._due: list[_Due] = []
        self._turns, self._streams = count(), count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._in_thread, name="simulated clients", daemon=True)
        self._fault: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Outcomes whose time has not come."""
        return len(self._due)

    def check(self) -> None:
        """Raise what ended the clients, if anything did."""
        if self._fault is not None:
            raise FlywheelError(f"The simulated clients of {self._system} stopped: {self._fault}.") from self._fault

    def _in_thread(self) -> None:
        try:
            asyncio.run(self.run())
        except Exception as error:  # kept for `check`: a thread has nobody to raise to
            self._fault = error

    async def run(self) -> None:
        """Until `stop`: send what is due, each tick."""
        started, sent = time.monotonic(), 0
        async with self._client:
            while not self._stopping.is_set():
                due = int((time.monotonic() - started) * self.rate) - sent
                sent += due
                self._send_requests(min(due, MOST_IN_FLIGHT - len(self._tasks)))
                self._send_outcomes()
                await asyncio.sleep(TICK)
            await asyncio.gather(*self._tasks)

    def _send_requests(self, number: int) -> None:
        if number < 1:
            return
        at = self._clock.now()
        for request in self.world.requests(number, at, next(self._streams)):
            self._spawn(self._predict(request))

    def _send_outcomes(self) -> None:
        now, monotonic = self._clock.now(), time.monotonic()
        while self._due and self._due[0].when <= now and self._due[0].not_before <= monotonic:
            self._spawn(self._report(heapq.heappop(self._due)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _predict(self, request: dict[str, Any]) -> None:
        before = time.monotonic()
        try:
            answer = await self._client.predict(self._system, request)
        except FlywheelError as error:
            self.ledger.failures[str(error)] += 1
            return
        self.ledger.latencies.append(time.monotonic() - before)
        self.ledger.predictions[answer["prediction_id"]] = answer["model_version"]
        self.ledger.versions[answer["model_version"]] += 1
        self.ledger.degraded.update(answer["degraded"])
        for outcome in self.world.outcomes(request, answer["result"], self._clock.now(), next(self._streams)):
            due = _Due(outcome.occurred_at, next(self._turns), answer["prediction_id"], outcome)
            heapq.heappush(self._due, due)

    async def _report(self, due: _Due) -> None:
        outcome = due.outcome
        try:
            await self._client.outcome(
                self._system, due.prediction_id, outcome.item, outcome.label, outcome.occurred_at
            )
        except FlywheelError as error:
            self.ledger.failures[str(error)] += 1
            due.not_before = time.monotonic() + RETRY
            heapq.heappush(self._due, due)
            return
        self.ledger.outcomes.add((due.prediction_id, outcome.item, outcome.label))
