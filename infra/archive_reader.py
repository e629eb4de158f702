"""Reading the archive: which files a question needs, and asking again when they are merged away under it."""

import time
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import NotFound, Unavailable
from contracts.records import PredictionRecord
from contracts.system import System
from infra import archive_files as files
from infra import archive_query as query
from infra.archive_tables import record_of

DAY = timedelta(days=1)
FIRST, LAST = date.min, date.max
PATIENCE = 10.0  # seconds for a read whose files are being merged away under it; five tries at once were not enough
PAUSE = 0.01  # seconds between two tries

T = TypeVar("T")


class ArchiveReader:
    """The reading half of ParquetArchive, which says what each question means."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def predictions(
        self, system: System, since: datetime, until: datetime, only: Collection[str] | None
    ) -> pd.DataFrame:
        def ask() -> pd.DataFrame:
            listed = self._listed("predictions", system.name, since, until)
            return query.predictions(system, listed, since, until, only)

        return self._read(ask)

    def labelled(
        self, system: System, since: datetime, until: datetime, now: datetime, only: Collection[str] | None
    ) -> pd.DataFrame:
        until_outcome = max(_shifted(until, system.requirements.label_delay), now)  # a reviewer may come any time

        def ask() -> pd.DataFrame:
            served = self._listed("predictions", system.name, since, until)
            outcomes = self._listed("outcomes", system.name, since, until_outcome)
            return query.labelled(system, (served, outcomes), (since, until), now, only)

        return self._read(ask)

    def outcomes(self, system: System, since: datetime, until: datetime) -> pd.DataFrame:
        return self._read(lambda: query.outcomes(self._listed("outcomes", system.name, since, until), since, until))

    def items(self, system: System) -> pd.DataFrame:
        if (retrieval := system.model.retrieval) is None:
            raise NotFound(f"{system.name} has no catalogue of items, for its model has no stage one.")
        return self._read(
            lambda: query.items(retrieval.items, files.listed(self._folder, "items", system.name, FIRST, LAST))
        )

    def latest(self, system: System) -> datetime | None:
        days = files.days(self._folder, "predictions", system.name)
        if not days:
            return None
        found = self._read(lambda: query.latest(files.listed(self._folder, "predictions", system.name, days[-1], LAST)))
        return None if found is None else datetime.fromtimestamp(found, UTC)

    def prediction(self, prediction_id: str, system: str | None = None) -> PredictionRecord | None:
        for name in [system] if system else files.systems(self._folder):
            if (table := self._read(partial(self._rows_of, prediction_id, name))) is not None:
                return record_of(table, name)
        return None

    def _rows_of(self, prediction_id: str, system: str) -> pa.Table | None:
        listed = files.listed(self._folder, "predictions", system, FIRST, LAST)
        path = query.holding(listed, prediction_id) if listed else None
        if path is None:
            return None
        return pq.read_table(path, filters=[("prediction_id", "=", prediction_id)], partitioning=None)

    def _listed(self, kind: str, system: str, since: datetime, until: datetime) -> list[str]:
        """A day more on both sides: files go by the time of the record, and rows may have one of their own."""
        return files.listed(self._folder, kind, system, _shifted(since, -DAY).date(), _shifted(until, DAY).date())

    def _read(self, ask: Callable[[], T]) -> T:
        """Asked again when files were merged away between being listed and being read."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return ask()
            except (duckdb.IOException, duckdb.InvalidInputException, OSError) as error:
                if time.monotonic() > deadline:
                    raise Unavailable(f"The archive in {self._folder} cannot be read: {error}.") from error
            time.sleep(PAUSE)


def _shifted(at: datetime, by: timedelta) -> datetime:
    """`at` + `by` in UTC, at most as far as datetimes go."""
    try:
        return at.astimezone(UTC) + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta(0) else datetime.min.replace(tzinfo=UTC)
