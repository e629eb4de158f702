"""The generator as the command line holds it: its processes, what they say, and their end.

They live in a session of their own, so that Ctrl-C reaches only the command line, which then ends them. Should the
command line be killed, their standard inputs end, and so do they.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from contracts.errors import FlywheelError
from infra.settings import machine_environ
from services.client.loadtest.measure import Tally
from services.client.loadtest.plan import Duty, Role, Stage, Target

COMMAND = (sys.executable, "-m", "services.client.loadtest.generator")
QUIET = {"OTEL_SDK_DISABLED": "true", "DO_NOT_TRACK": "true"}  # it tells nobody anyhow; this says so once more
PATIENCE = 60.0  # seconds in which the processes must be ready
GRACE = 2.0  # seconds to end by themselves
SILENCE = 30.0  # seconds without a word, beyond what was asked for, after which they count as hung
Message = dict[str, Any]


class Fleet:
    """The processes that send requests; use it as a context manager. Errors are FlywheelError."""

    def __init__(self, target: Target, processes: int, folder: Path, web_port: int | None = None) -> None:
        role: Role = "alone" if processes == 1 else "master"
        self._duty = Duty(role, target, processes, web_port=web_port)
        self._log = folder / "generator.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._said: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._listener: threading.Thread | None = None
        self.page = ""  # the address of Locust's page, where it was asked for

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def run(self, stage: Stage, watch: Callable[[Tally], None]) -> Tally:
        """Run a stage to its end; `watch` is told how it goes about twice a second."""
        self._tell(do="stage", **asdict(stage))
        while (message := self._heard(stage.seconds + SILENCE))["kind"] == "tick":
            watch(Tally.unpacked(message["tally"]))
        return Tally.unpacked(message["tally"])

    def report(self, path: Path, findings: list[Message]) -> None:
        """Write the HTML report of all stages since the warm-up."""
        self._tell(do="report", path=str(path), findings=findings)
        self._heard(SILENCE)

    def check(self) -> None:
        """Raise where a process has died."""
        for process in self._processes:
            if process.poll() is not None:
                raise FlywheelError(f"The load generator ended by itself ({self._last_words()}).")

    def end(self) -> None:
        """End every process, whatever it does."""
        for process in self._processes:
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]  # it was opened as a pipe
        deadline = time.monotonic() + GRACE
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._listener:
            self._listener.join()
            self._processes[0].stdout.close()  # type: ignore[union-attr]  # it was opened as a pipe

    def _begin(self) -> None:
        leader = self._start(self._duty)
        self._listener = threading.Thread(target=self._listen, args=(leader,), daemon=True)
        self._listener.start()
        if self._duty.role == "master":
            port = int(self._heard(PATIENCE)["port"])
            for _ in range(self._duty.workers):
                self._start(replace(self._duty, role="worker", master_port=port, web_port=None))
        self.page = str(self._heard(PATIENCE)["page"])

    def _start(self, duty: Duty) -> subprocess.Popen[bytes]:
        pipe, leading = subprocess.PIPE, duty.role != "worker"
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                COMMAND,
                stdin=pipe,
                stdout=pipe if leading else log,
                stderr=log,
                env=machine_environ() | QUIET,
                start_new_session=True,
            )
        self._processes.append(process)
        self._say(process, duty.to_json())
        return process

    def _tell(self, **what: Any) -> None:
        self.check()
        self._say(self._processes[0], json.dumps(what))

    def _say(self, process: subprocess.Popen[bytes], line: str) -> None:
        try:
            process.stdin.write(line.encode() + b"\n")  # type: ignore[union-attr]  # it was opened as a pipe
            process.stdin.flush()  # type: ignore[union-attr]
        except OSError as error:
            raise FlywheelError(f"The load generator does not listen ({self._last_words()}).") from error

    def _listen(self, leader: subprocess.Popen[bytes]) -> None:
        """In a thread: what the leader says, then None."""
        for line in leader.stdout or ():
            self._said.put(json.loads(line))
        self._said.put(None)

    def _heard(self, seconds: float) -> Message:
        """The next message."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(queue.Empty):
                if (message := self._said.get(timeout=0.5)) is None:
                    raise FlywheelError(f"The load generator ended by itself ({self._last_words()}).")
                return message
            self.check()
        raise FlywheelError(f"The load generator said nothing for {seconds:.0f} s ({self._last_words()}).")

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it wrote no reason"
