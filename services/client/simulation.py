"""Simulated clients: requests at a steady rate over HTTP, and their outcomes when the world's time has come for them;
where the world has a catalogue, what it publishes meanwhile.

Arrivals are open-loop (a slow answer does not slow the next request down). A prediction that is refused for the moment
is asked for again, a few times. Every outcome is sent until it is acknowledged or refused, as a real client's queue
would; while the gateway is away one at a time asks for it.
"""

import asyncio
import heapq
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any, Self

from contracts.errors import Conflict, FlywheelError, InvalidInput, NotFound, SetupError, Unavailable
from contracts.ports import Clock
from contracts.world import SimulatedOutcome, World
from services.client.gateway import GatewayClient
from services.client.ledger import Ledger
from services.client.publishing import Publisher

TICK = 0.05  # seconds between two looks at what is due
RETRY = 1.0  # seconds until what was not acknowledged is sent again
ATTEMPTS = 3  # at a prediction; after them its user has gone
MOST_IN_FLIGHT = 256
MOST_REPORTS = 32  # outcomes in flight, of these: many come due at once, and predictions queue behind them
MOST_WAITING = 300_000  # outcomes whose time has not come or that nobody takes: 100 MB
REFUSED = (InvalidInput, NotFound, Conflict)  # the gateway has judged what was sent, and would again


@dataclass(order=True, slots=True)
class _Due:
    when: datetime
    turn: int
    prediction_id: str = field(compare=False)
    outcome: SimulatedOutcome = field(compare=False)
    failures: int = field(default=0, compare=False)  # attempts that were not acknowledged


class Simulation:
    """Clients of one system, run in a thread of their own between `start` and `stop`."""

    def __init__(
        self,
        client: GatewayClient,
        system: str,
        world: World,
        clock: Clock,
        rate: float,
        ledger: Ledger | None = None,
    ) -> None:
        self.world = world  # replace it to change the world under the platform's feet
        self.rate = rate  # requests a second
        self.ledger = ledger or Ledger()
        self._client, self._system, self._clock = client, system, clock
        self._publisher = Publisher(client, system, self.ledger)
        self._due: list[_Due] = []
        self._turns, self._streams = count(), count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reporting = 0  # outcomes in flight
        self._most_reports, self._quiet_until = MOST_REPORTS, 0.0  # monotonic
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

    @property
    def published(self) -> int:
        """Items of the world's catalogue that the gateway took."""
        return self._publisher.published

    @property
    def overdue(self) -> bool:
        """Whether outcomes whose time has come are not acknowledged yet."""
        due = self._due[:1]
        return self._reporting > 0 or any(one.when <= self._clock.now() for one in due)

    def check(self) -> None:
        """Raise what ended the clients, if anything did."""
        if self._fault is not None:
            what = str(self._fault).rstrip(".") or type(self._fault).__name__
            raise FlywheelError(f"The simulated clients of {self._system} stopped: {what}.") from self._fault

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
                self._publish()
                self._send_requests(due)
                self._send_outcomes()
                await asyncio.sleep(TICK)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _publish(self) -> None:
        if self._publisher.due(self.world):
            self._spawn(self._publisher.publish(self.world, self._clock.now()))

    def _send_requests(self, due: int) -> None:
        number = min(due, max(MOST_IN_FLIGHT - len(self._tasks), 0))
        self.ledger.unsent += due - number
        if number == 0:
            return
        at = self._clock.now()
        for request in self.world.requests(number, at, next(self._streams)):
            self._spawn(self._predict(request))

    def _send_outcomes(self) -> None:
        if time.monotonic() < self._quiet_until:
            return
        now = self._clock.now()
        while self._due and self._due[0].when <= now and self._reporting < self._most_reports:
            self._reporting += 1
            self._spawn(self._report(heapq.heappop(self._due)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What a request cannot get over (a refused key, a fault of the world's) ends the clients."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = self._fault or error
            self._stopping.set()

    async def _predict(self, request: dict[str, Any]) -> None:
        before = time.monotonic()
        answer, failures = await self._asked(request)
        if answer is None:
            return
        seconds = time.monotonic() - before  # as the user waited, over all attempts
        self.ledger.answer(answer["prediction_id"], answer["model_version"], answer["degraded"], seconds, failures)
        for outcome in self.world.outcomes(request, answer["result"], self._clock.now(), next(self._streams)):
            self._keep(_Due(outcome.occurred_at, next(self._turns), answer["prediction_id"], outcome))

    async def _asked(self, request: dict[str, Any]) -> tuple[dict[str, Any] | None, int]:
        """The answer, if there was one, and how many attempts there were before it. An attempt without an answer may be
        in the log: nobody saw it, and it gets no outcome."""
        for failures in range(ATTEMPTS):
            if failures:
                await asyncio.sleep(RETRY)
            try:
                return await self._client.predict(self._system, request), failures
            except SetupError:
                raise
            except FlywheelError as error:
                self.ledger.fail(str(error))
                if not isinstance(error, Unavailable) or self._stopping.is_set():
                    break
        return None, 0

    def _keep(self, due: _Due) -> None:
        if len(self._due) < MOST_WAITING:
            heapq.heappush(self._due, due)
        else:
            self.ledger.fail(f"{MOST_WAITING:,} outcomes wait already; this one was given up.")

    async def _report(self, due: _Due) -> None:
        outcome = due.outcome
        try:
            await self._client.outcome(self._system, due.prediction_id, outcome)
        except SetupError:
            raise
        except FlywheelError as error:
            self.ledger.fail(str(error))
            if not isinstance(error, REFUSED):
                self._keep(replace(due, failures=due.failures + 1))
                self._most_reports, self._quiet_until = 1, time.monotonic() + RETRY
            return
        finally:
            self._reporting -= 1
        self._most_reports = MOST_REPORTS
        self.ledger.report(due.prediction_id, outcome.item, outcome.label, due.failures)
