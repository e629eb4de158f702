"""`flywheel bootstrap` against real MLflow, Prefect and flows: from nothing, from half way, and when all is there."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import systems
from infra import wiring
from infra.settings import ROOT, Settings, machine_environ
from tests.conftest import poll, settings_in

ROWS = 80_000  # with 40,000 the trees beat the logistic regression just so (by three histories of three)
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
    assert done.stderr.startswith("System 'aardvark': systems/aardvark/")


def test_schedules_follow_the_platforms_clock(half_way: str, settings: Settings) -> None:
    assert timings(settings) == {"ingest": 600.0, "materialize": 600.0, "monitor": 120.0}
    wiring.start_clock(settings, wiring.clock(settings).now(), 2.0)
    half = {"ingest": 1800.0, "materialize": 1800.0, "monitor": 450.0}
    poll(lambda: timings(settings) == half, 20, "schedules of a clock that runs twice as fast")
    poll(lambda: len(scheduled(settings)) > 9, 20, "the runs of an hour and more")  # 8 of the monitor alone
    wiring.start_clock(settings, wiring.clock(settings).now(), 1e9)  # has caught up before this line ends
    crons = {"ingest": "5 * * * *", "materialize": "10 * * * *", "monitor": "*/15 * * * *"}
    poll(lambda: timings(settings) == crons, 20, "crons")
    poll(lambda: scheduled(settings), 20, "runs by the crons")
    assert not [run for run in scheduled(settings) if not BY_CRON.search(run)]


BY_CRON = re.compile(r"ingest .*:05:00Z$|materialize .*:10:00Z$|monitor .*:(00|15|30|45):00Z$")


def timings(settings: Settings) -> dict[str, Any]:
    """The one schedule of each deployment that has one: its interval in seconds, or its cron."""
    found = httpx.post(f"{settings.prefect}/api/deployments/filter", json={}, trust_env=False).json()
    schedules = {each["name"]: [one["schedule"] for one in each["schedules"]] for each in found if each["schedules"]}
    return {name: only.get("cron") or only["interval"] for name, (only,) in schedules.items()}


def scheduled(settings: Settings) -> list[str]:
    """The runs that schedules have made for later: deployment and time."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = httpx.post(f"{settings.prefect}/api/flow_runs/filter", json=wanted, trust_env=False).json()
    names = {
        each["id"]: each["name"]
        for each in httpx.post(f"{settings.prefect}/api/deployments/filter", json={}, trust_env=False).json()
    }
    return [f"{names[run['deployment_id']]} {run['next_scheduled_start_time']}" for run in runs]
