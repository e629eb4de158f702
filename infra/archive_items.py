"""A system's catalogue in the archive: the records of its items as Arrow tables, and the items as each was last.

Columns of the system are named `item.NAME`. A table holds one system, one day of receipt and one set of columns: a
catalogue that comes in at once is one file, however long ago its items were published.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date
from typing import Any

import pandas as pd
import pyarrow as pa

from contracts.errors import InvalidInput
from contracts.records import ItemRecord
from contracts.system import AT, Source

PREFIX = "item."
KINDS = {"string": "object", "float": "float64", "integer": "int64"}
SQL = {"string": "VARCHAR", "float": "DOUBLE", "integer": "BIGINT"}
TYPES: Mapping[type, pa.DataType] = {str: pa.string(), float: pa.float64(), int: pa.int64()}

# A record that was written twice, or to two files, is one: whichever of them is read.
LATEST = """
SELECT {columns} FROM (
  SELECT *, row_number() OVER (PARTITION BY "item" ORDER BY "received_at" DESC, "at" DESC) AS latest
  FROM read_parquet($files, union_by_name = true, hive_partitioning = false)
) WHERE latest = 1 ORDER BY "at", "item"
"""


def key(item: ItemRecord) -> tuple[Any, ...]:
    """Records with the same one fit one table."""
    kinds = tuple((name, _type(name, value)) for name, value in sorted(item.columns.items()))
    return item.system, day(item), kinds


def day(item: ItemRecord) -> date:
    """The day of a record's receipt."""
    return item.received_at.astimezone(UTC).date()


def table(items: Sequence[ItemRecord]) -> pa.Table:
    """Records of one key as a table."""
    columns: dict[str, pa.Array] = {
        "item": pa.array([item.item for item in items], pa.string()),
        AT: pa.array([item.published_at.timestamp() for item in items], pa.float64()),
        "received_at": pa.array([item.received_at.timestamp() for item in items], pa.float64()),
    }
    for name, value in sorted(items[0].columns.items()):
        columns[PREFIX + name] = pa.array([item.columns[name] for item in items], _type(name, value))
    return pa.table(columns)


def identities(items: Sequence[ItemRecord]) -> tuple[str, ...]:
    """What names a table's file: the same records make the same one."""
    return tuple(repr((item.item, item.published_at, item.received_at, dict(item.columns))) for item in items)


def query(source: Source, found: Sequence[str]) -> str:
    """The question for each item's latest record, of files that have the columns `found`."""
    chosen = {source.id: '"item"', AT: '"at"'}
    for name, kind in source.columns.items():
        held = _quoted(PREFIX + name) if PREFIX + name in found else "NULL"
        chosen[name] = f"CAST({held} AS {SQL[kind]})"
    return LATEST.format(columns=", ".join(f"{value} AS {_quoted(name)}" for name, value in chosen.items()))


def completed(source: Source, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the source's types; what a record lacks takes the source's optional value, or is InvalidInput."""
    for name in source.columns:
        if (lacking := frame[name].isna()).any():
            if name not in source.optional:
                item = frame[source.id][lacking].iloc[0]
                raise InvalidInput(
                    f"The item {item!r} has no {name}, which {source.name} need; publish it again.", name
                )
            frame[name] = frame[name].fillna(source.optional[name])
    return frame.astype({name: KINDS[kind] for name, kind in source.columns.items()})


def empty_frame(source: Source) -> pd.DataFrame:
    """No items, and the columns that items would have."""
    kinds = {source.id: "object", AT: "float64"} | {name: KINDS[kind] for name, kind in source.columns.items()}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def _type(name: str, value: object) -> pa.DataType:
    if (kind := TYPES.get(type(value))) is None:
        raise TypeError(f"the column {name!r} of an item is {value!r}, neither a string nor a number")
    return kind


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
