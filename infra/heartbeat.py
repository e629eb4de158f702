"""Whether the monitor of a system lives: a verdict is its heartbeat. What a dead one said last is no news of today."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from contracts.records import Verdict

PERIOD = timedelta(minutes=15)  # from one judgement of a system to its next, in the platform's time …
LEAST = timedelta(minutes=2)  # … and, on a clock that runs fast, of real time between those of any two systems
BEATS = 3  # periods without a verdict, after which nothing is known; one or two may fall to a restart or a slow run


@dataclass(frozen=True)
class Heartbeat:
    """`unknown` stands before whatever the last verdict said: it is never shown as good."""

    state: Literal["fresh", "unknown"]
    words: str
    last: datetime | None = None


def monitor_period(pace: float, systems: int) -> timedelta:
    """How often each of so many systems is judged, in the platform's time, on a clock that runs `pace` times as fast
    as the machine's: what the monitor's schedule comes to."""
    return max(PERIOD, LEAST * systems * pace) if pace > 1 else PERIOD


def heartbeat(verdicts: Sequence[Verdict], period: timedelta, now: datetime) -> Heartbeat:
    """How old the newest of a system's verdicts is, in the monitor's periods. Times are the platform's, in any order.

    The period is that of `monitor_period`.
    """
    last = max((each.at for each in verdicts), default=None)
    if last is None:
        return Heartbeat("unknown", "unknown: the monitor has judged nothing yet")
    if last - now > period:
        return Heartbeat("unknown", f"unknown: the last verdict is {_span(last - now)} ahead of the clock", last)
    age = max(now - last, timedelta(0))
    if age > BEATS * period:
        words = f"unknown: no verdict for {_span(age)}, and one is due every {_span(period)}; see the monitor's runs"
        return Heartbeat("unknown", words, last)
    return Heartbeat("fresh", f"fresh: judged {_span(age)} ago, every {_span(period)}", last)


def _span(span: timedelta) -> str:
    """A span in words, in its two largest units."""
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")) if number
    ]
    return " ".join(parts[:2]) or "0 s"
