"""A dead monitor reads unknown, whatever it said last."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from contracts.records import Verdict
from infra.heartbeat import heartbeat, monitor_period
from pipelines.deployments import MONITOR
from pipelines.schedules import schedules

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PERIOD = 15 * MINUTE


def judged(ago: timedelta) -> Verdict:
    at, nan = NOW - ago, math.nan
    return Verdict("shop", at, at, at, "1", 9_000, nan, nan, nan, False, 9_000, (), nan, False)


@pytest.mark.parametrize(
    ("ago", "state", "words"),
    [
        (4 * MINUTE, "fresh", "fresh: judged 4 min ago, every 15 min"),
        (45 * MINUTE, "fresh", "fresh: judged 45 min ago, every 15 min"),
        (46 * MINUTE, "unknown", "unknown: no verdict for 46 min, and one is due every 15 min; see the monitor's runs"),
        (
            timedelta(days=2, hours=3, seconds=9),
            "unknown",
            "unknown: no verdict for 2 d 3 h, and one is due every 15 min",
        ),
        (-20 * MINUTE, "unknown", "unknown: the last verdict is 20 min ahead of the clock"),
        (-timedelta(seconds=1), "fresh", "fresh: judged 0 s ago, every 15 min"),
    ],
)
def test_the_heartbeat_is_the_age_of_the_last_verdict(ago: timedelta, state: str, words: str) -> None:
    found = heartbeat([judged(ago), judged(timedelta(days=9))], PERIOD, NOW)
    assert found.state == state
    assert found.words.startswith(words)
    assert found.last == NOW - ago


def test_a_monitor_that_has_judged_nothing_is_unknown() -> None:
    assert heartbeat([], PERIOD, NOW).state == "unknown"


@pytest.mark.parametrize(
    ("pace", "systems", "period"),
    [
        (1.0, 3, 15 * MINUTE),
        (1.0, 20, 15 * MINUTE),
        (1e-9, 3, 15 * MINUTE),
        (2.0, 3, 15 * MINUTE),
        (200.0, 3, timedelta(hours=20)),
    ],
)
def test_a_beat_is_due_as_often_as_the_monitor_is_scheduled(pace: float, systems: int, period: timedelta) -> None:
    assert monitor_period(pace, systems) == period
    (first, *_) = schedules(MONITOR, pace, [str(number) for number in range(systems)], NOW)
    timing = first["schedule"]
    if "interval" in timing:
        assert timing["interval"] * pace == pytest.approx(period.total_seconds())
    else:
        assert len(timing["cron"].split()[0].split(",")) * period == timedelta(hours=1)


def test_on_a_fast_clock_a_dead_monitor_reads_unknown_though_its_last_verdict_was_good() -> None:
    period = monitor_period(200.0, 3)
    assert heartbeat([judged(3 * period)], period, NOW).state == "fresh"
    found = heartbeat([judged(3 * period + MINUTE)], period, NOW)
    assert (found.state, found.words.partition(":")[0]) == ("unknown", "unknown")
