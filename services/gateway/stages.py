"""The ports as the request path calls them: within a share of the deadline, timed, left alone while they hang."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from contracts.errors import Unavailable
from contracts.ports import Clock, FeatureReader, Log, Scorer
from contracts.system import System
from services.gateway.limits import Breakers
from services.gateway.metrics import Metrics
from services.gateway.standby import Standby

T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """When a request must be answered: `length` seconds after `start` on the event loop's clock."""

    start: float
    length: float

    @classmethod
    def of(cls, system: System) -> "Deadline":
        """The system's deadline, from now on."""
        return cls.after(system.requirements.deadline.total_seconds())

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """So many seconds from now on."""
        return cls(asyncio.get_running_loop().time(), seconds)

    def at(self, share: float) -> float:
        return self.start + self.length * share


class Stage:
    """One call on the request path. It is done by `share` of the deadline, or the part is `Unavailable`."""

    def __init__(self, name: str, share: float, breakers: Breakers, metrics: Metrics) -> None:
        self.name, self.share, self.breakers, self.metrics = name, share, breakers, metrics

    async def call(self, work: Callable[[], Awaitable[T]], system: System, deadline: Deadline) -> T:
        """What `work` gives. At its share of the deadline it is cancelled, which the adapters are made for."""
        breaker = self.breakers.of(system.name)
        breaker.check()
        started = monotonic()
        try:
            async with asyncio.timeout_at(deadline.at(self.share)):
                result = await work()
        except TimeoutError as error:
            breaker.failed(monotonic() - started)
            raise Unavailable(f"{breaker.name} did not answer in time.") from error
        except Unavailable:
            breaker.failed(monotonic() - started)
            raise
        finally:
            self.metrics.seconds_of(system.name, self.name).observe(monotonic() - started)
        breaker.succeeded()
        return result


class Platform:
    """What stands behind the gateway, with the stages by which it is called, in the order of their shares."""

    def __init__(self, reader: FeatureReader, scorer: Scorer, log: Log, clock: Clock) -> None:
        self.reader, self.scorer, self.log, self.clock = reader, scorer, log, clock
        self.metrics = Metrics()
        self.standby = Standby(scorer, clock)
        logs, features, serving = Breakers("The log"), Breakers("The feature store"), Breakers("Serving", each=True)
        self.recalling = Stage("recall", 0.2, logs, self.metrics)
        self.retrieving = Stage("retrieve", 0.35, serving, self.metrics)
        self.reading = Stage("features", 0.5, features, self.metrics)
        self.scoring = Stage("score", 0.7, serving, self.metrics)
        self.logging = Stage("log", 0.9, logs, self.metrics)
        self.observing = Stage("observe", 0.95, features, self.metrics)
