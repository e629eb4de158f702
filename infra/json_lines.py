"""Files of JSON lines, only ever appended to, by processes that may be killed while others read."""

import json
import logging
import os
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

FIRST_READ = 16_384  # bytes; as much again and again until there are lines enough
LOG = logging.getLogger("flywheel.json_lines")


def append(path: Path, line: Mapping[str, Any]) -> None:
    """In one write, so that no reader sees half of it; where a machine that lost its power cut the last line off, on a
    new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(line, default=datetime.isoformat).encode() + b"\n"
    with path.open("ab+", buffering=0) as file:
        if size := file.seek(0, os.SEEK_END):
            file.seek(size - 1)
            content = content if file.read(1) == b"\n" else b"\n" + content
        file.write(content)


def read(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The lines, or the last so many of them, oldest first; none where there is no file. One that was cut off is said
    and left out."""
    try:
        with path.open("rb") as file:
            lines = file.read().splitlines() if most is None else _last(file, most)
    except FileNotFoundError:
        return []
    found = []
    for line in filter(None, lines):
        try:
            found.append(json.loads(line))
        except ValueError:
            _tell(path)
    return found


@cache
def _tell(path: Path) -> None:
    """Once a process: such files are read over and over."""
    LOG.warning("%s holds a line that was cut off; it is left out.", path)


def _last(file: BinaryIO, most: int) -> list[bytes]:
    """Read from the end: such a file only ever grows, and pages and alarms ask for the newest."""
    end, size = file.seek(0, os.SEEK_END), FIRST_READ
    while True:
        start = max(0, end - size)
        file.seek(start)
        found = file.read(end - start)
        if start == 0 or found.count(b"\n") > most:  # one more than asked for: the first may be cut in two
            return found.splitlines()[-most:]
        size *= 2
