"""When requests are sent: as users get their answers (closed), or at a rate that waits for nobody (open).

In the open form each request has the moment it is due, drawn beforehand, and its latency counts from there. A closed
loop sends nothing while the server is slow, and so measures least when it should measure most: Gil Tene calls that
coordinated omission ("How NOT to Measure Latency", 2013).

Within each second the moments are uniform draws: to the server that is a Poisson stream, with the rate exactly kept.
"""

import math
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time, time
from typing import NamedTuple

import gevent
from gevent.event import AsyncResult, Event
from gevent.queue import SimpleQueue

from services.client.loadtest.measure import Tally
from services.client.loadtest.plan import Stage

SCHEDULED = Path("/proc/self/schedstat")  # Linux
PULSE = 0.01  # seconds between two looks at the generator's own lateness, in the closed form


class Turn(NamedTuple):
    """Leave to send one request: when it was due, and whether somebody was free to send it then."""

    due: float
    free: bool
    tally: Tally  # of the stage that it belongs to, which may be over when the answer comes


class Arrivals:
    """The stage under way in this process, from which its users take their turns."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.tally = Tally()
        self._turns: SimpleQueue[Turn] = SimpleQueue()
        self._idle = 0
        self._under_way = 0
        self._closed = Event()  # set while users of the closed form may send
        self._stop: AsyncResult[bool] = AsyncResult()
        self._start = self._cpu = self._queued = 0.0

    def take(self) -> Turn:
        """The next turn; waits for it, in the open form from its due time on."""
        if self._closed.is_set():
            self.tally.due += 1
            return self._begun(Turn(perf_counter(), False, self.tally))
        self._idle += 1
        try:
            turn = self._turns.get()
        finally:
            self._idle -= 1
        return self._begun(turn)

    def _begun(self, turn: Turn) -> Turn:
        self._under_way += 1
        if turn.free:
            turn.tally.lateness.add(perf_counter() - turn.due)
        return turn

    def finished(self, turn: Turn) -> None:
        """A turn taken is over, however it ended."""
        self._under_way -= 1
        if turn.tally is self.tally:
            turn.tally.ended = perf_counter() - self._start

    def run(self, stage: Stage, begin: float, worker: int, workers: int) -> Tally:
        """A whole stage, from `begin` (seconds since the epoch) until its last request is answered or given up."""
        self.tally, self._stop = Tally(), AsyncResult()
        gevent.sleep(max(0.0, begin - time()))
        self._start, self._cpu, self._queued = perf_counter(), process_time(), queued()
        with gevent.Timeout(stage.seconds + 3 * self.timeout, False):
            self._send(stage, worker, workers)
            while not self._stop.ready() and self.waiting:
                self._stop.wait(0.005)
        self._give_up()
        return self.snapshot()

    def stop(self) -> None:
        """End the stage now: its users are gone."""
        self.tally.stopped = True
        self._stop.set(True)

    @property
    def waiting(self) -> int:
        return self._under_way + int(self._turns.qsize())

    def snapshot(self) -> Tally:
        """The tally so far."""
        self.tally.waiting = self.waiting
        passed = max(1e-9, perf_counter() - self._start)
        self.tally.busy = (process_time() - self._cpu) / passed
        self.tally.starved = (queued() - self._queued) / passed
        return self.tally

    def _send(self, stage: Stage, worker: int, workers: int) -> None:
        if stage.rate is None:
            self._send_closed(stage, worker, workers)
            return
        for moment in moments(stage, worker, workers):
            due = self._start + moment
            while (ahead := due - perf_counter()) > 0:
                gevent.sleep(ahead)
            if self._stop.ready():
                return
            self.tally.due += 1
            self._turns.put(Turn(due, self._idle > self._turns.qsize(), self.tally))

    def _send_closed(self, stage: Stage, worker: int, workers: int) -> None:
        """Each user sends its next request when the last is answered. What wakes a user is its first turn."""
        end = self._start + stage.seconds
        self._closed.set()
        for _ in range(share(stage.users or 0, worker, workers)):
            self.tally.due += 1
            self._turns.put(Turn(perf_counter(), False, self.tally))
        try:
            while (due := perf_counter() + PULSE) < end and not self._stop.ready():
                gevent.sleep(PULSE)
                self.tally.lateness.add(perf_counter() - due)
        finally:
            self._closed.clear()

    def _give_up(self) -> None:
        """What neither was answered nor failed by now counts as failed; after Stop, as never due."""
        while not self._turns.empty():
            self._turns.get()
        known = self.tally.answered + self.tally.failed
        if self.tally.stopped:
            self.tally.due = known
        for _ in range(self.tally.due - known):
            self.tally.fail("no answer", "The stage had ended before an answer came.")


def moments(stage: Stage, worker: int, workers: int) -> Iterator[float]:
    """Seconds from the stage's start at which this worker's requests are due; the workers together keep the rate."""
    draw = random.Random(f"{stage.seed}/{worker}")
    rate, sent = (stage.rate or 0.0) / workers, 0
    for second in range(math.ceil(stage.seconds)):
        end = min(second + 1.0, stage.seconds)
        # Hermite's identity: the sum over workers of floor(x + worker / workers) is floor(workers · x).
        until = math.floor(rate * end + worker / workers)
        yield from sorted(draw.uniform(second, end) for _ in range(until - sent))
        sent = until


def queued() -> float:
    """Seconds that this process had work and no processor to do it on; 0.0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(SCHEDULED.read_text().split()[1]) / 1e9  # ran, waited, times
    return 0.0


def share(count: int, worker: int, workers: int) -> int:
    """How many of `count` users are this worker's."""
    return (count + worker) // workers
