"""What a contender's processes cost: processor time and memory, by component, each with all that it started itself."""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress

import psutil

from infra import processes
from infra.stack import Stack


class Machine:
    """All that this machine's cores do, from now on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        psutil.cpu_percent()  # the next look is at what was since this one

    def elsewhere(self, known: float) -> float:
        """Cores, on average, that were busy beside `known` seconds of processor time; for one look."""
        passed = time.monotonic() - self._began
        busy = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        return max(0.0, busy - known / passed)


def busy_cores(seconds: float) -> float:
    """Cores that are busy now, on average over so many seconds."""
    return psutil.cpu_percent(seconds) / 100 * (psutil.cpu_count() or 1)


def processor_seconds(stack: Stack, parts: Collection[str]) -> dict[str, float]:
    """Seconds of processor time, user's and system's, since each part began; of children that ended, too."""
    return {name: _seconds(pid) for name, pid in _pids(stack).items() if name in parts}


def resident(stack: Stack, parts: Collection[str]) -> dict[str, float]:
    """Resident megabytes of each part."""
    return {name: processes.memory(pid) / 1e6 for name, pid in _pids(stack).items() if name in parts}


def between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each part spent in between."""
    return {name: after[name] - before[name] for name in after}


def _pids(stack: Stack) -> dict[str, int]:
    return {one.name: one.pid for one in stack.states() if one.pid}


def _seconds(pid: int) -> float:
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        head = psutil.Process(pid)
        for one in (head, *head.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total
