"""Rows of a user's file that could not become events: each with its line, the reason in words and what stood there."""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

HEADER = ("line", "reason", "raw")


@dataclass(frozen=True)
class Reject:
    """A row that was refused."""

    line: int  # its first line in the file, counted from 1; in Parquet its row, counted from 1
    reason: str
    raw: str


class RejectFile:
    """The reject file of one ingested file: written aside and put in place at the end, so that twice is once.

    A run in which nothing was rejected leaves none, and takes an older one away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._empty = True
        self._unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._unfinished.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(HEADER)
        return self

    def add(self, rejects: Iterable[Reject]) -> None:
        for reject in rejects:
            self._writer.writerow((reject.line, reject.reason, reject.raw))
            self._empty = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if error is None and not self._empty:
            self._unfinished.replace(self.path)
            return
        self._unfinished.unlink()
        if error is None:
            self.path.unlink(missing_ok=True)
