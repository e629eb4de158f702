"""The newest findings of monitoring at rest: one JSON file a kind and system, replaced as a whole."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import TypeAdapter


class Finding(Protocol):
    """A frozen dataclass of `contracts.findings` that is about a system."""

    @property
    def system(self) -> str: ...


T = TypeVar("T", bound=Finding)


class FindingFiles:
    """Findings of all systems below one folder. A reader sees the old one or the new one, never half of one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, finding: Finding) -> None:
        """Replace the system's finding of this kind."""
        path = self._path(type(finding), finding.system)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        written = TypeAdapter(type(finding)).dump_python(finding)
        draft.write_text(json.dumps(written, default=datetime.isoformat), encoding="utf-8")  # with NaN as it is
        draft.replace(path)

    def read(self, kind: type[T], system: str) -> T | None:
        """The newest finding of this kind, None before the first."""
        try:
            written = self._path(kind, system).read_bytes()
        except FileNotFoundError:
            return None
        return TypeAdapter(kind).validate_json(written)

    def _path(self, kind: type[Finding], system: str) -> Path:
        return self._folder / f"{system}.{kind.__name__}.json"
