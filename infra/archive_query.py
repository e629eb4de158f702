"""What training and monitoring ask of the archive's files, in DuckDB: each row once, labels joined as of a moment.

Files differ in their columns when a system's features changed: they are read by name, and what a file lacks is NULL.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from contracts.errors import BrokenSystem
from contracts.system import AT, Source, System
from infra import archive_items
from infra.archive_tables import FEATURE, ROW

# The archive's own columns, in order, with the type of each in an empty frame.
OWN: dict[str, Any] = {
    "prediction_id": "object",
    "position": "int64",
    "place": "int64",
    "item": "object",
    AT: "float64",
    "model_version": "object",
    "variant": "object",
    "score": "float64",
    "propensity": "float64",
    "review": "bool",
    "degraded": "object",
}
REVIEWED = "reviewed"  # of a labelled row: whether its label is a reviewer's
OUTCOME = {
    "prediction_id": "object",
    "item": "object",
    "label": "float64",
    "occurred_at": "float64",
    "received_at": "float64",
    "source": "object",
}

# A prediction lies in one file as a whole and once, so of what was written twice the file that comes first is read:
# that takes a pass over two narrow columns, not a sort of wide rows.
SERVED = """
WITH log AS NOT MATERIALIZED (
  SELECT * FROM read_parquet($files, union_by_name = true, hive_partitioning = false, filename = true)
  WHERE position >= 0 AND "at" >= $since AND "at" < $until
), once AS (
  SELECT prediction_id, min(filename) AS filename FROM log GROUP BY prediction_id
), served AS NOT MATERIALIZED (
  SELECT {columns} FROM log JOIN once USING (prediction_id, filename)
)
"""
IN_ORDER = """ORDER BY "at", prediction_id, position"""

# An outcome that was sent again is the one received first; of two at one moment the one received later holds. Files
# from before there were reviewers lack `source`, perhaps all of them: the empty table brings the column in.
OUTCOMES = """
  SELECT prediction_id, item, label, occurred_at, min(received_at) AS received_at, coalesce(source, 'client') AS source
  FROM (
    SELECT * FROM read_parquet($outcomes, union_by_name = true, hive_partitioning = false)
    UNION ALL BY NAME SELECT NULL::VARCHAR AS source WHERE false
  ) GROUP BY ALL
"""
LABELLED = """, outcome AS (
  {outcomes}
), verdict AS (
  SELECT prediction_id, item, arg_max(label, (occurred_at, received_at, label)) AS label
  FROM outcome WHERE source = 'review' AND received_at <= $now GROUP BY ALL
), reviewed AS (
  SELECT prediction_id, position, verdict.label
  FROM served JOIN verdict USING (prediction_id) WHERE verdict.item IS NOT DISTINCT FROM served.item
), shown AS (
  SELECT prediction_id, position, item, "at" FROM served WHERE place >= 0 AND NOT review AND "at" + $delay <= $now
), label AS (
  SELECT prediction_id, position, arg_max(label, (occurred_at, received_at, label)) AS label
  FROM shown JOIN outcome USING (prediction_id)
  WHERE source = 'client' AND outcome.item IS NOT DISTINCT FROM shown.item
    AND occurred_at BETWEEN "at" AND "at" + $delay
  GROUP BY ALL
), known AS (
  SELECT prediction_id, position FROM shown UNION SELECT prediction_id, position FROM reviewed
)
SELECT served.*, reviewed.label IS NOT NULL AS reviewed, coalesce(reviewed.label, label.label, 0.0) AS {target}
FROM served JOIN known USING (prediction_id, position)
LEFT JOIN reviewed USING (prediction_id, position) LEFT JOIN label USING (prediction_id, position)
ORDER BY served."at", served.prediction_id, served.position
"""
NO_OUTCOMES = """
  SELECT NULL::VARCHAR AS prediction_id, NULL::VARCHAR AS item, NULL::DOUBLE AS label, NULL::DOUBLE AS occurred_at,
         NULL::DOUBLE AS received_at, NULL::VARCHAR AS source
"""


def predictions(
    system: System, files: Sequence[str], since: datetime, until: datetime, only: Collection[str] | None
) -> pd.DataFrame:
    """One row a candidate; see ParquetArchive.predictions."""
    if not files:
        return empty_frame(system, only)
    with _connected() as connection:
        sql = SERVED.format(columns=_columns(connection, system, files, only)) + f"SELECT * FROM served {IN_ORDER}"  # noqa: S608  # names are quoted
        return connection.execute(sql, _interval(files, since, until)).df()


def labelled(
    system: System,
    logged: tuple[Sequence[str], Sequence[str]],
    interval: tuple[datetime, datetime],
    now: datetime,
    only: Collection[str] | None,
) -> pd.DataFrame:
    """The rows whose labels are known, from files of predictions and of outcomes; see ParquetArchive.labelled."""
    (files, outcomes), target = logged, system.task.target
    if not files:
        return empty_frame(system, only).assign(
            **{REVIEWED: pd.Series(dtype="bool"), target: pd.Series(dtype="float64")}
        )
    delay = system.requirements.label_delay / timedelta(seconds=1)
    given = {"delay": delay, "now": now.timestamp(), **({"outcomes": list(outcomes)} if outcomes else {})}
    with _connected() as connection:
        labels = LABELLED.format(outcomes=OUTCOMES if outcomes else NO_OUTCOMES, target=_quoted(target))
        sql = SERVED.format(columns=_columns(connection, system, files, only)) + labels
        return connection.execute(sql, _interval(files, *interval) | given).df()


def outcomes(files: Sequence[str], since: datetime, until: datetime) -> pd.DataFrame:
    """Outcomes by when they occurred; see ParquetArchive.outcomes."""
    if not files:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in OUTCOME.items()})
    sql = f"SELECT * FROM ({OUTCOMES}) WHERE occurred_at >= $since AND occurred_at < $until ORDER BY ALL"  # noqa: S608  # a constant
    given = {"outcomes": list(files), "since": since.timestamp(), "until": until.timestamp()}
    with _connected() as connection:
        return connection.execute(sql, given).df()


def items(source: Source, files: Sequence[str]) -> pd.DataFrame:
    """A catalogue; see ParquetArchive.items."""
    if not files:
        return archive_items.empty_frame(source)
    with _connected() as connection:
        sql = archive_items.query(source, _found(connection, files))
        return archive_items.completed(source, connection.execute(sql, {"files": list(files)}).df())


def latest(files: Sequence[str]) -> float | None:
    """The newest `at`, from the files' statistics."""
    with _connected() as connection:
        row = connection.execute('SELECT max("at") FROM read_parquet($files)', {"files": list(files)}).fetchone()
    return None if row is None or row[0] is None else float(row[0])


def holding(files: Sequence[str], prediction_id: str) -> str | None:
    """The file that holds a prediction."""
    sql = "SELECT filename FROM read_parquet($files, filename = true) WHERE prediction_id = $id LIMIT 1"
    with _connected() as connection:
        row = connection.execute(sql, {"files": list(files), "id": prediction_id}).fetchone()
    return None if row is None else str(row[0])


def empty_frame(system: System, only: Collection[str] | None = None) -> pd.DataFrame:
    """No rows, and the columns that rows would have."""
    features = dict.fromkeys(system.features.names, np.dtype("float32"))
    own = {
        n: archive_items.KINDS[kind] for n, kind in system.features.source.columns.items() if n != system.task.target
    }
    frame = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in (own | features | OWN).items()})[
        [*OWN, *(name for name in own if name not in OWN and name not in features), *features]
    ]
    return narrowed(frame, only)


def narrowed(frame: pd.DataFrame, only: Collection[str] | None) -> pd.DataFrame:
    """The archive's own columns, and of the others those named; all of them where no name is given."""
    return frame if only is None else frame[[name for name in frame.columns if name in OWN or name in only]]


@contextmanager
def _connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that fetches no extension from anywhere; reading Parquet is built in."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    try:
        yield connection
    finally:
        connection.close()


def _interval(files: Sequence[str], since: datetime, until: datetime) -> dict[str, Any]:
    return {"files": list(files), "since": since.timestamp(), "until": until.timestamp()}


def _columns(
    connection: duckdb.DuckDBPyConnection, system: System, files: Sequence[str], only: Collection[str] | None
) -> str:
    """The list of what is selected: the archive's own columns, the row columns found, the features asked for."""
    found = _found(connection, files)
    rows = [name.removeprefix(ROW) for name in found if name.startswith(ROW)]
    _check_names(system, rows)
    item = system.task.item
    own = {name: _quoted(name) for name in OWN}
    own["review"] = "coalesce(review, false)" if "review" in found else "false"  # which files of old lack
    own["item"] = f"CAST({_quoted(ROW + item)} AS VARCHAR)" if item in rows else "NULL::VARCHAR"
    of_rows = {name: _quoted(ROW + name) for name in rows if name != "item"}
    features = {n: _quoted(FEATURE + n) if FEATURE + n in found else "NULL::FLOAT" for n in system.features.names}
    wanted = {name: value for name, value in (of_rows | features).items() if only is None or name in only}
    return ", ".join(f"{value} AS {_quoted(name)}" for name, value in (own | wanted).items())


def _found(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> list[str]:
    """The columns that any of the files has."""
    described = connection.execute(
        "SELECT * FROM read_parquet($files, union_by_name = true, hive_partitioning = false) LIMIT 0",
        {"files": list(files)},
    )
    return [column[0] for column in described.description or ()]


def _check_names(system: System, rows: Sequence[str]) -> None:
    """A row column called `item` may only be the item itself; what is served under a feature's name is the feature."""
    allowed = {"item"} if system.task.item == "item" else set()
    for name in (*rows, *system.features.names, system.task.target):
        if name in (*OWN, REVIEWED) and name not in allowed:
            raise BrokenSystem(
                f"System {system.name!r} has a column named {name!r}, which in the archive means something else; "
                f"rename it in systems/{system.name}/."
            )


def _quoted(name: str | None) -> str:
    return '"' + str(name).replace('"', '""') + '"'
