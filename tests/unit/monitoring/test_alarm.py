"""What a verdict leads to: a decision with its reason, and an event whose loss loses nothing."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import systems
from contracts.errors import InvalidInput
from contracts.records import ModelVersion, Verdict
from infra import wiring
from infra.retrainings import Started
from infra.settings import Settings
from monitoring.alarm import announce, decided, reason
from monitoring.attempts import Attempts

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SYSTEM = systems.load("ad_click")
CHAMPION = ModelVersion("ad_click", "3", "0" * 64, "run", ("x",), NOW)
CALM = Verdict("ad_click", NOW, NOW, NOW, "3", 9_000, 0.3, 0.29, 0.3, False, 9_000, (), 0.0, False)
HARM = replace(CALM, loss=0.5, loss_low=0.45, harmed=True)


def test_harm_is_decided_on_by_the_newest_verdict_and_drift_by_those_that_are_kept_too(settings: Settings) -> None:
    assert decided(settings, SYSTEM, CHAMPION, CALM).why == "steady"
    assert decided(settings, SYSTEM, CHAMPION, HARM).why == "harm"
    drifted = replace(CALM, drifted=True, served_since=NOW - 3 * HOUR)
    assert decided(settings, SYSTEM, CHAMPION, drifted).why == "steady"
    wiring.verdicts(settings).append(replace(drifted, at=NOW - 3 * HOUR, served_since=NOW - 6 * HOUR))
    assert decided(settings, SYSTEM, CHAMPION, drifted).why == "drift"


def test_runs_that_are_kept_hold_a_retraining_up(settings: Settings) -> None:
    runs = wiring.retrainings(settings)
    runs.begin("ad_click", Started("one", NOW - HOUR, "harm", "harm-3-20260315T100000.000000"))
    assert decided(settings, SYSTEM, CHAMPION, HARM).why == "running"
    runs.end("ad_click", "one", NOW - HOUR / 2, "refused", "It is no better.")
    held = decided(settings, SYSTEM, CHAMPION, HARM)
    assert (held.why, held.until) == ("cooldown", NOW + 3.5 * HOUR)
    assert "cooldown until 2026-03-15 15:30 UTC, for the last run was refused" in held.words


def test_an_event_that_cannot_be_sent_is_said_and_no_more(settings: Settings) -> None:
    """Nothing listens on the port of these settings."""
    said: list[str] = []
    announce(settings, decided(settings, SYSTEM, CHAMPION, HARM), HARM, said.append)
    (line,) = said
    assert "cannot be reached" in line
    assert line.endswith("The flow runner's poll starts the retraining.")


def test_where_no_retraining_is_due_no_event_is_sent(settings: Settings) -> None:
    said: list[str] = []
    announce(settings, decided(settings, SYSTEM, CHAMPION, CALM), CALM, said.append)
    assert said == []


def test_the_reason_of_a_run_holds_the_figures_behind_its_alarm() -> None:
    assert "0.5000 on 9,000 matured rows" in reason("harm", HARM)
    slow = replace(CALM, concept_drifted=True, concept_evidence=12.0, concept_threshold=11.5, concept_labels=4_000)
    assert reason("harm", slow) == "Evidence 12.00 over 4,000 labelled predictions, an alarm from 11.50 on."
    assert "2026-03-15 12:00 UTC" in reason("harm", replace(slow, concept_since=NOW))
    assert reason("drift", replace(CALM, drift_words="device shifted.")) == "device shifted."


def test_a_part_that_refuses_is_said_and_one_that_breaks_fails_the_run_after_the_others() -> None:
    said: list[str] = []
    attempts = Attempts(said.append)
    assert attempts.at("Concept drift", lambda: 7, len) == 7

    def too_young() -> int:
        raise InvalidInput("Twelve windows are missing.")

    assert attempts.at("Data drift", too_young, len) == len("Twelve windows are missing.")
    attempts.close()
    assert math.isnan(attempts.at("The estimate", lambda: 1 / 0, lambda why: math.nan))
    assert attempts.at("Evidently's report", lambda: 7, len) == 7
    assert said == [
        "Data drift cannot be told: Twelve windows are missing.",
        "The estimate cannot be told: ZeroDivisionError: division by zero",
    ]
    with pytest.raises(ExceptionGroup) as caught:
        attempts.close()
    assert [type(each) for each in caught.value.exceptions] == [ZeroDivisionError]
