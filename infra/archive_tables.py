"""Served predictions and outcomes as Arrow tables, built column by column, and back: the layout of the archive.

A prediction is one row a candidate. Row columns are named `row.NAME` and features `feature.NAME`, so that no system's
names collide with the archive's own; `request` and `result` (JSON) stand in a prediction's first row only. A table
holds one system, one day and one set of columns. Strings that all rows of a prediction share are dictionary-encoded: a
Parquet file is written from that without looking at each row, and read as the plain strings that they are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.records import ItemRecord, OutcomeRecord, PredictionRecord
from contracts.system import AT
from infra import archive_items
from infra.breather import Breather

ROW, FEATURE = "row.", "feature."
FEW_ROWS = 16  # of a record, on average
NO_ROWS = -1  # the position of the one row that stands for a prediction without candidates
TYPES = {"f": pa.float64(), "i": pa.int64(), "u": pa.int64(), "b": pa.bool_(), "U": pa.string(), "O": pa.string()}

OUTCOMES = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("item", pa.string()),
        ("label", pa.float64()),
        ("occurred_at", pa.float64()),
        ("received_at", pa.float64()),
        ("source", pa.string()),
    ]
)


@dataclass(frozen=True)
class Part:
    """A table and where it belongs; the ids name it, so that the same records make the same file."""

    kind: str  # predictions, outcomes or items
    system: str
    day: date
    ids: tuple[str, ...]
    table: pa.Table


def parts(
    records: Iterable[PredictionRecord | OutcomeRecord | ItemRecord], breather: Breather | None = None
) -> Iterator[Part]:
    """The tables of some records, each record once; `InvalidInput` when one of them fits no table."""
    breather = breather or Breather()
    try:
        predictions = {r.prediction_id: r for r in records if isinstance(r, PredictionRecord)}
        for same in _grouped(breather.each(predictions.values()), _prediction_key):
            ids = tuple(record.prediction_id for record in same)
            table = _prediction_table(same, breather)
            yield Part("predictions", same[0].system, _day(same[0].at), ids, table)
        outcomes = dict.fromkeys(r for r in records if isinstance(r, OutcomeRecord))
        for some in _grouped(outcomes, _outcome_key):
            yield Part("outcomes", some[0].system, _day(some[0].occurred_at), _identities(some), _outcome_table(some))
        for items in _grouped((r for r in records if isinstance(r, ItemRecord)), archive_items.key):
            ids, day = archive_items.identities(items), archive_items.day(items[0])
            yield Part("items", items[0].system, day, ids, archive_items.table(items))
    except (TypeError, ValueError, OverflowError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(f"The archive cannot hold the records: {error}.") from error


def record_of(table: pa.Table, system: str) -> PredictionRecord:
    """The record that the rows of one prediction were made from (`rows` has `at` as its last column)."""
    table = table.sort_by("position")
    first = table.slice(0, 1).to_pylist()[0]
    if first["position"] == NO_ROWS:
        table = table.slice(0, 0)
    features = [name for name in table.column_names if name.startswith(FEATURE)]
    place = _values(table, "place")
    shown = np.argsort(place, kind="stable")[np.count_nonzero(place < 0) :]
    rows = {n.removeprefix(ROW): _values(table, n) for n in table.column_names if n.startswith(ROW)}
    matrix = [_values(table, name) for name in features]
    return PredictionRecord(
        prediction_id=first["prediction_id"],
        system=system,
        at=datetime.fromtimestamp(first[AT], UTC),
        model_version=first["model_version"],
        variant=first["variant"],
        request=orjson.loads(first["request"]),
        rows=rows | {AT: _values(table, AT)},
        feature_names=tuple(name.removeprefix(FEATURE) for name in features),
        features=np.array(matrix, dtype=np.float32).reshape(len(features), len(table)).T,
        scores=_values(table, "score"),
        shown=shown.astype(np.int64),
        propensity=_values(table, "propensity")[shown],
        result=orjson.loads(first["result"]),
        degraded=tuple(first["degraded"].split("; ")) if first["degraded"] else (),
        review=bool(first.get("review")),  # files from before there were reviews lack it
    )


def _values(table: pa.Table, name: str) -> NDArray[Any]:
    values: NDArray[Any] = table[name].to_numpy()
    return values


def _grouped(records: Iterable[Any], key: Any) -> Iterator[list[Any]]:
    """Neighbours with the same key first, then what is left of it further on: few groups, in a stable order."""
    groups: dict[Any, list[Any]] = {}
    for value, some in groupby(records, key):
        groups.setdefault(value, []).extend(some)
    return iter(groups.values())


def _prediction_key(record: PredictionRecord) -> tuple[Any, ...]:
    kinds = tuple((name, TYPES[values.dtype.kind]) for name, values in record.rows.items())
    return record.system, _day(record.at), record.feature_names, kinds, len(record.scores) == 0


def _outcome_key(outcome: OutcomeRecord) -> tuple[str, date]:
    return outcome.system, _day(outcome.occurred_at)


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _prediction_table(records: Sequence[PredictionRecord], breather: Breather) -> pa.Table:
    return pa.table(dict(breather.each(_columns(records, breather))))


def _columns(records: Sequence[PredictionRecord], breather: Breather) -> Iterator[tuple[str, pa.Array]]:
    """The columns of all systems, then the system's own."""
    counts = np.array([max(1, len(record.scores)) for record in records])
    starts = np.cumsum(counts) - counts
    of_record = np.repeat(np.arange(len(records)), counts)
    position = np.arange(len(of_record)) - starts[of_record]
    empty = len(records[0].scores) == 0
    place, propensity = _shown(records, starts, len(of_record))

    def said(values: Sequence[str]) -> pa.Array:
        return pa.array(values, type=pa.string()).dictionary_encode().take(pa.array(of_record))

    def once(values: Sequence[str]) -> pa.Array:
        return pa.array(values, type=pa.string()).take(pa.array(of_record, mask=position != 0))

    yield "prediction_id", said([r.prediction_id for r in records])
    yield "position", np.full_like(position, NO_ROWS) if empty else position
    yield "place", place
    yield AT, np.array([r.at.timestamp() for r in records])[of_record]
    yield "model_version", said([r.model_version for r in records])
    yield "variant", said([r.variant for r in records])
    yield "score", pa.nulls(len(records), pa.float64()) if empty else np.concatenate([r.scores for r in records])
    yield "propensity", propensity
    yield "degraded", said(["; ".join(r.degraded) for r in records])
    yield "review", np.array([r.review for r in records])[of_record]
    yield "request", once([_json(r.request) for r in breather.each(records)])
    yield "result", once([_json(r.result) for r in breather.each(records)])
    for name, column in _own_columns(records, said, breather):
        if not empty:
            yield name, column
        elif name != AT:
            yield name, pa.nulls(len(records), column.type)


def _shown(records: Sequence[PredictionRecord], starts: NDArray[Any], rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """For each row its place in the answer and the probability of it: −1 and NaN where it was not shown."""
    place, propensity = np.full(rows, -1), np.full(rows, np.nan)
    counts = np.array([len(record.shown) for record in records])
    at = np.concatenate([record.shown for record in records]) + np.repeat(starts, counts)
    place[at] = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    propensity[at] = np.concatenate([record.propensity for record in records])
    return place, propensity


def _own_columns(
    records: Sequence[PredictionRecord], said: Callable[[Sequence[Any]], pa.Array], breather: Breather
) -> Iterator[tuple[str, pa.Array]]:
    """The system's own columns. Its `at` takes the place of the record's: features were computed from that one."""
    for name, first in records[0].rows.items():
        values = [record.rows[name] for record in records]
        if first.dtype.kind == "O" and all(_is_shared(each) for each in values):
            column = said([each[0] for each in values])
        else:
            column = pa.array(np.concatenate(values), type=TYPES[first.dtype.kind])
        yield (AT if name == AT else ROW + name), column
    for name, column in zip(records[0].feature_names, _transposed(records, breather), strict=True):
        yield FEATURE + name, pa.array(column, type=pa.float32())


def _is_shared(values: NDArray[Any]) -> bool:
    """Whether all rows have one value, by how the log gives such a column (infra/log_codec.py)."""
    return len(values) > 0 and values.strides == (0,)


def _transposed(records: Sequence[PredictionRecord], breather: Breather) -> NDArray[np.float32]:
    """All features, column by column. Record by record: what one has fits the processor's cache, all of them do not.
    Records of few rows are joined first, for each would cost more than it holds."""
    starts = np.cumsum([0, *(len(record.features) for record in records)]).tolist()
    if starts[-1] < FEW_ROWS * len(records):
        return np.concatenate([record.features for record in records]).T
    columns = np.empty((len(records[0].feature_names), starts[-1]), dtype=np.float32)
    for record, start, end in breather.each(zip(records, starts[:-1], starts[1:], strict=True)):
        columns[:, start:end] = record.features.T
    return columns


def _outcome_table(outcomes: Sequence[OutcomeRecord]) -> pa.Table:
    columns: Mapping[str, Sequence[Any]] = {
        "prediction_id": [o.prediction_id for o in outcomes],
        "item": [o.item for o in outcomes],
        "label": [o.label for o in outcomes],
        "occurred_at": [o.occurred_at.timestamp() for o in outcomes],
        "received_at": [o.received_at.timestamp() for o in outcomes],
        "source": [o.source for o in outcomes],
    }
    return pa.table(columns, schema=OUTCOMES)


def _identities(outcomes: Sequence[OutcomeRecord]) -> tuple[str, ...]:
    return tuple(repr((o.prediction_id, o.item, o.label, o.occurred_at, o.received_at, o.source)) for o in outcomes)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
