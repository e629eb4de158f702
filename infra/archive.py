"""The log at rest: Parquet by system and day, written by the recorder, read with DuckDB by training and monitoring."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import Unavailable
from contracts.records import ItemRecord, OutcomeRecord, PredictionRecord
from contracts.system import System
from infra import archive_files as files
from infra.archive_tables import parts
from infra.breather import Breather

if TYPE_CHECKING:
    import pandas as pd

    from infra.archive_reader import ArchiveReader


class ParquetArchive:
    """`folder`/KIND/system=X/day=D for the kinds predictions, outcomes and items, with any readers.
    The recorder is the one writer of the first two; a catalogue is taken in beside it, as items.

    Every interval of time is half-open: `since` ≤ `at` < `until`. `at` is in seconds since the epoch, UTC.
    """

    def __init__(self, folder: Path, breather: Breather | None = None) -> None:
        self._folder = folder
        self._breather = breather or Breather()
        self._retired = files.Retired()

    def append(self, records: Sequence[PredictionRecord | OutcomeRecord | ItemRecord]) -> None:
        """On the disk when it returns. `InvalidInput` when a record fits no table, `Unavailable` when the disk fails;
        either way some of the records may be written: append them again, twice is once."""
        made = list(parts(records, self._breather))
        try:
            for part in made:
                files.write(self._folder, part, self._retired, self._breather)
        except OSError as error:
            raise Unavailable(f"The archive in {self._folder} cannot be written: {error.strerror or error}.") from error

    def predictions(
        self, system: System, since: datetime, until: datetime, only: Collection[str] | None = None
    ) -> "pd.DataFrame":
        """One row a candidate, in the order of `at`, prediction and position.

        Columns: prediction_id, position (in the rows), place (where it was shown, −1 if not), item, at,
        model_version, variant, score, propensity (NaN where not shown), review, degraded ("; "-joined), then the row
        columns and `system.features.names`; a feature that a prediction was made without is NaN. Of row
        columns and features those that `only` names, if it is given: monitoring needs no strings of a million rows.
        """
        return self._reader.predictions(system, since, until, only)

    def labelled(
        self, system: System, since: datetime, until: datetime, now: datetime, only: Collection[str] | None = None
    ) -> "pd.DataFrame":
        """The rows of `predictions` whose label is known at `now`, with `reviewed` (bool) and the target (float64).

        A label that a reviewer gave is known once it is received, whether the row was shown or not: that of the outcome
        that occurred last. Otherwise shown rows with `at` + label delay ≤ `now` have the label of the client's outcome
        of the same prediction and item that occurred last within [`at`, `at` + label delay], and without any 0.0. Of
        two outcomes at one moment the one first received later holds.
        """
        return self._reader.labelled(system, since, until, now, only)

    def outcomes(self, system: System, since: datetime, until: datetime) -> "pd.DataFrame":
        """Outcomes that occurred in the interval, each once: prediction_id, item, label, occurred_at, received_at and
        source (`client` or `review`)."""
        return self._reader.outcomes(system, since, until)

    def items(self, system: System) -> "pd.DataFrame":
        """The catalogue of a system with a stage one, by publication: `Retrieval.items`' id, `at` and columns; of each
        item the record that was received last. `InvalidInput` when an item lacks a column that has no default."""
        return self._reader.items(system)

    def latest(self, system: System) -> datetime | None:
        """When the newest prediction was made; it costs a look at the last day's files."""
        return self._reader.latest(system)

    def prediction(self, prediction_id: str, system: str | None = None) -> PredictionRecord | None:
        """The record of one prediction, for an audit; without the system's name all systems are searched."""
        return self._reader.prediction(prediction_id, system)

    def compact(self, system: str, day: date) -> None:
        """Merge a day's small files; safe at any time, beside readers, and when it is killed."""
        try:
            files.compact(self._folder, system, day, self._retired, self._breather)
        except OSError as error:
            raise Unavailable(f"The archive in {self._folder} cannot be compacted: {error}.") from error

    @cached_property
    def _reader(self) -> "ArchiveReader":
        from infra.archive_reader import ArchiveReader  # pandas and DuckDB: 70 MB that the recorder never needs

        return ArchiveReader(self._folder)
