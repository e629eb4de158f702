"""What monitoring found, as a page may say it: a monitor that is silent reads unknown, and never green."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts.findings import Bar, CalibrationBin, ColumnFinding, WindowDetails
from contracts.records import Verdict
from infra.heartbeat import PERIOD, monitor_period
from services.console import series, window
from services.console.history import quality
from services.console.standing import outcome_lag, standing

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALM = Verdict("ads", NOW, NOW, NOW, "1", 900, 0.25, 0.24, 0.26, False, 2000, (), 0.0, False)


def looked(*ago: timedelta) -> list[Verdict]:
    return [replace(CALM, at=NOW - each) for each in ago]


def test_without_a_verdict_nothing_is_known() -> None:
    found = standing([], PERIOD, NOW)
    assert (found.state, found.quality, found.drift) == ("unknown", "unknown", "unknown")


def test_a_verdict_is_good_for_three_periods_of_the_monitor() -> None:
    every = [PERIOD * count for count in (6, 5, 4, 3)]
    assert standing(looked(*every), PERIOD, NOW).state == "good"
    silent = standing(looked(*every), PERIOD, NOW + timedelta(seconds=1))
    assert (silent.state, silent.quality, silent.drift) == ("unknown", "unknown", "unknown")
    assert "45 min ago, too long" in silent.looked


def test_an_alarm_of_a_dead_monitor_is_no_alarm_of_today() -> None:
    fell = replace(CALM, at=NOW - timedelta(days=2), harmed=True)
    assert standing([fell], PERIOD, NOW).state == "unknown"


def test_on_a_fast_clock_the_monitor_is_not_taken_for_dead() -> None:
    every = monitor_period(240.0, 3)
    slow = looked(*(every * count for count in (4, 3, 2, 1)))
    assert every == timedelta(days=1)
    assert standing(slow, every, NOW).state == "good"
    assert standing(slow, PERIOD, NOW).state == "unknown"


@pytest.mark.parametrize(
    ("harmed", "concept", "drifted", "state", "word"),
    [
        (False, False, False, "good", "quality held"),
        (True, False, False, "bad", "quality fell"),
        (True, True, None, "bad", "quality fell"),
        (False, True, False, "bad", "concept drift"),
        (None, True, True, "bad", "concept drift"),
        (False, None, True, "warn", "data drifted"),
        (None, False, True, "warn", "data drifted"),
        (None, False, False, "unknown", "inconclusive"),
        (False, False, None, "unknown", "inconclusive"),
        (None, None, None, "unknown", "inconclusive"),
    ],
)
def test_harm_is_told_before_drift_and_inconclusive_is_never_good(
    harmed: bool | None, concept: bool | None, drifted: bool | None, state: str, word: str
) -> None:
    verdict = replace(CALM, harmed=harmed, concept_drifted=concept, drifted=drifted)
    found = standing([verdict], PERIOD, NOW)
    assert (found.state, found.word) == (state, word)


def test_an_alarm_of_a_version_that_was_replaced_is_none_of_the_one_that_serves() -> None:
    fell = replace(CALM, harmed=True)
    assert standing([fell], PERIOD, NOW, "1").word == "quality fell"
    found = standing([fell], PERIOD, NOW, "2")
    assert (found.state, found.word, found.replaced) == ("unknown", "not judged yet", True)
    assert found.quality == found.concept == found.drift == "version 2 is not judged yet"
    assert standing([fell], PERIOD, NOW + timedelta(days=2), "2").word == "unknown", (
        "the monitor is silent first of all"
    )


def test_outcomes_are_known_up_to_a_label_delay_before_the_window_ends() -> None:
    hour = timedelta(hours=1)
    verdict = replace(CALM, since=NOW - 4 * hour, served_since=NOW - 3 * hour)
    assert outcome_lag(verdict, NOW + hour) == 2 * hour
    assert outcome_lag(CALM, NOW) is None, "a verdict of old does not say"
    assert series.labelled_until(verdict) == NOW - hour
    assert series.labelled_until(CALM) == NOW


def test_quality_draws_alarms_and_takeovers_and_not_what_is_unknown() -> None:
    nothing = float("nan")
    verdicts = [
        replace(CALM, at=NOW, loss=nothing, loss_low=nothing, reference_loss=nothing),
        replace(CALM, at=NOW + PERIOD, harmed=True),
        replace(CALM, at=NOW + 2 * PERIOD, model_version="2"),
    ]
    drawn = quality(verdicts, (), 0.05)
    assert drawn["loss"] == [None, 0.25, 0.25]
    assert drawn["harm"] == [None, pytest.approx(0.31), pytest.approx(0.31)]
    assert [each["at"] for each in drawn["alarms"]] == [(NOW + PERIOD).isoformat()]
    assert drawn["marks"] == [{"at": (NOW + 2 * PERIOD).isoformat(), "kind": "serves", "said": "version 2 serves"}]
    assert quality(verdicts, (), None)["harm"] == [None, None, None], "not known is not drawn"


def test_shifts_stack_the_columns_that_drifted_most_often_and_then_those_farthest_off() -> None:
    verdicts = [
        replace(CALM, effects={"hour": 0.1, "device": -0.9, "bid": float("nan")}),
        replace(CALM, effects={"hour": 0.4, "device": 0.2}, drifted_columns=("hour",)),
    ]
    drawn = series.shifts(verdicts)
    assert drawn["columns"] == ["bid", "device", "hour"]
    assert drawn["effects"] == [[None, None], [-0.9, 0.2], [0.1, 0.4]]
    assert drawn["drifted"] == [[], [], [1]]
    assert series.shifts([])["columns"] == []


def test_the_estimate_is_drawn_over_the_rows_that_it_is_about() -> None:
    hour = timedelta(hours=1)
    verdict = replace(
        CALM,
        since=NOW - 4 * hour,
        served_since=NOW - 3 * hour,
        estimated_loss=0.24,
        estimated_low=0.22,
        estimated_high=0.26,
    )
    drawn = series.estimates([verdict])
    assert (drawn["at"], drawn["realised_at"]) == ([NOW.isoformat()], [(NOW - hour).isoformat()])
    assert "0.2400 estimated (0.2200 to 0.2600)" in drawn["words"]
    assert "0.2500 measured, reference 0.2600" in drawn["words"]
    without = series.estimates([CALM])
    assert (without["known"], without["estimated"]) == (False, [None])


def test_what_is_no_number_is_drawn_as_nothing_and_never_breaks_the_page() -> None:
    nothing = float("nan")
    column = ColumnFinding(
        "bid", "inconclusive", "location", None, nothing, nothing, nothing, (Bar("0", nothing, 0.5),)
    )
    found = WindowDetails("ads", NOW, "1", (column,), (CalibrationBin(0.1, nothing, nothing, nothing, 0),))
    endless = replace(CALM, concept_drifted=True, concept_evidence=float("inf"), concept_labels=9)
    shown = [window.columns(found), window.calibration(found), series.concept([endless]), series.shifts([endless])]
    assert json.loads(json.dumps(shown, allow_nan=False))[0][0]["bars"][0]["now"] is None
