"""What monitoring found, as a page may say it: a monitor that is silent reads unknown, and never green."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts.records import Verdict
from services.console.history import history
from services.console.standing import PERIOD, period, standing

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALM = Verdict("ads", NOW, NOW, NOW, "1", 900, 0.25, 0.24, 0.26, False, 2000, (), 0.0, False)


def looked(*ago: timedelta) -> list[Verdict]:
    return [replace(CALM, at=NOW - each) for each in ago]


def test_without_a_verdict_nothing_is_known() -> None:
    found = standing([], NOW)
    assert (found.state, found.quality, found.drift) == ("unknown", "unknown", "unknown")


def test_a_verdict_is_good_for_three_periods_of_the_monitor() -> None:
    every = [PERIOD * count for count in (6, 5, 4, 3)]
    assert standing(looked(*every), NOW).state == "good"
    silent = standing(looked(*every), NOW + timedelta(seconds=1))
    assert (silent.state, silent.quality, silent.drift) == ("unknown", "unknown", "unknown")
    assert "45 min ago, too long" in silent.looked


def test_an_alarm_of_a_dead_monitor_is_no_alarm_of_today() -> None:
    fell = replace(CALM, at=NOW - timedelta(days=2), harmed=True)
    assert standing([fell], NOW).state == "unknown"


def test_where_windows_are_left_out_on_a_fast_clock_the_monitor_is_not_taken_for_dead() -> None:
    slow = looked(*(timedelta(hours=6) * count for count in (4, 3, 2, 1)))
    assert period(slow) == timedelta(hours=6)
    assert standing(slow, NOW).state == "good"
    assert period(looked(timedelta(seconds=30), timedelta(seconds=15))) == PERIOD, "asked for by hand, again and again"


@pytest.mark.parametrize(
    ("harmed", "drifted", "state", "quality", "drift"),
    [
        (False, False, "good", "held", "steady"),
        (True, False, "bad", "fell", "steady"),
        (True, None, "bad", "fell", "inconclusive"),
        (False, True, "warn", "held", "drifted"),
        (None, True, "warn", "inconclusive", "drifted"),
        (None, False, "unknown", "inconclusive", "steady"),
        (False, None, "unknown", "held", "inconclusive"),
        (None, None, "unknown", "inconclusive", "inconclusive"),
    ],
)
def test_harm_is_told_before_drift_and_inconclusive_is_never_good(
    harmed: bool | None, drifted: bool | None, state: str, quality: str, drift: str
) -> None:
    found = standing([replace(CALM, harmed=harmed, drifted=drifted)], NOW)
    assert (found.state, found.quality, found.drift) == (state, quality, drift)


def test_history_draws_alarms_takeovers_and_the_columns_that_drift_most() -> None:
    nothing = float("nan")
    verdicts = [
        replace(CALM, at=NOW, loss=nothing, loss_low=nothing, reference_loss=nothing),
        replace(CALM, at=NOW + PERIOD, harmed=True, drifted_columns=("hour", "device")),
        replace(CALM, at=NOW + 2 * PERIOD, model_version="2", drifted_columns=("hour",)),
    ]
    drawn = history(verdicts, (), 0.05)
    assert drawn["loss"] == [None, 0.25, 0.25]
    assert drawn["harm"] == [None, pytest.approx(0.31), pytest.approx(0.31)]
    assert [each["at"] for each in drawn["alarms"]] == [(NOW + PERIOD).isoformat()]
    assert drawn["marks"] == [{"at": (NOW + 2 * PERIOD).isoformat(), "kind": "serves", "said": "version 2 serves"}]
    assert (drawn["columns"], drawn["drifted"]) == (["device", "hour"], [[1], [1, 2]])
    assert history(verdicts, (), None)["harm"] == [None, None, None], "not known is not drawn"
