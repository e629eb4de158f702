"""Schedules follow the platform's clock: crons in real time, intervals while it runs fast."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule

from pipelines.deployments import DEPLOYMENTS
from pipelines.schedules import Rhythm, of_no_use, schedules

NOW = datetime(2026, 3, 15, 12, 0, 30, tzinfo=UTC)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
RHYTHM = Rhythm(0, 15 * MINUTE, least=MINUTE)
RHYTHMS = [each.rhythm for each in DEPLOYMENTS if each.rhythm]


def dates(timing: dict[str, Any], count: int) -> list[datetime]:
    """When a schedule fires after NOW, as Prefect's server works it out."""
    kind = CronSchedule if "cron" in timing else IntervalSchedule
    found = asyncio.run(kind.model_validate(timing).get_dates(count, NOW + SECOND))
    return [datetime.fromtimestamp(each.timestamp(), UTC) for each in found]


def first(rhythm: Rhythm, pace: float) -> datetime:
    (only,) = schedules(rhythm, pace, ["one"], NOW)
    return dates(only["schedule"], 1)[0]


@pytest.mark.parametrize("turn", [0, 1, 7, 20])
@pytest.mark.parametrize("rhythm", RHYTHMS, ids=lambda rhythm: rhythm.cron(0))
def test_a_cron_fires_as_often_as_its_rhythm_says(rhythm: Rhythm, turn: int) -> None:
    fired = dates({"cron": rhythm.cron(turn), "timezone": "UTC"}, 10)
    assert {after - before for before, after in pairwise(fired)} == {rhythm.period}


@pytest.mark.parametrize("pace", [1.0, 1e-9])
def test_on_a_clock_that_does_not_run_fast_the_cron_holds_for_every_system_in_turn(pace: float) -> None:
    made = schedules(RHYTHM, pace, ["one", "two"], NOW)
    crons = ["0,15,30,45 * * * *", "1,16,31,46 * * * *"]
    assert [each["schedule"] for each in made] == [{"cron": cron, "timezone": "UTC"} for cron in crons]
    assert [each["parameters"] for each in made] == [{"system": "one"}, {"system": "two"}]


@pytest.mark.parametrize("turn", range(5))
def test_a_systems_features_come_after_its_events_whatever_its_turn(turn: int) -> None:
    by_name = {each.name: each.rhythm for each in DEPLOYMENTS if each.rhythm}
    ingest, materialize = (
        dates({"cron": by_name[name].cron(turn), "timezone": "UTC"}, 1)[0] for name in ("ingest", "materialize")
    )
    assert materialize - ingest == 5 * MINUTE


def test_on_a_fast_clock_a_run_comes_as_often_as_the_cron_says_in_the_platforms_time() -> None:
    (made,) = schedules(RHYTHM, 5.0, ["one"], NOW)
    assert dates(made["schedule"], 2) == [NOW + 3 * MINUTE, NOW + 6 * MINUTE]


def test_but_no_oftener_than_the_machine_can_bear() -> None:
    (made,) = schedules(RHYTHM, 240.0, ["one"], NOW)
    assert made["schedule"]["interval"] == 60.0


def test_many_systems_take_turns() -> None:
    made = schedules(RHYTHM, 240.0, ["one", "two", "three"], NOW)
    fired = sorted(each for one in made for each in dates(one["schedule"], 4))
    assert {after - before for before, after in pairwise(fired)} == {MINUTE}


@pytest.mark.parametrize("pace", [2.0, 60.0, 240.0])
def test_what_others_use_comes_before_them_and_nothing_comes_at_once(pace: float) -> None:
    by_name = {each.name: first(each.rhythm, pace) for each in DEPLOYMENTS if each.rhythm}
    assert by_name["ingest"] < by_name["materialize"]
    assert by_name["ingest"] - NOW > 3 * MINUTE
    assert min(by_name.values()) >= NOW + MINUTE


def run(name: str, minutes: float, system: str = "one", scheduled: bool = True) -> dict[str, Any]:
    at = (NOW - minutes * MINUTE).isoformat()
    times = {"next_scheduled_start_time": at, "expected_start_time": at}
    return {"id": name, "auto_scheduled": scheduled, "deployment_id": "d", "parameters": {"system": system}, **times}


def test_of_runs_that_piled_up_the_latest_is_enough() -> None:
    due = [run("old", 3), run("older", 4), run("latest", 1), run("other", 4, "two"), run("asked", 9, scheduled=False)]
    assert set(of_no_use(due, NOW)) == {"old", "older"}


def test_a_scheduled_run_that_is_long_overdue_is_left_out_and_one_that_was_asked_for_is_not() -> None:
    due = [run("night", 61), run("asked", 600, "two", scheduled=False)]
    assert set(of_no_use(due, NOW)) == {"night"}
