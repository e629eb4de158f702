"""The platform's time. All processes of one stack share a clock, so that a demo can let a day pass in minutes."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts.ports import Clock

CLOCK_FILE = "clock.json"
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


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

    @property
    def caught_up(self) -> datetime:
        """When it showed, or will show, the machine's own time."""
        if self.speed <= 1:
            return self.started if self.origin >= self.started else END_OF_TIME
        return self.started + max(self.started - self.origin, timedelta(0)) / (self.speed - 1)

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


class SharedClock:
    """The clock in a file, for all processes of a stack: each looks at the file again after `LOOK` seconds.

    A leap is written down before it takes effect, later than the slowest of them looks: all leap at one moment, and
    none is ever asked about a time that it takes for the future.
    """

    LOOK = 0.1  # seconds
    NOTICE = timedelta(seconds=0.5)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stretches = _read(path)
        self._looked = time.monotonic()

    def now(self) -> datetime:
        return self.current.now()

    @property
    def pace(self) -> float:
        """Seconds that pass in one of the machine's."""
        return self.current.pace

    @property
    def current(self) -> CatchUpClock:
        """How time passes now: the latest stretch that has begun."""
        if time.monotonic() - self._looked > self.LOOK:
            self._stretches, self._looked = _read(self._path), time.monotonic()
        real = datetime.now(UTC)
        return next((one for one in reversed(self._stretches) if one.started <= real), self._stretches[0])

    def leap(self, span: timedelta) -> None:
        """Let `span` pass at once, on every process's clock, as far as the machine's own time allows it; returns when
        it has passed."""
        current, at = self.current, datetime.now(UTC) + self.NOTICE
        origin = current.origin + (at - current.started) * current.speed + span
        _write(self._path, [current, CatchUpClock(origin, at, current.speed)])
        while (left := (at - datetime.now(UTC)).total_seconds()) > 0:
            time.sleep(left)


def pace(clock: Clock) -> float:
    """Seconds of a clock's time that pass in one of the machine's, now."""
    return clock.pace if isinstance(clock, CatchUpClock | SharedClock) else 1.0


def pace_since(clock: Clock, since: datetime) -> float:
    """The most seconds of a clock's time that passed in one of the machine's since it showed `since`."""
    current = clock.current if isinstance(clock, SharedClock) else clock
    if not isinstance(current, CatchUpClock) or since >= current.caught_up:
        return 1.0
    return current.speed


def write_clock(path: Path, origin: datetime, speed: float) -> SharedClock:
    """Start a clock for all who read `path`."""
    _write(path, [CatchUpClock(origin, datetime.now(UTC), speed)])
    return SharedClock(path)


def read_clock(path: Path) -> Clock:
    """The clock last started at `path`; the machine's own where none was."""
    try:
        return SharedClock(path)
    except FileNotFoundError:
        return SystemClock()


def _write(path: Path, stretches: Sequence[CatchUpClock]) -> None:
    written = [
        {"origin": one.origin.isoformat(), "started": one.started.isoformat(), "speed": one.speed} for one in stretches
    ]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(written))
    temporary.replace(path)


def _read(path: Path) -> list[CatchUpClock]:
    return [
        CatchUpClock(datetime.fromisoformat(one["origin"]), datetime.fromisoformat(one["started"]), float(one["speed"]))
        for one in json.loads(path.read_text())
    ]
