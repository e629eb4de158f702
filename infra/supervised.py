"""One component under supervision: waiting → starting → healthy, and back through backoff whenever it dies or hangs."""

import time
from collections.abc import Collection, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from subprocess import Popen

from infra import health, log_files, processes
from infra.components import Component
from infra.processes import Family
from infra.stack_state import ComponentStatus, State

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds; it doubles with each failure in a row
FORGIVEN_AFTER = 60.0  # seconds of health after which a failure is no longer one in a row
START_TIMEOUT, TIMEOUT = 30.0, 5.0  # seconds for one answer; a first one may have a database to make
ASK_STARTING, ASK_HEALTHY, ASK_AGAIN = 0.2, 3.0, 1.0  # seconds between two questions
NEVER = float("inf")


class Supervised:
    """A component, its process and what became of it. `step` is called often, on the main thread, and never blocks."""

    def __init__(self, component: Component, mark: str, environ: Mapping[str, str], log: Path, pool: Executor) -> None:
        self.component = component
        self.mark, self.environ, self.log, self.pool = mark, environ, log, pool
        self.process: Popen[bytes] | None = None
        self.ending: Future[None] | None = None
        self.asked: Future[str] | None = None
        self.state: State = "waiting"
        self.since = time.time()
        self.started_at: float | None = None
        self.created = 0.0
        self.restarts = self.failures = 0
        self.error = ""
        self.ask_at = self.retry_at = self.in_state = self.healthy_at = time.monotonic()

    def step(self, healthy: Collection[str]) -> None:
        """Do what is due, given the names of the components that are healthy."""
        if self.ending is not None:
            self._wait_for_the_end()
        elif self.state == "waiting":
            if set(self.component.needs) <= set(healthy):
                self._start()
        elif self.state == "backoff":
            if time.monotonic() >= self.retry_at:
                self._move("waiting")
        elif self.process is not None:
            self._judge(self.process)

    def restart(self, why: str) -> None:
        """End it, then start it again at once."""
        if self.process is not None and self.ending is None:
            self._leave(why, delay=0.0)

    def stopped(self) -> None:
        """Its family has been ended by the caller."""
        if self.process is not None:
            self.process.wait()
        self._move("stopped")

    @property
    def family(self) -> Family:
        return Family(self.mark, self.process.pid if self.process else None, self.created)

    @property
    def status(self) -> ComponentStatus:
        return ComponentStatus(
            name=self.component.name,
            state=self.state,
            since=self.since,
            pid=self.process.pid if self.process and self.state not in ("waiting", "stopped") else None,
            created=self.created,
            started_at=self.started_at,
            restarts=self.restarts,
            error=self.error,
            url=self.component.url,
        )

    def _start(self) -> None:
        if self.started_at is not None:
            self.restarts += 1
        try:
            self.process = processes.spawn(self.component.command, self.environ, self.log, self.component.nice)
        except OSError as error:
            self._back_off(f"could not be started: {error}")
            return
        self.created, self.started_at = processes.created(self.process.pid), time.time()
        self.asked, self.ask_at = None, time.monotonic()
        self._move("starting")

    def _judge(self, process: Popen[bytes]) -> None:
        if (status := process.poll()) is not None:
            self._leave(_last_words(status, self.log))
            return
        if self.asked is None and time.monotonic() >= self.ask_at:
            timeout = START_TIMEOUT if self.state == "starting" else TIMEOUT
            self.asked = self.pool.submit(health.fault, self.component.health, timeout)
        if self.asked is not None and self.asked.done():
            self._hear(self.asked.result())
            self.asked = None
        self._lose_patience()

    def _hear(self, fault: str) -> None:
        now = time.monotonic()
        if not fault:
            if self.state != "healthy":
                self._move("healthy")
            if now - self.in_state > FORGIVEN_AFTER:
                self.failures = 0
            self.error, self.ask_at = "", now + ASK_HEALTHY
            return
        self.error = fault
        if self.state == "healthy":
            self._move("unhealthy")
        self.ask_at = now + (ASK_STARTING if self.state == "starting" else ASK_AGAIN)

    def _lose_patience(self) -> None:
        grace = {"starting": self.component.start_grace, "unhealthy": self.component.hang_grace}.get(self.state, NEVER)
        if time.monotonic() - self.in_state > grace:
            self._leave(f"not healthy for {grace:g} s: {self.error}")

    def _leave(self, why: str, delay: float | None = None) -> None:
        """End what is left of the family, in the background, and start again after the delay that is due."""
        self._back_off(why, delay)
        self.ending = self.pool.submit(processes.end, [self.family], self.component.stop_grace)

    def _back_off(self, why: str, delay: float | None = None) -> None:
        if delay is None:
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self.failures, 10))
            self.failures += 1
        self.error, self.asked = why, None
        self.retry_at = time.monotonic() + delay
        self._move("backoff")

    def _wait_for_the_end(self) -> None:
        if self.ending is not None and self.ending.done():
            if self.process is not None:
                self.process.poll()
            self.ending = None

    def _move(self, state: State) -> None:
        self.state, self.since, self.in_state = state, time.time(), time.monotonic()


def _last_words(status: int, log: Path) -> str:
    how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{how}: {line}" if (line := log_files.last_line(log)) else how
