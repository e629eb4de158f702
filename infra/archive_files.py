"""The archive's folder: immutable Parquet files by kind, system and day, that appear whole or not at all.

A file is named by the layout of its columns and by what is in it, so the same batch written again is the same file.
The writer merges a day's small files when there are many; a reader in between sees rows twice, never not at all.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from infra.archive_tables import Part

MANY_FILES = 128  # small files of one day that are merged in passing: about two minutes of the recorder's batches
SMALL_BYTES = 32 * 2**20  # a file above this is left as it is, so that merging stays cheap however long the day
ABANDONED_SECONDS = 3600.0  # a temporary file this old belongs to a writer that was killed
DAY = re.compile(r"day=(\d{4}-\d{2}-\d{2})")


def write(root: Path, part: Part) -> None:
    """Make the part durable: written beside, flushed to the disk, then renamed. Raises OSError."""
    folder = root / part.kind / f"system={part.system}" / f"day={part.day}"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{_layout(part.table)}-{_digest(part.ids)}.parquet", part.table)
    if len(small := _small(folder)) >= MANY_FILES:
        _merge(folder, small)


def compact(root: Path, system: str, day: date) -> None:
    """Merge the day's small files, for each layout of columns into one."""
    for kind in ("predictions", "outcomes", "items"):
        folder = root / kind / f"system={system}" / f"day={day}"
        if folder.is_dir():
            _merge(folder, _small(folder))


def days(root: Path, kind: str, system: str) -> list[date]:
    """The days of which there is something, in order."""
    folder = root / kind / f"system={system}"
    found = (DAY.fullmatch(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
    return sorted(date.fromisoformat(match[1]) for match in found if match)


def systems(root: Path) -> list[str]:
    """The systems whose predictions are here."""
    return sorted(entry.name.removeprefix("system=") for entry in (root / "predictions").glob("system=*"))


def listed(root: Path, kind: str, system: str, since: date, until: date) -> list[str]:
    """The files of the days from `since` to `until`, both included.

    A folder is not read at one moment: while files are merged a single listing could miss both a merged file and its
    parts. Two listings that agree cannot have, for the merged file is there before its parts go.
    """
    names = _names(root, kind, system, since, until)
    while (again := _names(root, kind, system, since, until)) != names:
        names = again
    return names


def _names(root: Path, kind: str, system: str, since: date, until: date) -> list[str]:
    wanted = [day for day in days(root, kind, system) if since <= day <= until]
    folders = [root / kind / f"system={system}" / f"day={day}" for day in wanted]
    return sorted(str(path) for folder in folders for path in folder.glob("*.parquet"))


def _small(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.parquet") if path.stat().st_size < SMALL_BYTES)


def _merge(folder: Path, files: Sequence[Path]) -> None:
    """One file for each layout, then its parts go. Killed in between, rows are there twice and read once."""
    for same in _by_layout(files):
        if len(same) < 2:
            continue
        tables = [pq.ParquetFile(path).read() for path in same]
        layout = same[0].name.partition("-")[0]
        _write(folder / f"{layout}-{_digest(path.name for path in same)}.parquet", _once(tables))
        for path in same:
            path.unlink(missing_ok=True)
    for path in folder.glob("*.tmp"):
        if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            path.unlink(missing_ok=True)


def _by_layout(files: Iterable[Path]) -> Iterator[list[Path]]:
    layouts: dict[str, list[Path]] = {}
    for path in files:
        layouts.setdefault(path.name.partition("-")[0], []).append(path)
    return iter(layouts.values())


def _once(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables, where predictions that several have come from the first of them.

    Readers rely on it: within a file a prediction is there once.
    """
    merged = pa.concat_tables(tables)
    if "position" not in merged.column_names:
        return merged
    prediction = merged["prediction_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    file = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    first = np.full(len(merged), len(tables))
    np.minimum.at(first, prediction, file)
    return merged.filter(pa.array(first[prediction] == file))


def _write(path: Path, table: pa.Table) -> None:
    beside = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    strings = [field.name for field in table.schema if field.type == pa.string()]
    try:
        with beside.open("wb") as file:
            pq.write_table(table, file, compression="zstd", compression_level=1, use_dictionary=strings)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """A rename is durable once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _layout(table: pa.Table) -> str:
    return hashlib.sha256(str(table.schema).encode()).hexdigest()[:8]


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:24]
