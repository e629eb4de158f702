"""`flywheel bootstrap` against real MLflow, Prefect and flows: from nothing, from half way, and when all is there."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import systems
from infra import wiring
from infra.settings import ROOT, Settings, machine_environ
from pipelines.deployments import DEPLOYMENTS, MINUTE
from tests.conftest import poll, settings_in

ROWS = 200_000  # as in the demos: with 80,000 video_recommendation beats its logistic regression in some weeks only
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A stack without what answers clients: the bootstrap has no use for it."""
    elsewhere = {"serving_url": NOWHERE, "gateway_url": NOWHERE, "evidently_url": NOWHERE}
    return settings_in(tmp_path_factory.mktemp("bootstrap")).model_copy(update=elsewhere)


@pytest.fixture(scope="module")
def apart(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The stack as the bootstrap sees it: two addresses, and a folder of its own."""
    folder = tmp_path_factory.mktemp("apart")
    return Settings(state_dir=folder, mlflow_url=settings.mlflow, prefect_url=settings.prefect)


@pytest.fixture(scope="module")
def half_way(settings: Settings, apart: Settings) -> Iterator[str]:
    """A bootstrap that began before its stack did, and was killed while features were made: what it said."""
    clock = wiring.clock(settings)
    wiring.start_clock(settings, clock.now() - timedelta(days=4), 240.0)
    said = apart.path("first.log")
    with said.open("w") as log, subprocess.Popen(command(), env=environ(apart), cwd=ROOT, stdout=log) as first:
        poll(lambda: "Waiting for the stack" in said.read_text(), 20, "the bootstrap's waiting")
        with wiring.stack(settings):
            poll(lambda: "materialize: " in said.read_text(), 120, "a bootstrap half way")
            first.kill()
            yield said.read_text()
    said.unlink()


def command(*words: str) -> list[str]:
    options = ["--rows", str(ROWS)] if not words else []
    return [str(Path(sys.executable).with_name("flywheel")), "bootstrap", *options, *words]


def environ(settings: Settings) -> dict[str, str]:
    return machine_environ() | settings.environ() | {"PYTHONUNBUFFERED": "1"}


def bootstrap(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env=environ(settings), cwd=ROOT, capture_output=True, text=True, check=False, timeout=500
    )


@pytest.mark.timeout(600)
def test_started_again_it_goes_on_where_it_was_ended(half_way: str, settings: Settings, apart: Settings) -> None:
    assert f"{ROWS:,} appended" in half_way
    again = bootstrap(apart)
    assert again.returncode == 0, f"{again.stdout}\n{again.stderr}"
    assert f"0 appended, {ROWS:,} there already" in again.stdout
    assert "ad_click version 1 is champion." in again.stdout
    now = wiring.clock(settings).now()
    assert len(wiring.events(settings).read(systems.load("ad_click"), now - timedelta(days=30), now)) == ROWS


def test_where_there_is_a_champion_nothing_is_done_and_at_once(half_way: str, apart: Settings) -> None:
    began = time.monotonic()
    done = bootstrap(apart)
    assert time.monotonic() - began < 5  # 1 s when the machine is idle; with a vendor or a system imported it is more
    assert (done.returncode, done.stderr) == (0, "")
    assert "ad_click has a champion, version" in done.stdout
    assert not [path for path in apart.state_dir.iterdir() if path.name != "first.log"]


def test_a_broken_system_is_named_and_stops_no_other(half_way: str, apart: Settings, tmp_path: Path) -> None:
    tmp_path.joinpath("aardvark").mkdir()
    tmp_path.joinpath("aardvark", "task.py").touch()
    code = f"import systems; systems.__path__.append({str(tmp_path)!r}); from infra import cli; cli.main(['bootstrap'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ(apart), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ad_click has a champion" in done.stdout
    assert done.stderr.startswith(f"System 'aardvark': {tmp_path}/aardvark/")


def test_schedules_follow_the_platforms_clock(half_way: str, settings: Settings) -> None:
    count = len(systems.names())
    seldom = 600.0 * count
    fast = dict.fromkeys(("ingest", "materialize", "metrics", "parity"), seldom) | {"monitor": 120.0 * count}
    assert timings(settings) == {name: {seconds} for name, seconds in fast.items()}
    wiring.start_clock(settings, wiring.clock(settings).now(), 2.0)
    half = {name: {max(seconds, fast[name])} for name, seconds in (("ingest", 1800.0), ("monitor", 450.0))}
    poll(lambda: half.items() <= timings(settings).items(), 20, "schedules of a clock that runs twice as fast")
    poll(lambda: len(scheduled(settings)) > 9, 20, "the runs of an hour and more")  # 8 of a system's monitor alone
    wiring.start_clock(settings, wiring.clock(settings).now(), 1e9)  # has caught up before this line ends
    rhythms = {each.name: each.rhythm for each in DEPLOYMENTS if each.rhythm}
    crons = {name: {rhythm.cron(turn) for turn in range(count)} for name, rhythm in rhythms.items()}
    poll(lambda: timings(settings) == crons, 20, "crons")

    def of_a_turn(name: str, at: datetime) -> bool:
        return at.second == 0 and (at.minute - rhythms[name].minute) % (rhythms[name].period / MINUTE) < count

    def by_crons() -> bool:  # Prefect's scheduler may be making the others' runs as their schedules are replaced
        runs = scheduled(settings)
        return bool(runs) and all(of_a_turn(name, at) for name, at in runs)

    poll(by_crons, 30, "runs by the crons, and no others")


def timings(settings: Settings) -> dict[str, set[Any]]:
    """The schedules of each deployment that has any, one a system: intervals in seconds, or crons."""
    found = httpx.post(f"{settings.prefect}/api/deployments/filter", json={}, trust_env=False).json()
    schedules = {each["name"]: [one["schedule"] for one in each["schedules"]] for each in found if each["schedules"]}
    assert {len(all_of_it) for all_of_it in schedules.values()} == {len(systems.names())}
    return {name: {one.get("cron") or one["interval"] for one in each} for name, each in schedules.items()}


def scheduled(settings: Settings) -> list[tuple[str, datetime]]:
    """The runs that schedules have made for later: deployment and time."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = httpx.post(f"{settings.prefect}/api/flow_runs/filter", json=wanted, trust_env=False).json()
    names = {
        each["id"]: each["name"]
        for each in httpx.post(f"{settings.prefect}/api/deployments/filter", json={}, trust_env=False).json()
    }
    return [(names[run["deployment_id"]], datetime.fromisoformat(run["next_scheduled_start_time"])) for run in runs]
