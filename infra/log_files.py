"""The logs of the stack's processes: state/logs/NAME.log, the one before it as NAME.log.1, neither without bound."""

import os
import shutil
from pathlib import Path

MOST = 10_000_000  # bytes
TAIL = 4096  # bytes read for the last line


def rotate(log: Path) -> None:
    """Begin a new log and keep the last one; called when nobody writes to it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(_before(log))


def bound(log: Path) -> None:
    """Keep a log that is being written (by appending) within its bound; lines written meanwhile may be lost."""
    if log.exists() and log.stat().st_size > MOST:
        shutil.copyfile(log, _before(log))
        os.truncate(log, 0)


def last_line(log: Path) -> str:
    """What a program said last; empty when it said nothing."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _before(log: Path) -> Path:
    return log.with_name(log.name + ".1")
