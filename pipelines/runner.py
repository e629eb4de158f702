"""The flow runner: takes up the runs that Prefect schedules, each in a fresh process of Prefect's engine.

`python -m pipelines.runner`. Prefect's own runner is not used for three reasons seen in its source (3.8): it gives up
after three failed polls, and takes the runs under way with it, when the server restarts; it keeps Prefect's client
(100 MB) loaded to poll one address; and it leaves a killed runner's runs as Running for ever. This one speaks the same
protocol (Pending, the engine, Crashed) and outlives the server.

GET /health answers 200 once the deployments are registered and while the server answers the polls; GET /metrics says
the same, and what became of the runs, to Prometheus.
"""

import logging
import math
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from prometheus_client import disable_created_metrics

import systems
from infra.clock import pace
from infra.retrain_policy import End
from infra.settings import ROOT, Settings
from infra.stop_signal import StopSignal
from pipelines.deployments import REFUSED, present
from pipelines.flow_processes import FlowProcesses
from pipelines.missed_alarms import RETRAIN, MissedAlarms
from pipelines.runner_health import serving
from pipelines.runner_metrics import RunnerMetrics
from pipelines.schedules import of_no_use, schedules
from pipelines.verdict_metrics import VerdictMetrics

POLL_SECONDS = 0.5
STALE_SECONDS = 10.0  # without an answer for so long, the runner is not healthy
RETRY_SECONDS = 1.0
LIMIT = 3  # runs at a time, on a machine that serves as well
LOG = logging.getLogger("flywheel.runner")


@dataclass
class Runner:
    """Polls, starts, reaps. One for a Prefect server."""

    api: httpx.Client
    processes: FlowProcesses
    alarms: MissedAlarms
    deployments: dict[str, str] = field(default_factory=dict)  # names by id, once they are registered
    pace: float | None = None  # of the clock that the schedules are for
    answered_at: float = 0.0
    ended: dict[str, int] = field(default_factory=dict)  # processes whose end Prefect was not told of yet
    asked_for: set[str] = field(default_factory=set)
    stopping: StopSignal = field(default_factory=StopSignal)
    metrics: RunnerMetrics = field(default_factory=RunnerMetrics)

    def __post_init__(self) -> None:
        self.metrics.registered.set_function(lambda: bool(self.deployments))
        self.metrics.answer_age.set_function(self.answer_age)
        self.metrics.running.set_function(lambda: len(self.processes.running))

    @property
    def healthy(self) -> bool:
        return bool(self.deployments) and self.answer_age() < STALE_SECONDS

    def answer_age(self) -> float:
        """Seconds since Prefect last answered a poll; NaN (less than no limit) before the first time."""
        return time.monotonic() - self.answered_at if self.answered_at else math.nan

    def run(self) -> None:
        """Until told to stop; whatever Prefect does meanwhile."""
        while not self.stopping.is_set():
            try:
                if not self.deployments:
                    self.register()
                self.keep_time()
                self.step()
                if self.deployments:
                    self.answer_missed_alarms()
                self.stopping.wait(POLL_SECONDS)
            except httpx.HTTPError as error:
                LOG.warning("Prefect does not answer: %s", error or type(error).__name__)
                self.stopping.wait(RETRY_SECONDS)
        self.stop()

    def register(self) -> None:
        """Register the deployments in a process of its own; then end what an earlier runner left behind."""
        self.api.get("/health").raise_for_status()
        done = subprocess.run([sys.executable, "-m", "pipelines.deployments"], cwd=ROOT, timeout=120, check=False)
        if done.returncode:
            LOG.warning("the deployments could not be registered; trying again")
            self.stopping.wait(RETRY_SECONDS)
            return
        names = [each.name for each in present()]
        found = self._post("/deployments/filter", {"deployments": {"name": {"any_": names}}})
        self.deployments = {each["id"]: each["name"] for each in found}
        self.reconcile()
        LOG.info("taking up runs of %s", ", ".join(names))

    def keep_time(self) -> None:
        """Schedule the deployments, and anew whenever the platform's clock begins or ceases to run fast."""
        if not self.deployments or (found := pace(self.alarms.clock())) == self.pace:
            return
        for each in present():
            if each.rhythm:
                path = f"/deployments/name/{each.name}/{each.name}"
                deployment = self.api.get(path).raise_for_status().json()
                wanted = schedules(each.rhythm, found, systems.names(), datetime.now(UTC))
                self.api.patch(f"/deployments/{deployment['id']}", json={"schedules": wanted}).raise_for_status()
        self.pace = found
        LOG.info("scheduled for a clock that runs %g times as fast", found)

    def reconcile(self) -> None:
        """Runs that are Running, and run by nobody, crashed: an earlier runner was killed (Prefect leaves them so)."""
        self.processes.end_strays()
        left = self._runs(["PENDING", "RUNNING", "CANCELLING"])
        for run in left:
            if run["id"] not in self.processes.running:
                self.crash(run, "The flow runner ended before this run did.")

    def step(self) -> None:
        """One poll: end what was cancelled, report what crashed, take up what is due."""
        self.ended |= self.processes.reap()
        for run_id, status in list(self.ended.items()):
            self.conclude(run_id, status)
            del self.ended[run_id]
        self.settle()
        if self.processes.running:
            for run in self._runs(["CANCELLING"]):
                if self.processes.end(run["id"]):
                    self.set_state(run["id"], "CANCELLED", "Cancelled on request.")
                    self.remember(run, "cancelled", "Cancelled on request.")
        due = self._post(
            "/deployments/get_scheduled_flow_runs",
            {"deployment_ids": list(self.deployments), "scheduled_before": datetime.now(UTC).isoformat(), "limit": 50},
        )
        self.answered_at = time.monotonic()
        useless = of_no_use(due, datetime.now(UTC))
        for run in due:
            if run["id"] in useless:
                self.set_state(run["id"], "CANCELLED", useless[run["id"]])
            elif len(self.processes.running) < LIMIT:
                self.take_up(run)

    def take_up(self, run: Mapping[str, Any]) -> None:
        """Pending first: a run that Prefect does not give us (cancelled meanwhile) is not started."""
        if run["id"] in self.processes.running:
            return
        self.asked_for.add(run["id"])
        if self.set_state(run["id"], "PENDING", "Starting.", force=False):
            LOG.info("starting %s", run["name"])
            self.start(run["id"])
        self.asked_for.discard(run["id"])

    def settle(self) -> None:
        """Runs that were asked for when the answer was lost: they are ours if Prefect has them Pending."""
        for run_id in list(self.asked_for):
            if self.run_of(run_id)["state_type"] == "PENDING":
                self.start(run_id)
            self.asked_for.discard(run_id)

    def start(self, run_id: str) -> None:
        self.processes.start(run_id)
        self.metrics.started.inc()

    def answer_missed_alarms(self) -> None:
        """Start what an event should have started and did not; no oftener than once a minute."""
        for system, missed in self.alarms.poll(self._unfinished_retrainings):
            self.metrics.alarms_missed.labels(system).set(missed)

    def run_of(self, run_id: str) -> dict[str, Any]:
        return dict(self.api.get(f"/flow_runs/{run_id}").raise_for_status().json())

    def conclude(self, run_id: str, status: int) -> None:
        """A process that ended before its run did (killed, out of memory) leaves saying so to us."""
        run = self.run_of(run_id)
        state = run["state_type"]
        if state == "FAILED":
            self.metrics.failed.inc()
            self.remember(run, "failed", _message(run))
        elif state == "CRASHED":  # the engine itself could still say so
            self.metrics.crashed.inc()
            self.remember(run, "died", _message(run))
        elif state == "COMPLETED" and run["state_name"] == REFUSED:
            self.metrics.refused.labels(str(run["parameters"].get("system"))).inc()
        elif state not in ("COMPLETED", "CANCELLED", "SCHEDULED", "PAUSED"):
            self.crash(run, f"Its process ended with status {status}.")

    def crash(self, run: Mapping[str, Any], message: str) -> None:
        self.set_state(run["id"], "CRASHED", message)
        self.metrics.crashed.inc()
        self.remember(run, "died", message)

    def remember(self, run: Mapping[str, Any], end: End, said: str) -> None:
        """A retraining that ended otherwise than well is written down, or its alarm would wait for it for ever."""
        if self.deployments.get(run["deployment_id"]) == RETRAIN:
            self.alarms.ended(run, end, said)

    def set_state(self, run_id: str, kind: str, message: str, force: bool = True) -> bool:
        """Whether Prefect accepted the state."""
        state = {"type": kind, "name": kind.capitalize(), "message": message}
        answer = self._post(f"/flow_runs/{run_id}/set_state", {"state": state, "force": force})
        return bool(answer["status"] == "ACCEPT")

    def stop(self) -> None:
        """End every process; Prefect may be going down as well, so telling it is worth one try."""
        for run_id in self.processes.end_all():
            try:
                self.crash(self.run_of(run_id), "The flow runner was stopped.")
            except httpx.HTTPError:
                LOG.warning("Prefect was not told that the run %s ended", run_id)

    def _runs(self, kinds: list[str]) -> list[dict[str, Any]]:
        return self._runs_of(list(self.deployments), kinds)

    def _unfinished_retrainings(self) -> list[dict[str, Any]]:
        ids = [each for each, name in self.deployments.items() if name == RETRAIN]
        return self._runs_of(ids, ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"])

    def _runs_of(self, deployment_ids: list[str], kinds: list[str]) -> list[dict[str, Any]]:
        wanted = {"state": {"type": {"any_": kinds}}, "deployment_id": {"any_": deployment_ids}}
        return list(self._post("/flow_runs/filter", {"flow_runs": wanted}))

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.api.post(path, json=body).raise_for_status().json()


def _message(run: Mapping[str, Any]) -> str:
    return str((run.get("state") or {}).get("message") or "")


def main() -> None:
    """Run until SIGTERM or SIGINT; nothing is left behind."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # A second series for each counter, which nobody reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client gives it no types
    settings = Settings.load()
    api = httpx.Client(base_url=f"{settings.prefect}/api", timeout=5, trust_env=False)
    processes = FlowProcesses(settings.path("run", "flows", "pid").parent)
    runner = Runner(api, processes, MissedAlarms.of(settings), stopping=StopSignal.of_process())
    runner.metrics.registry.register(VerdictMetrics(settings))
    with serving(runner, settings.host, settings.runner_port):
        runner.run()


if __name__ == "__main__":
    main()
