"""Alarms become runs of `retrain` on a real Prefect: events lost, workers killed, two at once. There is nothing to
train on, so that each run that is let begin soon fails: what matters here is which one is."""

import math
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import systems
from contracts.records import RunState, Verdict
from infra import wiring
from infra.alarms import Alarm
from infra.dispatcher import PrefectDispatcher
from infra.retrainings import Kept
from pipelines.deployments import RETRAIN_DUE, SKIPPED
from pipelines.missed_alarms import MissedAlarms
from tests.conftest import poll
from tests.loop.test_dispatcher import Scheduler, end, engine_of, scheduler_in
from tests.stores.mlflow_process import healthy, starting

# MLflow's clients leave their connections to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SPEED = 20.0  # ten minutes pass in half a one
AGO = timedelta(hours=2)  # long enough for an event to have come, on that clock


@dataclass
class Stage:
    """Prefect and MLflow, with a champion of each system, and a runner once it is started."""

    scheduler: Scheduler
    since: datetime
    runner: subprocess.Popen[bytes] | None = None

    @property
    def dispatcher(self) -> PrefectDispatcher:
        return PrefectDispatcher(self.scheduler.settings.prefect)

    def alarm(self, system: str, ago: timedelta = AGO) -> Alarm:
        """Harm, as monitoring keeps it."""
        settings, nan = self.scheduler.settings, math.nan
        at = wiring.clock(settings).now() - ago
        found = Verdict(system, at, at, at, "1", 9_000, 0.9, 0.8, 0.5, True, 9_000, (), nan, None)
        wiring.verdicts(settings).append(found)
        return Alarm("harm", at, "1", "")

    def start_runner(self) -> None:
        if self.runner is None:
            self.runner = self.scheduler.start_runner()

    @contextmanager
    def polling(self) -> Iterator[MissedAlarms]:
        """A poll beside the runner's; its connection to MLflow is closed after the block."""
        alarms = MissedAlarms.of(self.scheduler.settings)
        try:
            yield alarms
        finally:
            alarms.registry.close()

    def runs(self, system: str) -> list[RunState]:
        return list(self.dispatcher.runs("retrain", system, self.since))

    def kept(self, system: str) -> list[Kept]:
        return wiring.retrainings(self.scheduler.settings).read(system)

    def parameters(self, run: RunState) -> dict[str, Any]:
        url = f"{self.scheduler.settings.prefect}/api/flow_runs/{run.run_id}"
        return dict(httpx.get(url, trust_env=False).json()["parameters"])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[str], str]) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("retrain")
    made = Stage(scheduler_in(folder, new_database("asyncpg")), datetime.now(UTC) - timedelta(minutes=1))
    settings = made.scheduler.settings
    wiring.start_clock(settings, datetime.now(UTC) - timedelta(days=6), SPEED)
    with starting(settings, folder / "mlflow.log"):
        server = made.scheduler.start_server()
        try:
            poll(lambda: healthy(settings), 60, "MLflow")
            for system in systems.names():
                with wiring.tracker(settings).run(system, "test", {}) as run:
                    version = wiring.registry(settings).register(system, b"no model", run.run_id, ("x",), {})
                wiring.registry(settings).point(system, "champion", version.version)
            yield made
        finally:
            if made.runner:
                end(made.runner)
            end(server)


def test_an_alarm_whose_event_was_lost_gets_exactly_one_run_from_the_runners_poll(stage: Stage) -> None:
    alarm = stage.alarm("ad_click")
    stage.start_runner()
    run = poll(lambda: next(iter(stage.runs("ad_click")), None), 60, "the run that the poll starts")
    with stage.polling() as polled:
        polled.look("ad_click", lambda: [])  # a second poll, which does not see the run
    poll(lambda: stage.dispatcher.state(run.run_id).finished, 90, "its end")
    (kept,) = poll(lambda: [each for each in stage.kept("ad_click") if each.retraining.ended], 20, "the word on it")
    assert (kept.run_id, kept.alarm, kept.retraining.end) == (run.run_id, alarm.key, "failed")
    assert [each.run_id for each in stage.runs("ad_click")] == [run.run_id]
    assert stage.parameters(run)["alarm"] == alarm.key


def test_a_worker_that_was_killed_holds_up_no_other_run(stage: Stage) -> None:
    stage.start_runner()
    alarm = stage.alarm("fraud_detection")
    asked = {"system": "fraud_detection", "reason": "harm", "alarm": alarm.key}
    first = stage.dispatcher.run("retrain", asked)
    engine = poll(lambda: engine_of(first), 60, "the run's process")
    engine.kill()
    (kept,) = poll(lambda: stage.kept("fraud_detection"), 20, "the word on it")
    assert (kept.run_id, kept.retraining.end) == (first, "died")
    with stage.polling() as polled:

        def second() -> Kept | None:
            polled.look("fraud_detection", lambda: [])
            return next((each for each in stage.kept("fraud_detection") if each.run_id != first), None)

        assert poll(second, 120, "the next run").alarm == alarm.key
    waited = stage.kept("fraud_detection")[1].retraining.started - kept.retraining.ended
    assert waited >= timedelta(minutes=10)


def test_of_two_alarms_at_once_one_run_begins(stage: Stage) -> None:
    stage.start_runner()
    alarms = [stage.alarm("video_recommendation", ago) for ago in (timedelta(minutes=1), timedelta(0))]
    for alarm in alarms:
        stage.dispatcher.emit(RETRAIN_DUE, "video_recommendation", {"reason": "harm", "alarm": alarm.key})
    runs = poll(lambda: found if len(found := stage.runs("video_recommendation")) == 2 else [], 60, "both runs")
    poll(lambda: all(stage.dispatcher.state(run.run_id).finished for run in runs), 120, "the end of both")
    states = sorted(stage.dispatcher.state(run.run_id).state for run in runs)
    skipped = [run for run in runs if stage.dispatcher.state(run.run_id).message.startswith(SKIPPED)]
    assert states == ["completed", "failed"]
    assert len(skipped) == 1
    assert len(stage.kept("video_recommendation")) == 1
