"""The retrain pipeline: the loop's return path. Log → ingest → materialize → train → promote, in one run.

Monitoring's event starts it through an automation, and events may come twice, late or in bursts: so one retraining of
a system at a time, and none within the cooldown after the last one that was started by itself. The lock is the kernel's
(it ends with the process, however that dies: a limit kept by Prefect would stay taken); the time is in a file.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

import systems
from contracts.errors import RefusedCandidate
from infra import wiring
from infra.settings import Settings
from pipelines import ingest, materialize, promote, train
from pipelines.deployments import REFUSED, SKIPPED


@flow(name="retrain")
def retrain(system: str, reason: str = "manual", cooldown_seconds: float | None = None) -> State[str]:
    """Bring in the log, train on what there is now, and let the gate decide.

    With `cooldown_seconds` (of the platform's time) nothing is done so soon after the last retraining.
    """
    settings, logger, loaded = Settings.load(), get_run_logger(), systems.load(system)
    with alone(settings.path("run", f"retrain-{system}.lock")) as mine:
        if not mine:
            return Completed(name=SKIPPED, message=f"Another retraining of {system} is running.", data=SKIPPED)
        record, now = settings.path("run", f"retrain-{system}.json"), wiring.clock(settings).now()
        if wait := remaining(record, now, cooldown_seconds):
            return Completed(name=SKIPPED, message=f"{system} was retrained lately; wait {wait}.", data=SKIPPED)
        remember(record, now, reason)
        logger.info(f"retraining {system}: {reason}")
        ingest.run(settings, loaded, None, logger.info)
        materialize.run(settings, loaded, now, logger.info)
        version = train.run(settings, loaded, "auto", reason, logger.info)
        try:
            promote.run(settings, loaded, version.version, logger.info)
        except RefusedCandidate as refusal:
            return Completed(name=REFUSED, message=str(refusal), data=REFUSED)
    return Completed(message=f"{system} version {version.version} is champion.", data=version.version)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether this process holds the lock; it is let go with the block, or with the process."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def remaining(record: Path, now: datetime, cooldown_seconds: float | None) -> timedelta | None:
    """How long the cooldown still lasts; None when it is over, or nothing was asked for, or never retrained."""
    if not cooldown_seconds or not record.exists():
        return None
    last = datetime.fromisoformat(json.loads(record.read_text())["at"])
    left = last + timedelta(seconds=cooldown_seconds) - now
    return left if left > timedelta(0) else None


def remember(record: Path, at: datetime, reason: str) -> None:
    """Write down when and why; a reader sees the old record or the new one, never half of one."""
    unfinished = record.with_suffix(".part")
    unfinished.write_text(json.dumps({"at": at.isoformat(), "reason": reason}))
    unfinished.replace(record)
