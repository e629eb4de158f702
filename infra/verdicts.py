"""What monitoring found, window by window, at rest: one file of JSON lines a system, only ever appended to."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from contracts.records import Verdict

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
            lines = self._path(system).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [_verdict(json.loads(line)) for line in lines[-most:]]

    def _path(self, system: str) -> Path:
        return self._folder / f"{system}.jsonl"


def _verdict(written: dict[str, Any]) -> Verdict:
    times = {name: datetime.fromisoformat(written[name]) for name in TIMES if written.get(name)}
    return Verdict(**{**written, **times, "drifted_columns": tuple(written["drifted_columns"])})
