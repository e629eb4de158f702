"""What monitoring found, window by window, at rest: one file of JSON lines a system, only ever appended to."""

import json
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from contracts.records import Verdict

FIRST_READ = 16_384  # bytes; as much again and again until there are lines enough
TIMES = ("at", "since", "until", "served_since", "concept_since")


class VerdictFile:
    """Verdicts of all systems below one folder. A line is written in one call, so a reader never sees half of one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, verdict: Verdict) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps(asdict(verdict), default=datetime.isoformat) + "\n"
        with self._path(verdict.system).open("a", encoding="utf-8") as file:
            file.write(line)

    def read(self, system: str, most: int = 1000) -> list[Verdict]:
        """The latest verdicts, oldest first."""
        try:
            with self._path(system).open("rb") as file:
                return [_verdict(json.loads(line)) for line in _last(file, most)]
        except FileNotFoundError:
            return []

    def _path(self, system: str) -> Path:
        return self._folder / f"{system}.jsonl"


def _last(file: BinaryIO, most: int) -> list[bytes]:
    """The last lines of a file, read from its end: it only ever grows, and pages and alarms ask for the newest."""
    end, size = file.seek(0, os.SEEK_END), FIRST_READ
    while True:
        start = max(0, end - size)
        file.seek(start)
        found = file.read(end - start)
        if start == 0 or found.count(b"\n") > most:  # one more than asked for: the first may be cut in two
            return found.splitlines()[-most:]
        size *= 2


def _verdict(written: dict[str, Any]) -> Verdict:
    times = {name: datetime.fromisoformat(written[name]) for name in TIMES if written.get(name)}
    return Verdict(**{**written, **times, "drifted_columns": tuple(written["drifted_columns"])})
