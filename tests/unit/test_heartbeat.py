"""A dead monitor reads unknown, whatever it said last."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from contracts.records import Verdict
from infra.heartbeat import heartbeat

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
