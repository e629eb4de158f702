"""The flow runner's poll: an alarm that no run answered gets one, and a run that was killed holds up no other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import systems
from contracts.errors import Unavailable
from contracts.records import ModelVersion, Verdict
from infra.alarms import Alarm
from infra.clock import ManualClock
from infra.retrainings import Retrainings, Started
from infra.verdicts import VerdictFile
from pipelines.missed_alarms import MissedAlarms

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SYSTEM = "ad_click"
CHAMPION = ModelVersion(SYSTEM, "3", "0" * 64, "run", ("x",), NOW)


@dataclass
class Prefect:
    """Keeps runs by their key, as Prefect does; a champion beside it, for it is asked of the same minute."""

    by_key: dict[str, dict[str, Any]] = field(default_factory=dict)
    down: bool = False

    def run(self, deployment: str, parameters: Mapping[str, Any], key: str = "") -> str:
        if self.down:
            raise Unavailable("Prefect cannot be reached.")
        made = {"id": f"run-{len(self.by_key)}", "parameters": dict(parameters)}
        return str(self.by_key.setdefault(key, made)["id"])

    def resolve(self, system: str, alias: str) -> ModelVersion | None:
        return replace(CHAMPION, system=system)

    @property
    def runs(self) -> list[dict[str, Any]]:
        return list(self.by_key.values())


@dataclass
class World:
    """A poll of files in a folder, on a clock that the test moves."""

    folder: Path
    prefect: Prefect = field(default_factory=Prefect)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    @property
    def retrainings(self) -> Retrainings:
        return Retrainings(self.folder / "retrainings")

    @property
    def verdicts(self) -> VerdictFile:
        return VerdictFile(self.folder / "verdicts")

    def alarms(self) -> MissedAlarms:
        return MissedAlarms(self.verdicts, self.retrainings, self.prefect, self.prefect, lambda: self.clock)  # type: ignore[arg-type]  # a part of each port

    def look(self, unfinished: Sequence[Mapping[str, Any]] = ()) -> int:
        return self.alarms().look(SYSTEM, lambda: unfinished)

    def harmed(self, at: datetime = NOW) -> Alarm:
        nan = math.nan
        self.verdicts.append(Verdict(SYSTEM, at, at, at, "3", 9_000, nan, nan, nan, True, 9_000, (), nan, None))
        return Alarm("harm", at, "3", "")

    def begin(self, run_id: str, alarm: Alarm) -> None:
        self.retrainings.begin(SYSTEM, Started(run_id, self.clock.now(), "harm", alarm.key))

    def ends(self) -> list[str | None]:
        return [each.retraining.end for each in self.retrainings.read(SYSTEM)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_for_an_alarm_whose_event_was_lost_exactly_one_run_starts(world: World) -> None:
    alarm = world.harmed()
    world.clock.advance(MINUTE)
    assert (world.look(), world.prefect.runs) == (0, [])  # it may still be on its way
    world.clock.advance(2 * MINUTE)
    assert [world.look(), world.look()] == [1, 1]  # two at once: neither sees the other's run
    (run,) = world.prefect.runs
    assert run["parameters"]["alarm"] == alarm.key
    assert "1 alarm without a run since 2026-03-15 12:00 UTC" in run["parameters"]["reason"]
    world.clock.advance(MINUTE)
    assert world.look(world.prefect.runs) == 0  # it waits for a worker
    assert len(world.prefect.runs) == 1


def test_a_run_that_was_killed_is_closed_and_after_a_while_the_next_one_starts(world: World) -> None:
    alarm = world.harmed()
    world.clock.advance(MINUTE)
    world.begin("killed", alarm)
    world.clock.advance(5 * MINUTE)
    assert world.look() == 1
    assert (world.ends(), world.prefect.runs) == (["died"], [])
    world.clock.advance(9 * MINUTE)
    assert (world.look(), world.prefect.runs) == (1, [])
    world.clock.advance(MINUTE)
    world.look()
    (second,) = world.prefect.runs
    world.retrainings.close(SYSTEM, Started(second["id"], world.clock.now(), "", alarm.key), NOW + HOUR, "died", "9")
    world.clock.at = NOW + 2 * HOUR
    world.look()
    assert len(world.prefect.runs) == 2, "Prefect took the third for the second, which has ended"


def test_a_run_that_lives_is_let_be(world: World) -> None:
    alarm = world.harmed()
    world.clock.advance(MINUTE)
    with world.retrainings.alone(SYSTEM) as mine:
        assert mine
        world.begin("alive", alarm)
        world.clock.advance(HOUR)
        assert world.look() == 0
    assert (world.ends(), world.prefect.runs) == ([None], [])


def test_a_run_that_ended_before_it_could_say_that_it_began_is_known(world: World) -> None:
    alarm = world.harmed()
    world.clock.advance(5 * MINUTE)
    world.look()
    asked = {"system": SYSTEM, "reason": "harm", "alarm": alarm.key}
    world.alarms().ended({"id": "run-0", "parameters": asked}, "died", "Its process ended with status -9.")
    world.alarms().ended({"id": "run-0", "parameters": asked}, "failed", "A second word.")
    (kept,) = world.retrainings.read(SYSTEM)
    assert (kept.retraining.end, kept.retraining.automatic, kept.alarm) == ("died", True, alarm.key)
    assert kept.said == "Its process ended with status -9."
    world.clock.advance(10 * MINUTE)
    world.look()
    assert list(world.prefect.by_key) == [f"{SYSTEM}-{alarm.key}-0", f"{SYSTEM}-{alarm.key}-1"]


def test_a_run_that_a_person_cancelled_answers_its_alarm(world: World) -> None:
    alarm = world.harmed()
    world.clock.advance(5 * MINUTE)
    world.alarms().ended({"id": "x", "parameters": {"system": SYSTEM, "alarm": alarm.key}}, "cancelled", "On request.")
    world.clock.advance(HOUR)
    assert (world.look(), world.prefect.runs) == (0, [])


def test_of_a_system_that_is_none_nothing_is_written_down(world: World) -> None:
    world.alarms().ended({"id": "x", "parameters": {"system": "../elsewhere"}}, "died", "")
    assert not list(world.folder.rglob("*.jsonl"))


def test_while_nothing_asks_for_a_run_nobody_is_asked(world: World) -> None:
    def never() -> Sequence[Mapping[str, Any]]:
        raise AssertionError("Prefect was asked")

    assert world.alarms().look(SYSTEM, never) == 0
    world.harmed(NOW - 30 * HOUR)  # forgotten by now
    assert world.alarms().look(SYSTEM, never) == 0


def test_what_cannot_be_told_is_no_zero_and_systems_are_looked_at_once_a_minute(world: World) -> None:
    world.harmed()
    world.clock.advance(5 * MINUTE)
    world.prefect.down = True
    alarms = world.alarms()
    found = dict(alarms.poll(lambda: ()))
    assert set(found) == set(systems.names())
    assert math.isnan(found.pop(SYSTEM))
    assert set(found.values()) == {0}
    assert list(alarms.poll(lambda: ())) == []


def test_a_line_that_is_no_verdict_holds_up_no_other_system(world: World) -> None:
    world.harmed()
    with (world.folder / "verdicts" / f"{SYSTEM}.jsonl").open("a") as file:
        file.write('{"something": "else"}\n')
    found = dict(world.alarms().poll(lambda: ()))
    assert math.isnan(found.pop(SYSTEM))
    assert set(found.values()) == {0}
