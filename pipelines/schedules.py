"""How often the pipelines run by themselves: by their crons in the platform's time, which may pass faster than ours.

Prefect's schedules are in real time. While the platform's clock runs fast (see infra/clock.py) a cron would leave out
most of the platform's hours; what stands in for it then is an interval, as long as the cron's period takes on that
clock, and never so short that the machine does nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

ZERO = timedelta(0)
MISSED = timedelta(hours=1)  # a scheduled run that is later than this is left out: another is due soon
Schedule = Mapping[str, Any]  # as Prefect's API takes it


@dataclass(frozen=True)
class Rhythm:
    """How often a pipeline is to run for each system, in the platform's time."""

    minute: int  # of the hour, UTC, at which the first system's turn comes on a clock that shows the machine's time
    period: timedelta  # from one run of a system to its next; whole minutes, of which an hour is a multiple
    least: timedelta  # of real time between two runs of this pipeline, of whatever system, on a fast clock
    ahead: timedelta = ZERO  # of real time before the others, which use what this one leaves

    def cron(self, turn: int) -> str:
        """For the system whose turn is that many minutes after the first one's."""
        step = self.period // timedelta(minutes=1)
        return ",".join(map(str, range((self.minute + turn) % step, 60, step))) + " * * * *"


def schedules(rhythm: Rhythm, pace: float, names: Sequence[str], now: datetime) -> list[Schedule]:
    """One a system, known by its name, on a clock that runs `pace` times as fast as the machine's, which shows `now`.

    The systems take turns: what answers requests meanwhile would feel several runs that start at one moment. On a fast
    clock the first turn comes only after a while.
    """
    timings = _intervals(rhythm, pace, len(names), now) if pace > 1 else _crons(rhythm, len(names))
    return [
        {"slug": name, "active": True, "parameters": {"system": name}, "schedule": timing}
        for name, timing in zip(names, timings, strict=True)
    ]


def of_no_use(due: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, str]:
    """Ids of due runs, as Prefect gives them, that a schedule made and that are no use any more, and why."""
    found: dict[str, str] = {}
    later: set[tuple[str, str]] = set()
    for run in sorted((each for each in due if each["auto_scheduled"]), key=_due_at, reverse=True):
        whose = run["deployment_id"], str(run["parameters"].get("system"))
        if whose in later:
            found[run["id"]] = "A later run of the same schedule is due as well."
        elif now - _due_at(run) > MISSED:
            found[run["id"]] = "Its time passed while the stack was down."
        later.add(whose)
    return found


def _due_at(run: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(run["next_scheduled_start_time"] or run["expected_start_time"])


def _crons(rhythm: Rhythm, systems: int) -> Iterator[Schedule]:
    for turn in range(systems):
        yield {"cron": rhythm.cron(turn), "timezone": "UTC"}


def _intervals(rhythm: Rhythm, pace: float, systems: int, now: datetime) -> Iterator[Schedule]:
    between = max(rhythm.period / pace, rhythm.least * systems)
    for turn in range(1, systems + 1):
        first = now - rhythm.ahead + between * turn / systems
        yield {"interval": between.total_seconds(), "anchor_date": first.isoformat(), "timezone": "UTC"}
