"""The processes that flow runs run in: one fresh process of Prefect's engine a run, known by a pid file."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from infra.settings import ROOT

ENGINE = "prefect.engine"
GRACE_SECONDS = 3.0  # between asking a process to end and ending it


@dataclass
class FlowProcesses:
    """Running processes by run id. Their pid files in `folder` outlive a runner that is killed."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, run_id: str) -> None:
        """Start the engine on a run, in a process group of its own so that all it starts can be ended with it; not in a
        session of its own, which Linux would give as much of the processor as the gateway's (sched(7), autogroup)."""
        command = [sys.executable, "-m", ENGINE, run_id]
        self.running[run_id] = process = subprocess.Popen(command, cwd=ROOT, process_group=0)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file(run_id).write_text(str(process.pid))

    def reap(self) -> dict[str, int]:
        """Runs whose process has ended since the last call, with its exit status.

        What a process that was killed had started ends with it: a child that lives on might hold a lock of the run's.
        """
        ended = {run_id: status for run_id, each in self.running.items() if (status := each.poll()) is not None}
        _end_groups([self.running[run_id].pid for run_id, status in ended.items() if status])
        for run_id in ended:
            self._forget(run_id)
        return ended

    def end(self, run_id: str) -> bool:
        """End the process of a run; whether there was one."""
        process = self.running.get(run_id)
        if process is None:
            return False
        _end_groups([process.pid])
        process.wait()
        self._forget(run_id)
        return True

    def end_all(self) -> list[str]:
        """End every process, all at once: the runs that they ran."""
        ended = [run_id for run_id, process in self.running.items() if process.poll() is None]
        _end_groups([self.running[run_id].pid for run_id in ended])
        for run_id in list(self.running):
            self.running[run_id].wait()
            self._forget(run_id)
        return ended

    def end_strays(self) -> None:
        """End what a killed runner left running; a pid that the system has given to another program is let be."""
        strays = {
            path: int(path.read_text() or 0) for path in self.folder.glob("*.pid") if path.stem not in self.running
        }
        _end_groups([pid for path, pid in strays.items() if _is_engine(pid, path.stem)])
        for path in strays:
            path.unlink(missing_ok=True)

    def _forget(self, run_id: str) -> None:
        del self.running[run_id]
        self._file(run_id).unlink(missing_ok=True)

    def _file(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.pid"


def _is_engine(pid: int, run_id: str) -> bool:
    try:
        command = psutil.Process(pid).cmdline()
    except (psutil.Error, ValueError):
        return False
    return ENGINE in command and run_id in command


def _end_groups(pids: list[int]) -> None:
    """Ask each process group to end, wait a little, and end what is left."""
    for pid in pids:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and any(map(_alive, pids)):
        time.sleep(0.05)
    for pid in pids:
        _signal(pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
