"""One contender under one load: the generator beside it, what it cost, and how long its log took to follow."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.pace import Pace
from benchmarks.serving import usage
from benchmarks.serving.contenders import FLYWHEEL, Contender
from benchmarks.serving.load import Found, Load
from contracts.errors import Unavailable
from infra.log import STREAM
from infra.settings import ROOT, Settings, machine_environ
from infra.stack import Stack

CLOSED, OPEN = 4, 64  # connections; of the open form more than a queue that anybody would wait in
WARM_UP = 2.0  # seconds
LOOK, LOG_PATIENCE = 0.1, 600.0  # seconds between two looks at the log, and until it must have been recorded


@dataclass(frozen=True)
class Cost:
    """Processor milliseconds a request and resident megabytes, by component; the log's work until it was done."""

    processor: dict[str, float]
    memory: dict[str, float]
    behind: int  # entries of the log that the recorder had yet to take when the last answer came …
    drained: float  # … and the seconds until it had
    elsewhere: float  # cores, on average, that were busy with neither this contender's parts nor the generator
    work: float  # microseconds that a piece of work took meanwhile that is always the same: the machine's own pace


@dataclass(frozen=True)
class Point:
    """A load and what came of it."""

    connections: int
    rate: float | None  # that was asked for; None: closed
    found: Found
    cost: Cost


class Bench:
    """A contender that runs, and the loads put on it."""

    def __init__(self, contender: Contender, settings: Settings, stack: Stack) -> None:
        self.contender, self.settings, self._stack = contender, settings, stack

    def load(self, bodies: Path, seconds: float, rate: float | None, connections: int, seed: int = 0) -> Load:
        """A load on this contender."""
        flywheel = self.contender is FLYWHEEL
        return Load(
            host=self.settings.host,
            port=getattr(self.settings, self.contender.port),
            path=self.contender.path,
            headers={"Authorization": f"Bearer {self.settings.secret('api_key')}"} if flywheel else {},
            bodies=str(bodies),
            whole=self.contender.whole,
            seconds=seconds,
            connections=connections,
            rate=rate,
            seed=seed,
            ids=str(self.acknowledged) if flywheel else "",
        )

    @property
    def acknowledged(self) -> Path:
        """The file of the ids of all predictions that were answered under load."""
        return self.settings.path("benchmark", "acknowledged")

    def run(self, load: Load) -> Point:
        """Put a load on it, wait until its log has followed, and say what both cost."""
        parts = self.contender.parts
        before, machine = usage.processor_seconds(self._stack, parts), usage.Machine()
        with Pace() as pace:
            found = generated(load)
        memory, behind, ended = usage.resident(self._stack, parts), self._behind(), time.monotonic()
        self.wait_for_the_log()
        drained = time.monotonic() - ended if behind else 0.0
        spent = usage.between(before, usage.processor_seconds(self._stack, parts))
        each = {name: 1000 * seconds / max(1, found.due) for name, seconds in spent.items()}
        known = sum(spent.values()) + found.busy * found.seconds
        cost = Cost(each, memory, behind, drained, machine.elsewhere(known), pace.mean)
        return Point(load.connections, load.rate, found, cost)

    def _behind(self) -> int:
        """Entries of the log that the recorder has not taken yet."""
        if self.contender is not FLYWHEEL:
            return 0
        with redis.Redis.from_url(self.settings.log_redis) as client:
            length: Any = client.xlen(STREAM)
        return int(length)

    def wait_for_the_log(self) -> None:
        """Until the recorder has taken all there is; `Unavailable` when it does not."""
        deadline = time.monotonic() + LOG_PATIENCE
        while behind := self._behind():
            if time.monotonic() > deadline:
                raise Unavailable(f"The recorder is {behind} entries behind after {LOG_PATIENCE:g} s; see its log.")
            time.sleep(LOOK)


def generated(load: Load) -> Found:
    """What a process of its own finds that carries out the load."""
    return Found(**json.loads(ordered("benchmarks.serving.generator", asdict(load))))


def ordered(generator: str, order: Mapping[str, Any]) -> str:
    """What a process of that module prints when it is given the order; it ends with this call, however that ends."""
    done = subprocess.run(
        [sys.executable, "-m", generator],
        input=json.dumps(order),
        env={**machine_environ(), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"The load generator ended: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return done.stdout
