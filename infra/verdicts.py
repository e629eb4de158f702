"""What monitoring found, window by window, at rest: one file of JSON lines a system, only ever appended to."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from contracts.records import Verdict
from infra import json_lines

TIMES = ("at", "since", "until", "served_since", "concept_since")


class VerdictFile:
    """Verdicts of all systems below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, verdict: Verdict) -> None:
        json_lines.append(self._path(verdict.system), asdict(verdict))

    def read(self, system: str, most: int = 1000) -> list[Verdict]:
        """The latest verdicts, oldest first."""
        return [_verdict(line) for line in json_lines.read(self._path(system), most)]

    def _path(self, system: str) -> Path:
        return self._folder / f"{system}.jsonl"


def _verdict(written: dict[str, Any]) -> Verdict:
    times = {name: datetime.fromisoformat(written[name]) for name in TIMES if written.get(name)}
    return Verdict(**{**written, **times, "drifted_columns": tuple(written["drifted_columns"])})
