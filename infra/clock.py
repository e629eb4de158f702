"""The platform's time. All processes of one stack share a clock, so that a demo can let a day pass in minutes."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts.ports import Clock

CLOCK_FILE = "clock.json"


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
        return min(real, self._ahead(real))

    @property
    def pace(self) -> float:
        """Seconds that pass in one of the machine's: `speed`, and 1 once it has caught up."""
        real = datetime.now(UTC)
        return self.speed if self._ahead(real) < real else 1.0

    def _ahead(self, real: datetime) -> datetime:
        """What it would show if it ran on for ever."""
        return self.origin + (real - self.started) * self.speed


@dataclass
class ManualClock:
    """A clock for tests: it shows what it was last set to."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def advance(self, span: timedelta) -> datetime:
        self.at += span
        return self.at


def pace(clock: Clock) -> float:
    """Seconds of a clock's time that pass in one of the machine's, now."""
    return clock.pace if isinstance(clock, CatchUpClock) else 1.0


def write_clock(path: Path, origin: datetime, speed: float) -> Clock:
    """Start a clock for all who read `path`."""
    started = datetime.now(UTC)
    written = {"origin": origin.isoformat(), "started": started.isoformat(), "speed": speed}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(written))
    temporary.replace(path)
    return CatchUpClock(origin, started, speed)


def read_clock(path: Path) -> Clock:
    """The clock last started at `path`; the machine's own where none was."""
    try:
        written = json.loads(path.read_text())
    except FileNotFoundError:
        return SystemClock()
    origin, started = (datetime.fromisoformat(written[name]) for name in ("origin", "started"))
    return CatchUpClock(origin, started, float(written["speed"]))
