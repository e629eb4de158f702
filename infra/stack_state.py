"""What the supervisor tells of the stack in state/run/: who supervises, and where each component stands."""

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from contracts.errors import SetupError
from infra.processes import Family, alive
from infra.settings import Settings

State = Literal["waiting", "starting", "healthy", "unhealthy", "backoff", "stopped"]


@dataclass(frozen=True)
class ComponentStatus:
    """Where one component stands; times in seconds since the epoch."""

    name: str
    state: State
    since: float  # when it came to that state
    pid: int | None = None
    created: float = 0.0  # when that process was; a pid alone may be another's by now
    started_at: float | None = None
    restarts: int = 0
    error: str = ""  # why it is not healthy, or was not the last time
    url: str = ""
    memory: int = 0  # resident bytes, with all that it started

    def family(self, settings: Settings) -> Family:
        return Family(mark(settings, self.name), self.pid, self.created)


def mark(settings: Settings, component: str = "") -> str:
    """What the processes of a component of this stack carry in their environment; without a name, of any."""
    return f"{settings.state_dir.absolute()}#{component}#" if component else f"{settings.state_dir.absolute()}#"


def write(settings: Settings, statuses: Iterable[ComponentStatus]) -> None:
    """All at once: a reader sees the old state or the new one."""
    target = _file(settings)
    draft = target.with_suffix(".draft")
    draft.write_text(json.dumps([asdict(status) for status in statuses], indent=1))
    draft.replace(target)


def read(settings: Settings) -> tuple[ComponentStatus, ...]:
    """What was written last; nothing when that was never, or cannot be read."""
    try:
        return tuple(ComponentStatus(**one) for one in json.loads(_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return ()


def leftovers(settings: Settings) -> list[Family]:
    """The families that a supervisor which was killed may have left."""
    return [Family(mark(settings)), *(status.family(settings) for status in read(settings))]


def already_runs(settings: Settings, supervisor: int | None) -> SetupError:
    """What a second start is told."""
    return SetupError(
        f"A stack already runs from {settings.state_dir} (supervisor pid {supervisor}); see `flywheel status`, "
        "end it with `flywheel down`, or set FLYWHEEL_STATE_DIR to another folder."
    )


class Lock:
    """One supervisor a state folder. It outlives its holder while any process forked from it still cleans up."""

    def __init__(self, settings: Settings) -> None:
        self._path: Path = settings.path("run", "supervisor.lock")

    def acquire(self) -> bool:
        """Whether it is ours now; it stays so until this process and its forks end."""
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            return False
        os.truncate(self._handle, 0)
        os.write(self._handle, str(os.getpid()).encode())
        return True

    def held(self) -> bool:
        """Whether some process has it."""
        if not self._path.exists():
            return False
        with self._path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def holder(self) -> int | None:
        """The supervisor that has it, while it lives."""
        if not self.held():
            return None
        words = self._path.read_text()
        return int(words) if words.isdigit() and alive(int(words)) else None


def _file(settings: Settings) -> Path:
    return settings.path("run", "stack.json")
