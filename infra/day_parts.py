"""One day of a table at rest: a folder of Parquet parts that grows by appending and never shows a half-written state.

A part is named by the appends that it holds, `00000003-00000007.parquet`. Merging the parts 3 to 5 and 6 to 7 puts
that file in place in one rename; from then on it supersedes the parts whose range it covers, and they are deleted. A
crash between the two leaves files that no reader looks at, and the next append sweeps them away: there is no manifest
that could disagree with the folder.
"""

import glob
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

SUFFIX = ".parquet"
UNFINISHED = ".part"
SEALED_ROWS = 1_000_000  # a part this large is not rewritten any more, so that merging stays cheap


@dataclass(frozen=True, order=True)
class Part:
    """One file; it holds the appends `first` to `last` of its day."""

    first: int
    last: int
    path: Path

    @property
    def rows(self) -> int:
        return int(pq.read_metadata(self.path).num_rows)

    def covers(self, other: "Part") -> bool:
        return self != other and self.first <= other.first and other.last <= self.last


def live(folder: Path) -> list[Part]:
    """The parts to read, in the order of their appends."""
    parts = _all(folder)
    return sorted(part for part in parts if not any(other.covers(part) for other in parts))


def add(folder: Path, rows: pa.Table) -> None:
    """Append rows as a part of their own; on the disk when this returns. One writer at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    parts = live(folder)
    number = parts[-1].last + 1 if parts else 0
    path = _named(folder, number, number)
    unfinished = path.with_suffix(UNFINISHED)
    pq.write_table(rows, unfinished)
    publish(unfinished, path)
    _merge(folder)


def publish(unfinished: Path, path: Path) -> None:
    """Put the file under its final name, its bytes and its name on the disk."""
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def scan(connection: duckdb.DuckDBPyConnection, paths: list[Path]) -> duckdb.DuckDBPyRelation:
    """The rows of several parts, of any days, as one relation; a column that some of them lack is null there."""
    files = [glob.escape(str(path)) for path in paths]  # DuckDB takes every path for a pattern …
    return connection.read_parquet(files, union_by_name=True, hive_partitioning=False)  # … and day=… for a column


def _merge(folder: Path) -> None:
    """Merge the newest parts as long as each is small beside what follows it: few parts, each row rewritten seldom."""
    parts = live(folder)
    merged, rows = 0, 0
    for part in reversed(parts):
        if merged and (part.rows >= 2 * rows or part.rows >= SEALED_ROWS):
            break
        merged, rows = merged + 1, rows + part.rows
    if merged < 2:
        return
    old = parts[-merged:]
    path = _named(folder, old[0].first, old[-1].last)
    unfinished = path.with_suffix(UNFINISHED)
    _write_together([part.path for part in old], unfinished)
    publish(unfinished, path)
    for part in old:
        part.path.unlink()


def _write_together(sources: list[Path], target: Path) -> None:
    with duckdb.connect() as connection:
        scan(connection, sources).order('"at"').write_parquet(str(target))


def _sweep(folder: Path) -> None:
    """Delete what a crash left: files never finished, and parts that a merged one superseded."""
    kept = {part.path for part in live(folder)}
    for path in folder.iterdir():
        if path not in kept and path.suffix in (SUFFIX, UNFINISHED):
            path.unlink()


def _all(folder: Path) -> list[Part]:
    parts = []
    for path in folder.glob(f"*{SUFFIX}"):
        first, _, last = path.stem.partition("-")
        with suppress(ValueError):  # a file that somebody else put here
            parts.append(Part(int(first), int(last), path))
    return parts


def _named(folder: Path, first: int, last: int) -> Path:
    return folder / f"{first:08d}-{last:08d}{SUFFIX}"
