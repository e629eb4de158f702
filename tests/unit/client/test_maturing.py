"""Outcomes that take weeks: the demo lets the clock leap over them, and goes on when they are in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import systems
from contracts.errors import FlywheelError
from infra.clock import write_clock
from infra.memory_archive import MemoryArchive
from services.client.ledger import Ledger
from services.client.maturing import Maturing
from services.client.plan import plan_for
from services.client.story import Step
from tests.stores.log_records import SHOP, outcome, prediction

WEEKS = timedelta(days=28)


def test_short_delays_are_waited_for_and_long_ones_leapt_over() -> None:
    system = systems.load("ad_click")
    slow = replace(system, requirements=replace(system.requirements, label_delay=WEEKS))
    assert not plan_for(system).leaps
    assert plan_for(slow).leaps
    assert plan_for(slow).lead > 3 * WEEKS
    assert timedelta(days=plan_for(slow).days) > 3 * WEEKS


def test_when_the_alarm_is_due_there_are_rows_enough_to_train_on() -> None:
    system = systems.load("fraud_detection")
    assert plan_for(system).drifted_rows * system.training.holdout >= system.training.gate.min_rows


def maturing(tmp_path: Path, served: int, clients: Any) -> Maturing:
    clock = write_clock(tmp_path / "clock.json", datetime.now(UTC) - timedelta(days=90), 1.0)
    archive, at = MemoryArchive(), clock.now()
    archive.append([prediction(f"p{number}", at=at) for number in range(served)])
    slow = replace(SHOP, requirements=replace(SHOP.requirements, label_delay=WEEKS))
    plan = replace(plan_for(systems.load("ad_click")), label_delay=WEEKS, patience=1.0)
    return Maturing(slow, archive, clock, clients, plan)


def clients(reported: Ledger, overdue: bool = False) -> Any:
    return SimpleNamespace(ledger=reported, overdue=overdue, check=lambda: None)


def test_the_weeks_pass_once_enough_was_served(tmp_path: Path) -> None:
    waiting = maturing(tmp_path, 3, clients(Ledger()))
    before = waiting.clock.now()
    waiting.pass_delay(Step(""), before - timedelta(minutes=1), 3)
    assert waiting.clock.now() - before >= WEEKS


def test_an_outcome_that_did_not_get_into_the_archive_is_waited_for(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.report("p0", "i0", 1.0)
    waiting = maturing(tmp_path, 3, clients(ledger))
    with pytest.raises(FlywheelError, match="the outcomes of those weeks did not come about"):
        waiting.pass_delay(Step(""), waiting.clock.now() - timedelta(minutes=1), 3)
    waiting.archive.append([outcome("p0", item="i0")])
    assert waiting._reported()


def test_a_clock_does_not_leap_before_enough_was_served(tmp_path: Path) -> None:
    waiting = maturing(tmp_path, 3, clients(Ledger()))
    before = waiting.clock.now()
    with pytest.raises(FlywheelError, match="10,000 rows served did not come about"):
        waiting.pass_delay(Step(""), before - timedelta(minutes=1), 10_000)
    assert waiting.clock.now() - before < timedelta(days=1)
