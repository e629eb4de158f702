"""The recorder at full speed: a log that is full, drained into Parquet by the process that `flywheel up` starts."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
import redis

from benchmarks.isolated import settings_in
from benchmarks.paths.plan import SEED, TIMES, Plan
from benchmarks.paths.runs import Say, redis_alone
from benchmarks.serving.ranking import SYSTEM
from contracts.errors import FlywheelError, Unavailable
from contracts.records import PredictionRecord
from infra.components import component, environ_of
from infra.log import STREAM
from infra.log_codec import encode
from infra.settings import ROOT, Settings
from services.recorder.recorder import MOST_RECORDS

ROWS = (1, 8)  # of a record
CHUNK = 1_000  # records a round trip
PATIENCE, LOOK = 120.0, 0.005  # seconds
STOP = 15.0


@dataclass(frozen=True)
class Drain:
    """From when the first batch is in the archive to when all are: the start of the process is not in it, and neither
    are the records of that batch."""

    records: int
    seconds: float
    processor: float  # seconds, the recorder's alone
    memory: float  # resident gigabytes of the recorder when it was done


def measure(plan: Plan, folder: Path, say: Say) -> dict[str, Any]:
    """Drains by rows a record and size; FlywheelError when a record is not in the archive."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    settings, filled = settings_in(folder), 0
    with redis_alone(settings) as client:
        for rows in ROWS:
            found[str(rows)] = {str(times): [] for times in TIMES}
            for _ in range(plan.repeats):
                for times in TIMES:
                    count = times * plan.records + MOST_RECORDS
                    fill(client, filled, count, rows)
                    filled += count
                    drain = drained(settings, client, count)
                    found[str(rows)][str(times)].append(asdict(drain))
                    rate, share = drain.records / drain.seconds, drain.processor / drain.seconds
                    what = f"{drain.records:,} records of {rows} rows"
                    say(f"{what}: {rate:,.0f} a second, {share:.0%} of a core")
    if (written := archived(settings)) != filled:
        raise FlywheelError(f"{filled:,} records were in the log and {written:,} are in the archive.")
    return {"drains": found, "sizes": {"features": len(SYSTEM.features.names)}, "archived": written}


def fill(client: redis.Redis, first: int, count: int, rows: int) -> None:
    """Append so many records, as the gateway writes them, to the log."""
    random = np.random.default_rng([SEED, first])
    for start in range(first, first + count, CHUNK):
        with client.pipeline(transaction=False) as adding:
            for number in range(start, min(start + CHUNK, first + count)):
                adding.xadd(STREAM, encode(_record(number, rows, random)))  # type: ignore[arg-type]  # str keys are fine
            adding.execute()


def drained(settings: Settings, client: redis.Redis, count: int) -> Drain:
    """Start the recorder on a log of so many entries, and end it when the log is empty."""
    with _recorder(settings) as process:
        _waited(process, client, count - 1)
        began, before = time.perf_counter(), _processor(process)
        _waited(process, client, 0)
        seconds = time.perf_counter() - began
        return Drain(count - MOST_RECORDS, seconds, _processor(process) - before, process.memory_info().rss / 1e9)


@contextmanager
def _recorder(settings: Settings) -> Iterator[psutil.Process]:
    one = component(settings, "recorder")
    with settings.path("logs", "recorder.log").open("a") as log:
        started = subprocess.Popen(one.command, env=environ_of(one, settings), cwd=ROOT, stdout=log, stderr=log)
    try:
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait(STOP)


def _waited(process: psutil.Process, client: redis.Redis, most: int) -> int:
    """Wait until at most so many entries are in the log: how many there are then."""
    deadline = time.monotonic() + PATIENCE
    while (left := int(client.xlen(STREAM))) > most:  # type: ignore[arg-type]  # redis-py's type is of both clients
        if not process.is_running() or time.monotonic() > deadline:
            raise Unavailable(f"The recorder left {left:,} entries in the log; see logs/recorder.log.")
        time.sleep(LOOK)
    return left


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _record(number: int, rows: int, random: np.random.Generator) -> PredictionRecord:
    names, now = SYSTEM.features.names, datetime.now(UTC)
    items = [f"i{item}" for item in random.integers(20_000, size=rows).tolist()]
    scores = random.random(rows)
    user, shown = f"u{random.integers(50_000)}", np.argsort(-scores)
    return PredictionRecord(
        prediction_id=f"{number:032x}",
        system=SYSTEM.name,
        at=now,
        model_version="1",
        variant="champion",
        request={"user_id": user, "item_ids": items},
        rows={
            "user_id": np.full(rows, user, dtype=object),
            "item_id": np.array(items, dtype=object),
            "at": np.full(rows, now.timestamp()),
        },
        feature_names=names,
        features=random.poisson(20, (rows, len(names))).astype(np.float32),
        scores=scores,
        shown=shown,
        propensity=np.ones(rows),
        result={"item_ids": [items[place] for place in shown.tolist()], "scores": np.sort(scores)[::-1].tolist()},
    )


def archived(settings: Settings) -> int:
    """How many records are in the archive."""
    files = settings.state_dir / "log" / "predictions" / f"system={SYSTEM.name}" / "*" / "*.parquet"
    with duckdb.connect() as database:
        query = "SELECT count(DISTINCT prediction_id) FROM read_parquet(?)"
        [(count,)] = database.execute(query, [str(files)]).fetchall()
    return int(count)
