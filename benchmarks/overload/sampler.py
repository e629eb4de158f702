"""`python -m benchmarks.overload.sampler SECONDS FILE NAME=PID …`: what each part's threads did, ten times in 0.1 s.

Linux' schedstat says of each thread for how long it ran and for how long it had work and no core to do it on.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from infra.settings import ROOT, machine_environ

EVERY = 0.01  # seconds
AGAIN = 1.0  # seconds between two looks at which threads there are
GRACE = 10.0  # seconds that the sampler may take to write its file


@dataclass(frozen=True)
class Sampled:
    """Samples of n parts: `at` (samples), `ran` and `queued` (samples × parts), milliseconds since the first sample."""

    names: tuple[str, ...]
    at: NDArray[np.float64]
    ran: NDArray[np.float64]
    queued: NDArray[np.float64]

    def around(self, begin: float, end: float) -> dict[str, tuple[float, float]]:
        """Milliseconds that each part ran and was queued between two moments of the monotonic clock."""
        if not len(self.at):
            return {}
        first, last = np.clip(np.searchsorted(self.at, (begin, end)), 0, len(self.at) - 1)
        ran, queued = self.ran[last] - self.ran[first], self.queued[last] - self.queued[first]
        return {name: (float(ran[at]), float(queued[at])) for at, name in enumerate(self.names)}


@contextmanager
def sampling(pids: Mapping[str, int], seconds: float, path: Path) -> Iterator[None]:
    """A sampler beside what is done within the context; its file is whole after it."""
    named = [f"{name}={pid}" for name, pid in pids.items()]
    command = [sys.executable, "-m", "benchmarks.overload.sampler", str(seconds), str(path), *named]
    process = subprocess.Popen(command, env=dict(machine_environ()), cwd=ROOT)
    try:
        yield
        process.wait(seconds + GRACE)
    finally:
        process.kill()
        process.wait()


def sampled(path: Path) -> Sampled:
    """What a sampler wrote."""
    with np.load(path) as found:
        return Sampled(tuple(found["names"].tolist()), found["at"], found["ran"], found["queued"])


def _take(heads: Sequence[int], seconds: float) -> tuple[list[float], list[list[tuple[int, int]]]]:
    """Moments, and of each part the nanoseconds that its threads ran and were queued. A thread that ends keeps what it
    had at the last look, so that the sums never fall."""
    end, looked = time.monotonic() + seconds, 0.0
    at: list[float] = []
    found: list[list[tuple[int, int]]] = []
    known: list[dict[str, tuple[int, int]]] = [{} for _ in heads]
    while (now := time.monotonic()) < end:
        if now - looked > AGAIN:
            looked = now
            for threads, pid in zip(known, heads, strict=True):
                threads.update({path: threads.get(path, (0, 0)) for path in _threads(pid)})
        for threads in known:
            for path in threads:
                with suppress(OSError, ValueError):
                    ran, queued, _ = Path(path).read_bytes().split()
                    threads[path] = (int(ran), int(queued))
        at.append(now)
        found.append([(sum(a for a, _ in each.values()), sum(b for _, b in each.values())) for each in known])
        time.sleep(EVERY)
    return at, found


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
    at, found = _take([int(pid) for pid in pids], float(seconds))
    sums = np.array(found, dtype=np.float64).reshape(-1, len(names), 2) / 1e6
    since = sums - sums[:1]
    np.savez(path, names=np.array(names), at=np.array(at), ran=since[..., 0], queued=since[..., 1])


if __name__ == "__main__":
    main()
