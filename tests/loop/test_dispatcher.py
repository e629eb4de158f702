"""Real Prefect, real runner: a deployment is run by name and followed, and an event starts the retraining."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest

import systems
from contracts.errors import InvalidInput, NotFound, Unavailable
from contracts.records import RunState
from infra.dispatcher import PrefectDispatcher
from infra.settings import ROOT, Settings
from pipelines.deployments import AUTOMATION, RETRAIN_DUE, present
from tests.conftest import poll, settings_in

ALARM = "harm-1-20260315T120000.000000"
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.3",
    "DO_NOT_TRACK": "1",
}


@dataclass
class Scheduler:
    """A Prefect server and a flow runner as processes of this test."""

    settings: Settings
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        home = {"PREFECT_HOME": str(self.folder / "prefect"), "PREFECT_API_URL": f"{self.settings.prefect}/api"}
        return {**os.environ, **self.settings.environ(), **home, **QUIET}

    def start_server(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", self.settings.host]
        command += ["--port", str(self.settings.prefect_port)]
        database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": self.settings.prefect_database}
        started = self._start(command, "prefect.log", database)
        poll(lambda: answers(f"{self.settings.prefect}/api/health"), 60, "Prefect's server")
        return started

    def start_runner(self) -> subprocess.Popen[bytes]:
        started = self._start([sys.executable, "-m", "pipelines.runner"], "runner.log")
        poll(self.runner_is_healthy, 60, "the flow runner")
        return started

    def runner_is_healthy(self) -> bool:
        return answers(f"http://{self.settings.host}:{self.settings.runner_port}/health")

    def _start(self, command: list[str], log: str, more: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(command, cwd=ROOT, env={**self.environ, **(more or {})}, stdout=file, stderr=file)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def scheduler_in(folder: Path, database: str) -> Scheduler:
    settings = settings_in(folder / "state").model_copy(update={"prefect_database_url": database})
    return Scheduler(settings, folder)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[str], str]) -> Iterator[Scheduler]:
    """On an embedded SQLite, or the PostgreSQL that pytest was told of."""
    made = scheduler_in(tmp_path_factory.mktemp("prefect"), new_database("asyncpg"))
    server = made.start_server()
    runner = made.start_runner()
    yield made
    end(runner)
    end(server)


@pytest.fixture
def dispatcher(scheduler: Scheduler) -> PrefectDispatcher:
    return PrefectDispatcher(scheduler.settings.prefect)


def test_a_deployment_is_run_by_name_and_followed_to_its_end(dispatcher: PrefectDispatcher) -> None:
    run_id = dispatcher.run("train", {"system": "no_such_system"})
    lines = list(dispatcher.follow(run_id))
    found = dispatcher.state(run_id)
    assert (found.state, found.name) == ("failed", "train no_such_system")
    assert "No system named 'no_such_system'" in found.message
    assert any("No system named" in line for line in lines)
    assert len(lines) == len(set(lines))


def test_what_there_is_to_train_on_is_said_in_one_sentence(dispatcher: PrefectDispatcher) -> None:
    run_id = dispatcher.run("train", {"system": "ad_click", "data": "history"})
    lines = list(dispatcher.follow(run_id))
    assert any("gathering rows for ad_click" in line for line in lines)
    assert "ad_click has no events to train on" in dispatcher.state(run_id).message


def test_all_deployments_are_there_with_their_parameters(dispatcher: PrefectDispatcher) -> None:
    found = httpx.post(f"{dispatcher.url}/api/deployments/filter", json={}).json()
    assert {each["name"] for each in found} == {each.name for each in present()}
    (train,) = [each for each in found if each["name"] == "train"]
    assert set(train["parameter_openapi_schema"]["properties"]) == {"system", "data", "reason"}
    assert not train["schedules"]
    (ingest,) = [each for each in found if each["name"] == "ingest"]
    assert sorted(each["parameters"]["system"] for each in ingest["schedules"]) == list(systems.names())


def test_a_schedule_makes_runs_of_its_own(dispatcher: PrefectDispatcher) -> None:
    """By Prefect's own scheduler, which fails within the server, and only in its log, on SQLAlchemy 2.1."""
    asked = {"deployments": {"name": {"any_": ["ingest"]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    (first, *_) = poll(
        lambda: httpx.post(f"{dispatcher.url}/api/flow_runs/filter", json=asked).json(), 75, "a scheduled run"
    )
    assert first["auto_scheduled"]
    assert first["parameters"]["system"] in systems.names()


def test_an_alarms_event_starts_a_retraining(dispatcher: PrefectDispatcher) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    started = time.monotonic()
    dispatcher.emit(RETRAIN_DUE, "nowhere", {"reason": "log loss rose by 0.1", "alarm": ALARM})
    run: RunState = poll(lambda: next(iter(dispatcher.runs("retrain", "nowhere", since)), None), 30, "the retraining")
    assert time.monotonic() - started < 15
    parameters = httpx.get(f"{dispatcher.url}/api/flow_runs/{run.run_id}").json()["parameters"]
    assert parameters == {"system": "nowhere", "reason": "log loss rose by 0.1", "alarm": ALARM}
    poll(lambda: dispatcher.state(run.run_id).finished, 60, "the end of the retraining")
    assert "No system named 'nowhere'" in dispatcher.state(run.run_id).message
    assert dispatcher.runs("retrain", "elsewhere", since) == []


def test_other_events_start_nothing(dispatcher: PrefectDispatcher) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    dispatcher.emit("flywheel.retrain.none", "quiet", {"reason": "all is well", "alarm": ALARM})
    dispatcher.emit(RETRAIN_DUE, "loud", {"reason": "the marker behind it", "alarm": ALARM})
    poll(lambda: dispatcher.runs("retrain", "loud", since), 30, "the marker's run")
    assert dispatcher.runs("retrain", "quiet", since) == []


def test_what_prefect_refuses_is_said_in_one_sentence(dispatcher: PrefectDispatcher) -> None:
    with pytest.raises(NotFound, match=r"no deployment 'trian'. Known: .*train"):
        dispatcher.run("trian", {})
    with pytest.raises(InvalidInput, match=r"no_such_parameter|system"):
        dispatcher.run("train", {"no_such_parameter": 1})


def test_one_key_is_one_run_though_that_has_ended(dispatcher: PrefectDispatcher) -> None:
    first = dispatcher.run("train", {"system": "no_such_system"}, "the same")
    poll(lambda: dispatcher.state(first).finished, 60, "the run's end")
    assert dispatcher.run("train", {"system": "no_such_system"}, "the same") == first
    assert dispatcher.run("train", {"system": "no_such_system"}, "another") != first


def test_a_killed_run_is_reported_as_failed(scheduler: Scheduler, dispatcher: PrefectDispatcher) -> None:
    run_id = dispatcher.run("train", {"system": "ad_click", "data": "history"})
    engine = poll(lambda: engine_of(run_id), 20, "the run's process")
    engine.kill()
    poll(lambda: dispatcher.state(run_id).finished, 20, "the run's end")
    assert dispatcher.state(run_id).state == "failed"


def test_the_runner_outlives_the_server_and_registers_once(tmp_path: Path, new_database: Callable[[str], str]) -> None:
    mine = scheduler_in(tmp_path, new_database("asyncpg"))
    server, here = mine.start_server(), PrefectDispatcher(mine.settings.prefect)
    runner = mine.start_runner()
    try:
        end(server)
        with pytest.raises(Unavailable, match="cannot be reached"):
            here.run("train", {"system": "ad_click"})
        server = mine.start_server()
        poll(mine.runner_is_healthy, 30, "the runner's health")
        run_id = here.run("train", {"system": "no_such_system"})
        poll(lambda: here.state(run_id).finished, 60, "the run's end")
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        runner = mine.start_runner()
        found = httpx.post(f"{here.url}/api/automations/filter", json={}).json()
        assert [each["name"] for each in found] == [AUTOMATION]
        running = here.run("train", {"system": "ad_click", "data": "history"})
        engine = poll(lambda: engine_of(running), 20, "the run's process")
        end(runner)
        assert not engine.is_running()
        assert here.state(running).state == "failed"
    finally:
        end(runner)
        end(server)


def engine_of(run_id: str) -> psutil.Process | None:
    for process in psutil.process_iter(["cmdline"]):
        if run_id in (process.info["cmdline"] or []):
            return process
    return None
