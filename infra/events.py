"""The event table: raw events of a system's source, at rest, as Parquet by day. History, files and the log fill it.

An event is known by its id within its day. Appending it again, from whatever file, changes nothing; so whoever appends
may crash anywhere and simply append again.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from contracts.errors import InvalidInput
from contracts.system import AT, System
from infra import day_parts

DAY = 86_400
TYPES = {"string": pa.string(), "float": pa.float64(), "integer": pa.int64()}


def columns(system: System) -> tuple[str, ...]:
    """The event table's columns: the source's id, `at`, the source's columns, and the target."""
    return tuple(_schema(system).names)


class EventTable:
    """Events by system and day under one folder. Any number of readers and writers, also of other processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, system: System, events: pd.DataFrame) -> int:
        """Append events (columns as `columns(system)`, `at` in seconds since the epoch): how many were new.

        On the disk when it returns. An id that is there already, or comes twice, counts once; the first one stays.
        """
        table = _table(system, events)
        added = 0
        with self._locked(system, fcntl.LOCK_EX):
            for day, rows in _by_day(self._new(system, table)):
                day_parts.add(self._day(system, day), rows)
                added += rows.num_rows
        return added

    def read(self, system: System, since: datetime, until: datetime) -> pd.DataFrame:
        """Events with since ≤ at < until, ordered by `at`, then id. A column that older events lack takes the
        source's optional value."""
        low, high = since.timestamp(), until.timestamp()
        with self._locked(system, fcntl.LOCK_SH):
            files = self._files(system, int(low // DAY), int(high // DAY))
            frame = (
                _select(files, system.features.source.id, low, high) if files else pd.DataFrame(columns=columns(system))
            )
        return _complete(system, frame)

    def span(self, system: System) -> tuple[datetime, datetime] | None:
        """When the first and the last event happened; None when there is none."""
        with self._locked(system, fcntl.LOCK_SH):
            days = self._days(system)
            if not days:
                return None
            files = self._files(system, days[0], days[0]) + self._files(system, days[-1], days[-1])
            with duckdb.connect() as connection:
                [(first, last)] = day_parts.scan(connection, files).aggregate('min("at"), max("at")').fetchall()
        return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)

    def count(self, system: System) -> int:
        """How many events there are."""
        with self._locked(system, fcntl.LOCK_SH):
            return sum(part.rows for day in self._days(system) for part in day_parts.live(self._day(system, day)))

    def watermark(self, system: System, name: str) -> datetime | None:
        """Up to when the source called `name` has been taken in; None when it never was."""
        at = self._watermarks(system).get(name)
        return None if at is None else datetime.fromisoformat(at)

    def set_watermark(self, system: System, name: str, at: datetime) -> None:
        """Remember that the source called `name` has been taken in up to `at`; to be called after its append."""
        with self._locked(system, fcntl.LOCK_EX):
            path = self._folder / system.name / "watermarks.json"
            unfinished = path.with_suffix(".part")
            unfinished.write_text(json.dumps({**self._watermarks(system), name: at.isoformat()}))
            day_parts.publish(unfinished, path)

    def _watermarks(self, system: System) -> dict[str, str]:
        path = self._folder / system.name / "watermarks.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _new(self, system: System, table: pa.Table) -> pa.Table:
        """The events that are not there yet, in order."""
        days = {int(at // DAY) for at in table[AT].unique().to_pylist()}
        files = [part.path for day in sorted(days) for part in day_parts.live(self._day(system, day))]
        key = _quoted(system.features.source.id)
        with duckdb.connect() as connection:
            incoming = connection.from_arrow(table)
            if files:
                incoming = incoming.join(day_parts.scan(connection, files), key, how="anti")
            new: pa.Table = incoming.order(f'"at", {key}').to_arrow_table()
        return new

    def _files(self, system: System, first: int, last: int) -> list[Path]:
        days = [day for day in self._days(system) if first <= day <= last]
        return [part.path for day in days for part in day_parts.live(self._day(system, day))]

    def _days(self, system: System) -> list[int]:
        """Days (since the epoch) that hold events, in order."""
        folders = (self._folder / system.name).glob("day=*")
        epoch = datetime.fromtimestamp(0, UTC)
        days = [(datetime.fromisoformat(f.name[4:]).replace(tzinfo=UTC) - epoch).days for f in folders]
        return sorted(day for day in days if day_parts.live(self._day(system, day)))

    def _day(self, system: System, day: int) -> Path:
        date = datetime.fromtimestamp(0, UTC) + timedelta(days=day)
        return self._folder / system.name / f"day={date:%Y-%m-%d}"

    @contextmanager
    def _locked(self, system: System, how: int) -> Iterator[None]:
        """Hold the system's lock: what is there may not change between looking and writing. A crash releases it."""
        path = self._folder / system.name / ".lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            fcntl.flock(file, how)
            yield


def _schema(system: System) -> pa.Schema:
    source = system.features.source
    kinds = {**source.columns, system.task.target: "float"}
    fields = [(name, TYPES[kind]) for name, kind in kinds.items()]
    return pa.schema([(source.id, pa.string()), (AT, pa.float64()), *fields])


def _table(system: System, events: pd.DataFrame) -> pa.Table:
    """The events with exactly the table's columns and types, each id once."""
    schema = _schema(system)
    if missing := [name for name in schema.names if name not in events]:
        raise InvalidInput(f"Events of {system.name} lack {', '.join(missing)}.", missing[0])
    if not np.isfinite(events[AT].to_numpy(dtype=np.float64)).all():
        raise InvalidInput(f"Events of {system.name} have an `at` that is not a number of seconds.", AT)
    once = events.drop_duplicates(system.features.source.id)
    try:
        return pa.Table.from_pandas(once[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(f"Events of {system.name} do not fit its source: {error.args[-1]}.") from error


def _by_day(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Slices of a table that is ordered by `at`, one a day."""
    days = (table[AT].to_numpy() // DAY).astype(np.int64)
    values, starts = np.unique(days, return_index=True)
    for day, start, rows in zip(values, starts, np.diff(starts, append=len(days)), strict=True):
        yield int(day), table.slice(int(start), int(rows))


def _select(files: list[Path], key: str, since: float, until: float) -> pd.DataFrame:
    with duckdb.connect() as connection:
        rows = day_parts.scan(connection, files).filter(f'"at" >= {since!r} AND "at" < {until!r}')
        frame: pd.DataFrame = rows.order(f'"at", {_quoted(key)}').df()
    return frame


def _complete(system: System, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every column of the source: what older events lack takes its optional value."""
    for name, value in system.features.source.optional.items():
        frame[name] = frame[name].fillna(value) if name in frame else value
    return frame.reindex(columns=list(columns(system)))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
