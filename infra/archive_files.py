"""The archive's folder: immutable Parquet files by kind, system and day, that appear whole or not at all.

A file is named by the layout of its columns and by what is in it, so the same batch written again is the same file.
The writer merges small files in passing, a few of one level into one of the next, as in a log-structured merge tree: no
merge takes long, and no row is rewritten more often than there are levels. A reader in between sees rows twice, never
not at all.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from infra.archive_tables import Part
from infra.breather import Breather

MANY_FILES = 8  # of one day, layout and level, which become one of the next level
SMALL_BYTES = 2 * 2**20  # a file above this has no level: it is left as it is, however long the day
COMPACTED_BYTES = 32 * 2**20  # the same where a whole day is compacted
SPARSE = ("place", "propensity")  # one value in all rows but the few that were shown
TIMES = ("at", "occurred_at", "received_at")  # the columns by which readers choose files
GROUP_ROWS = 2**13  # of a row group, at most: writing one takes some milliseconds
KEPT_SECONDS = 30.0  # a merged file's parts stay for so long: three times what a reader tries for that has listed them
ABANDONED_SECONDS = 3600.0  # a temporary file this old belongs to a writer that was killed
DAY = re.compile(r"day=(\d{4}-\d{2}-\d{2})")


class Retired:
    """Files whose rows are in a merged one by now. They go a while later, for merges come every few seconds and a large
    read takes as long; those of a writer that is killed stay, to be merged again."""

    def __init__(self) -> None:
        self._since: dict[Path, float] = {}

    def __contains__(self, path: Path) -> bool:
        return path in self._since

    def add(self, paths: Iterable[Path]) -> None:
        """These are merged now."""
        self._since |= dict.fromkeys(paths, time.monotonic())

    def remove(self) -> None:
        """Remove what was merged long enough ago."""
        due = time.monotonic() - KEPT_SECONDS
        for path in [path for path, since in self._since.items() if since <= due]:
            path.unlink(missing_ok=True)
            del self._since[path]


def write(root: Path, part: Part, retired: Retired, breather: Breather) -> None:
    """Make the part durable: written beside, flushed to the disk, then renamed; and merge what there is enough of.
    `retired` is the writer's own, and it rests with the `breather`. Raises OSError."""
    folder = root / part.kind / f"system={part.system}" / f"day={part.day}"
    folder.mkdir(parents=True, exist_ok=True)
    layout, level = _layout(part.table), 0
    _write(folder, f"{layout}-{_digest(part.ids)}", part.table, level, breather)
    while len(same := _of_level(folder, layout, level, retired)) >= MANY_FILES:
        level += 1
        _merge(folder, same, level, breather)
        retired.add(same)
        _remove_abandoned(folder)
    retired.remove()


def compact(root: Path, system: str, day: date, retired: Retired, breather: Breather) -> None:
    """Merge the day's small files, for each layout of columns into one."""
    for kind in ("predictions", "outcomes", "items"):
        folder = root / kind / f"system={system}" / f"day={day}"
        if folder.is_dir():
            for same in _by_layout(path for path in _small(folder) if path not in retired):
                _merge(folder, same, None, breather)
                for path in same if len(same) > 1 else ():
                    path.unlink(missing_ok=True)
            _remove_abandoned(folder)


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


def _of_level(folder: Path, layout: str, level: int, retired: Retired) -> list[Path]:
    return sorted(path for path in folder.glob(f"{layout}-*.{level}.parquet") if path not in retired)


def _small(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.parquet") if path.stat().st_size < COMPACTED_BYTES)


def _merge(folder: Path, files: Sequence[Path], level: int | None, breather: Breather) -> None:
    """One file of all; until its parts go, rows are there twice and read once."""
    if len(files) < 2:
        return
    tables = [pq.ParquetFile(path).read(use_threads=False) for path in breather.each(files)]
    layout = files[0].name.partition("-")[0]
    _write(folder, f"{layout}-{_digest(path.name for path in files)}", _once(tables).combine_chunks(), level, breather)


def _remove_abandoned(folder: Path) -> None:
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


def _write(folder: Path, name: str, table: pa.Table, level: int | None, breather: Breather) -> None:
    """A file of that name, which says its level too unless it has none or is large enough to be left as it is."""
    beside = folder / f".{name}.{os.getpid()}.tmp"
    try:
        with beside.open("wb") as file:
            _write_parquet(table, file, breather)
            file.flush()
            os.fsync(file.fileno())
            merged_on = level is not None and file.tell() < SMALL_BYTES
        beside.replace(folder / f"{name}{f'.{level}' if merged_on else ''}.parquet")
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _flush_folder(folder)


def _write_parquet(table: pa.Table, file: BinaryIO, breather: Breather) -> None:
    """For little processor time: floats are split by byte, so that LZ4 will do (zstd's fastest level makes
    slightly smaller files for a good deal more of it), and statistics are written of the columns alone by whose
    intervals files are chosen."""
    kinds = {field.name: field.type for field in table.schema}
    floats = [name for name, kind in kinds.items() if pa.types.is_floating(kind) and name not in SPARSE]
    with pq.ParquetWriter(
        file,
        table.schema,
        compression="lz4",
        use_dictionary=[name for name, kind in kinds.items() if name in SPARSE or _plain(kind) == pa.string()],
        use_byte_stream_split=floats,
        write_statistics=[name for name in TIMES if name in kinds],
        store_schema=False,  # it would have the dictionaries of the table's own making read as such
    ) as writer:
        for group in breather.each(table.to_batches(max_chunksize=GROUP_ROWS)):
            writer.write_batch(group)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values, however they are encoded in memory."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _flush_folder(folder: Path) -> None:
    """A rename is durable once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _layout(table: pa.Table) -> str:
    plain = pa.schema([field.with_type(_plain(field.type)) for field in table.schema])
    return hashlib.sha256(str(plain).encode()).hexdigest()[:8]


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:24]
