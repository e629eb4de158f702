"""The platform's time. All processes of one stack share a clock, so that a demo can let a day pass in minutes."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class CatchUpClock:
    """Starts in the past and runs `speed` times as fast until it has caught up with the machine's own time.

    It never runs ahead of the machine, so that what it stamps never lies in the future.
    """

    origin: datetime  # what it showed …
    started: datetime  # … when the machine's clock showed this
    speed: float

    def now(self) -> datetime:
        real = datetime.now(UTC)
        return min(real, self.origin + (real - self.started) * self.speed)


def wall_seconds(span: timedelta, speed: float) -> float:
    """How long `span` of the platform's time takes on the wall."""
    return span.total_seconds() / speed


@dataclass
class ManualClock:
    """A clock for tests: it shows what it was last set to."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def advance(self, span: timedelta) -> datetime:
        self.at += span
        return self.at


def monotonic() -> float:
    """For deadlines and latencies, which never follow the platform's clock."""
    return time.monotonic()
