"""The flow runner: takes up the runs that Prefect schedules, each in a fresh process of Prefect's engine.

`python -m pipelines.runner`. Prefect's own runner is not used for three reasons seen in its source (3.8): it gives up
after three failed polls, and takes the runs under way with it, when the server restarts; it keeps Prefect's client
(100 MB) loaded to poll one address; and it leaves a killed runner's runs as Running for ever. This one speaks the same
protocol (Pending, the engine, Crashed) and outlives the server.

GET /health answers 200 once the deployments are registered and while the server answers the polls.
"""

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

import httpx

from infra.settings import ROOT, Settings
from pipelines.deployments import present
from pipelines.flow_processes import FlowProcesses

POLL_SECONDS = 0.5
STALE_SECONDS = 10.0  # without an answer for so long, the runner is not healthy
RETRY_SECONDS = 1.0
LIMIT = 3  # runs at a time, on a machine that serves as well
MISSED = timedelta(hours=1)  # a scheduled run that is later than this is left out: another is due soon
LOG = logging.getLogger("flywheel.runner")


@dataclass
class Runner:
    """Polls, starts, reaps. One for a Prefect server."""

    api: httpx.Client
    processes: FlowProcesses
    deployment_ids: list[str] = field(default_factory=list)
    answered_at: float = 0.0
    ended: dict[str, int] = field(default_factory=dict)  # processes whose end Prefect was not told of yet
    asked_for: set[str] = field(default_factory=set)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def healthy(self) -> bool:
        return bool(self.deployment_ids) and time.monotonic() - self.answered_at < STALE_SECONDS

    def run(self) -> None:
        """Until told to stop; whatever Prefect does meanwhile."""
        while not self.stopping.is_set():
            try:
                if not self.deployment_ids:
                    self.register()
                self.step()
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
        self.deployment_ids = [each["id"] for each in found]
        self.reconcile()
        LOG.info("taking up runs of %s", ", ".join(names))

    def reconcile(self) -> None:
        """Runs that are Running, and run by nobody, crashed: an earlier runner was killed (Prefect leaves them so)."""
        self.processes.end_strays()
        left = self._runs(["PENDING", "RUNNING", "CANCELLING"])
        for run in left:
            if run["id"] not in self.processes.running:
                self.set_state(run["id"], "CRASHED", "The flow runner ended before this run did.")

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
        due = self._post(
            "/deployments/get_scheduled_flow_runs",
            {"deployment_ids": self.deployment_ids, "scheduled_before": datetime.now(UTC).isoformat(), "limit": 50},
        )
        self.answered_at = time.monotonic()
        for run in due:
            if missed(run):
                self.set_state(run["id"], "CANCELLED", "Its time passed while the stack was down.")
            elif len(self.processes.running) < LIMIT:
                self.take_up(run)

    def take_up(self, run: Mapping[str, Any]) -> None:
        """Pending first: a run that Prefect does not give us (cancelled meanwhile) is not started."""
        if run["id"] in self.processes.running:
            return
        self.asked_for.add(run["id"])
        if self.set_state(run["id"], "PENDING", "Starting.", force=False):
            LOG.info("starting %s", run["name"])
            self.processes.start(run["id"])
        self.asked_for.discard(run["id"])

    def settle(self) -> None:
        """Runs that were asked for when the answer was lost: they are ours if Prefect has them Pending."""
        for run_id in list(self.asked_for):
            if self.state_of(run_id) == "PENDING":
                self.processes.start(run_id)
            self.asked_for.discard(run_id)

    def state_of(self, run_id: str) -> str:
        return str(self.api.get(f"/flow_runs/{run_id}").raise_for_status().json()["state_type"])

    def conclude(self, run_id: str, status: int) -> None:
        """A process that ended before its run did (killed, out of memory) leaves saying so to us."""
        if self.state_of(run_id) not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED", "SCHEDULED", "PAUSED"):
            self.set_state(run_id, "CRASHED", f"Its process ended with status {status}.")

    def set_state(self, run_id: str, kind: str, message: str, force: bool = True) -> bool:
        """Whether Prefect accepted the state."""
        state = {"type": kind, "name": kind.capitalize(), "message": message}
        answer = self._post(f"/flow_runs/{run_id}/set_state", {"state": state, "force": force})
        return bool(answer["status"] == "ACCEPT")

    def stop(self) -> None:
        """End every process; Prefect may be going down as well, so telling it is worth one try."""
        for run_id in self.processes.end_all():
            try:
                self.set_state(run_id, "CRASHED", "The flow runner was stopped.")
            except httpx.HTTPError:
                LOG.warning("Prefect was not told that the run %s ended", run_id)

    def _runs(self, kinds: list[str]) -> list[dict[str, Any]]:
        wanted = {"state": {"type": {"any_": kinds}}, "deployment_id": {"any_": self.deployment_ids}}
        return list(self._post("/flow_runs/filter", {"flow_runs": wanted}))

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.api.post(path, json=body).raise_for_status().json()


def missed(run: Mapping[str, Any]) -> bool:
    """Whether a schedule made this run, and it is too late to be of use."""
    due = datetime.fromisoformat(run["next_scheduled_start_time"] or run["expected_start_time"])
    return bool(run["auto_scheduled"]) and datetime.now(UTC) - due > MISSED


def serve_health(runner: Runner, host: str, port: int) -> ThreadingHTTPServer:
    """GET /health in a thread of its own: 200 or 503."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 404 if self.path != "/health" else 200 if runner.healthy else 503
            body = {200: b"OK\n", 503: b"not registered with Prefect, or Prefect does not answer\n"}.get(status, b"")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Health is asked for every second; nobody wants to read that."""

    server = ThreadingHTTPServer((host, port), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Run until SIGTERM or SIGINT; nothing is left behind."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = Settings.load()
    api = httpx.Client(base_url=f"{settings.prefect}/api", timeout=5, trust_env=False)
    runner = Runner(api, FlowProcesses(settings.path("run", "flows", "pid").parent))

    def stop(number: int, frame: FrameType | None) -> None:
        runner.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server = serve_health(runner, settings.host, settings.runner_port)
    try:
        runner.run()
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
