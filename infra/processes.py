"""Processes of the stack, with all that they start themselves: begun in their own session, ended to the last.

A family is found by three marks, for each can be lost: descent (a child of a dead parent has none), the session (a
program may begin its own), and a variable in the environment (Redis writes over its own).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra import launch
from infra.settings import ROOT

MARK = "SUPERVISED_BY_FLYWHEEL"
ORPHAN_GRACE = 2.0  # seconds that the rest of a family has after its head


@dataclass(frozen=True)
class Family:
    """The processes of one component: its head, if it was ever started, and the mark that all of them inherit."""

    mark: str
    pid: int | None = None
    created: float = 0.0  # when the head was, as psutil tells it: a pid is used again

    def head(self) -> psutil.Process | None:
        """The head while it runs."""
        if self.pid is None or not psutil.pid_exists(self.pid):
            return None
        try:
            head = psutil.Process(self.pid)
            return head if abs(head.create_time() - self.created) < 0.1 and not _ended(head) else None
        except psutil.NoSuchProcess:
            return None

    def members(self) -> set[psutil.Process]:
        """All of them that run, the head included."""
        head = self.head()
        return set(_descent(head)) | {one for one in psutil.process_iter() if self._is_kin(one)}

    def _is_kin(self, process: psutil.Process) -> bool:
        try:
            if process.pid == os.getpid() or _ended(process):
                return False
            in_session = self.pid is not None and os.getsid(process.pid) == self.pid and self._session_is_ours()
            return in_session or process.environ().get(MARK, "").startswith(self.mark)
        except (psutil.Error, OSError):  # it ended meanwhile, or it is another user's
            return False

    def _session_is_ours(self) -> bool:
        """False when the head's pid has been given to a stranger since."""
        try:
            return self.pid is not None and abs(psutil.Process(self.pid).create_time() - self.created) < 0.1
        except psutil.NoSuchProcess:
            return True  # while a session lives, its number is not given out again


def spawn(command: Sequence[str], environ: Mapping[str, str], log: Path, nice: int = 0) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; call it on the main thread, with whose end the program's comes."""
    starter = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(nice)]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*starter, *command],
            env=dict(environ),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def created(pid: int) -> float:
    """When a process was, in seconds since the epoch; 0.0 when it is gone."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def end(families: Iterable[Family], grace: float) -> None:
    """SIGTERM to the heads, which end their own; to what is left of the families after them; SIGKILL to the rest."""
    families = list(families)
    everyone = {one for family in families for one in family.members()}
    heads = {head for family in families if (head := family.head())}
    _signal(heads, signal.SIGTERM)
    _wait(heads, grace)
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        # Looked for again each time: who is ending may still have started another.
        everyone = _running(everyone | {one for family in families for one in family.members()})
        if not everyone:
            return
        _signal(everyone, number)
        _wait(everyone, ORPHAN_GRACE)


def memory(pid: int) -> int:
    """Resident bytes of a process and its descendants."""
    total = 0
    for one in _descent(Family("", pid, created(pid)).head()):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return not _ended(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _descent(head: psutil.Process | None) -> list[psutil.Process]:
    if head is None:
        return []
    try:
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _ended(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_ZOMBIE)


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for one in processes:
        try:
            one.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _wait(processes: set[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _running(processes) and time.monotonic() < deadline:
        time.sleep(0.05)


def _running(processes: set[psutil.Process]) -> set[psutil.Process]:
    # psutil's own wait would reap our children before subprocess does, and wait for the zombies of others.
    return {one for one in processes if one.is_running() and alive(one.pid)}
