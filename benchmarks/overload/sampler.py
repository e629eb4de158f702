"""`python -m benchmarks.overload.sampler SECONDS FILE NAME=PID …`: what each part's threads did, ten times in 0.1 s.

Linux' schedstat says of each thread for how long it ran and for how long it had work and no core to do it on. How quick
the machine itself was then, a small piece of work says that is always the same (`benchmarks/pace.py`).
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.pace import worked
from contracts.errors import Unavailable
from infra.settings import ROOT, machine_environ

EVERY = 0.01  # seconds
AGAIN = 1.0  # seconds between two looks at which threads there are, and which of them did anything since the last
AFTER = 2.0  # seconds that it goes on for after what it is beside: making its file takes a processor
GRACE = 10.0  # seconds that the sampler may take to write its file
BEGUN = "sampling\n"  # what it says after its first sample: imports take it a second


@dataclass(frozen=True)
class Sampled:
    """Samples of n parts: `at` (samples), `ran` and `queued` (samples × parts), milliseconds since the first sample;
    `took` (samples), the processor time of the same piece of work."""

    names: tuple[str, ...]
    at: NDArray[np.float64]
    ran: NDArray[np.float64]
    queued: NDArray[np.float64]
    took: NDArray[np.float64]

    def around(self, begin: float, end: float) -> dict[str, tuple[float, float]]:
        """Milliseconds that each part ran and was queued between two moments of the monotonic clock."""
        if not len(self.at):
            return {}
        first, last = np.clip(np.searchsorted(self.at, (begin, end)), 0, len(self.at) - 1)
        ran, queued = self.ran[last] - self.ran[first], self.queued[last] - self.queued[first]
        return {name: (float(ran[at]), float(queued[at])) for at, name in enumerate(self.names)}

    def slowness(self, begin: float, end: float) -> float:
        """How many times as long as in the middle sample the piece of work took, on average, between two moments; NaN
        where no sample lies between them."""
        there = (self.at >= begin) & (self.at <= end)
        return float(self.took[there].mean() / np.median(self.took)) if there.any() else float("nan")


@contextmanager
def sampling(pids: Mapping[str, int], seconds: float, path: Path) -> Iterator[None]:
    """A sampler beside what is done within the context, from its beginning; its file is whole after it."""
    named = [f"{name}={pid}" for name, pid in pids.items()]
    command = [sys.executable, "-m", "benchmarks.overload.sampler", str(seconds + AFTER), str(path), *named]
    process = subprocess.Popen(command, env=dict(machine_environ()), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            if process.stdout is None or process.stdout.readline() != BEGUN:
                raise Unavailable("The sampler ended before its first sample; what it said stands above.")
            yield
            process.wait(seconds + AFTER + GRACE)
        finally:
            process.kill()


def sampled(path: Path) -> Sampled:
    """What a sampler wrote."""
    with np.load(path) as found:
        return Sampled(tuple(found["names"].tolist()), found["at"], found["ran"], found["queued"], found["took"])


class Part:
    """A process with all that it started. A thread that ends keeps what it had last, so no sum ever falls."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._known: dict[str, tuple[int, int]] = {}
        self._looked: dict[str, tuple[int, int]] = {}  # what was known at the last look
        self._busy: list[str] = []  # those that are read each time; most threads do nothing for minutes

    def look(self) -> None:
        """Which threads there are, and which of them have run since the last look."""
        for path in _threads(self._pid):
            self._known.setdefault(path, (0, 0))
        self._read(self._known)
        self._busy = [path for path, now in self._known.items() if now != self._looked.get(path)]
        self._looked = dict(self._known)

    def sums(self) -> tuple[int, int]:
        """Nanoseconds that its threads ran, and were queued."""
        self._read(self._busy)
        return sum(ran for ran, _ in self._known.values()), sum(queued for _, queued in self._known.values())

    def _read(self, paths: Iterable[str]) -> None:
        for path in paths:
            with suppress(OSError, ValueError):
                ran, queued, _ = Path(path).read_bytes().split()
                self._known[path] = int(ran), int(queued)


def _take(heads: Sequence[int], seconds: float) -> tuple[list[float], list[list[tuple[int, int]]], list[int]]:
    """Moments; of each part its sums; nanoseconds of processor time that the piece of work took."""
    end, looked = time.monotonic() + seconds, 0.0
    at: list[float] = []
    found: list[list[tuple[int, int]]] = []
    took: list[int] = []
    parts = [Part(pid) for pid in heads]
    while (now := time.monotonic()) < end:
        if now - looked > AGAIN:
            looked = now
            for part in parts:
                part.look()
        at.append(now)
        found.append([part.sums() for part in parts])
        took.append(worked())
        if len(at) == 1:
            sys.stdout.write(BEGUN)
            sys.stdout.flush()
        time.sleep(EVERY)
    return at, found, took


def _threads(pid: int) -> list[str]:
    """The files of all threads of a process and its descendants."""
    with suppress(psutil.NoSuchProcess, OSError):
        head = psutil.Process(pid)
        family = [head, *head.children(recursive=True)]
        return [str(task / "schedstat") for one in family for task in Path(f"/proc/{one.pid}/task").iterdir()]
    return []


def main() -> None:
    """Sample, then write."""
    seconds, path, *named = sys.argv[1:]
    names, pids = zip(*(one.split("=") for one in named), strict=True)
    at, found, took = _take([int(pid) for pid in pids], float(seconds))
    sums = np.array(found, dtype=np.float64).reshape(-1, len(names), 2) / 1e6
    since = sums - sums[:1]
    took_each = np.array(took, dtype=np.float64)
    np.savez(path, names=np.array(names), at=np.array(at), ran=since[..., 0], queued=since[..., 1], took=took_each)


if __name__ == "__main__":
    main()
