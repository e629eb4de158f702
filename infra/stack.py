"""The local stack as the command line, the demo and the tests hold it: started, waited for, looked at, stopped."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import psutil

from contracts.errors import NotFound, SetupError, Unavailable
from infra import processes, stack_state
from infra.settings import ROOT, Settings, machine_environ
from infra.stack_state import ComponentStatus, Lock

OnChange = Callable[[tuple[ComponentStatus, ...]], None]
SUPERVISOR = (sys.executable, "-m", "infra.supervisor")
LEFTOVER_GRACE = 5.0  # seconds from SIGTERM to SIGKILL for what a killed supervisor left
LONGEST_STOP = 90.0  # seconds; more than all the supervisor's own patience with its components


class Stack:
    """The stack of one state folder. As a context it is up and healthy within, and gone after."""

    def __init__(self, settings: Settings, supervisor: Sequence[str] = SUPERVISOR) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._lock = Lock(settings)

    def start(self, on_change: OnChange | None = None) -> None:
        """Start the supervisor in the background; raises SetupError when a stack runs already or a port is taken."""
        if holder := self._lock.holder():
            raise stack_state.already_runs(self._settings, holder)
        begun = subprocess.run(
            self._supervisor,
            env=machine_environ()
            | self._settings.environ()
            | {"FLYWHEEL_STATE_DIR": str(self._settings.state_dir.absolute())},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if begun.returncode:
            lines = begun.stderr.strip().splitlines()
            raise SetupError(lines[-1] if lines else f"The supervisor ended with status {begun.returncode}.")
        if on_change:
            on_change(self.states())

    def wait_healthy(self, timeout: float = 180.0, on_change: OnChange | None = None) -> None:
        """Return once every component is healthy; raises Unavailable, naming the late, after `timeout` s."""
        deadline, seen = time.monotonic() + timeout, None
        while True:
            running, states = self.running(), self.states()
            if on_change and states != seen:
                on_change(states)
            if states and all(one.state == "healthy" for one in states):
                return
            if not running:
                raise Unavailable(f"The stack in {self._settings.state_dir} was stopped before it was healthy.")
            if time.monotonic() > deadline:
                raise Unavailable(self._late(states, timeout))
            seen = states
            time.sleep(0.1)

    def running(self) -> bool:
        """Whether a supervisor runs for this state folder."""
        return self._lock.holder() is not None

    def states(self) -> tuple[ComponentStatus, ...]:
        """Where each component stands, memory left out; empty when no stack runs."""
        return stack_state.read(self._settings) if self.running() else ()

    def status(self) -> tuple[ComponentStatus, ...]:
        """Where each component stands, with its memory; empty when no stack runs."""
        return tuple(replace(one, memory=processes.memory(one.pid) if one.pid else 0) for one in self.states())

    def restart(self, name: str) -> None:
        """Have one component ended and started again; returns once the supervisor has taken notice."""
        known = [one.name for one in self.states()]
        if name not in known:
            raise NotFound(f"No component named {name!r} runs. Known: {', '.join(known) or 'none, the stack is down'}.")
        request = self._settings.path("run", f"restart.{name}")
        request.touch()
        while request.exists() and self.running():
            time.sleep(0.02)

    def stop(self) -> None:
        """End the stack and wait until nothing of it runs; of what a killed supervisor left, too. Twice is once."""
        if holder := self._lock.holder():
            _end(holder, self._lock)
        deadline = time.monotonic() + LONGEST_STOP
        while self._lock.held() and time.monotonic() < deadline:  # a warden cleans up
            time.sleep(0.05)
        processes.end(stack_state.leftovers(self._settings), LEFTOVER_GRACE)

    def _late(self, states: Sequence[ComponentStatus], timeout: float) -> str:
        late = [
            f"{one.name} ({one.state}{': ' + one.error if one.error else ''})"
            for one in states
            if one.state != "healthy"
        ]
        return f"Not healthy after {timeout:g} s: {', '.join(late)}; see {self._settings.state_dir / 'logs'}."

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _end(supervisor: int, lock: Lock) -> None:
    """Ask the supervisor to end the stack; should it not be done in time, kill it, which its warden answers."""
    process = psutil.Process(supervisor)
    process.terminate()
    deadline = time.monotonic() + LONGEST_STOP
    while lock.holder() == supervisor:
        if time.monotonic() > deadline:
            process.kill()
            return
        time.sleep(0.05)
