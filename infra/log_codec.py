"""The log's records as entries of a Redis stream, and back: JSON for what is said, raw little-endian bytes for numbers.

An entry's fields: `format` (this layout's number), `kind`, `meta` (JSON); a prediction also has `features` (float32),
`scores`, `propensity` (float64), `shown` (int64) and `numbers`, its numeric row columns one after the other.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.records import ItemRecord, OutcomeRecord, PredictionRecord
from contracts.system import Columns

FORMAT = b"1"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")  # a system's name becomes a folder's
TEXT = {str, type(None)}
SOURCES = ("client", "review")  # of outcomes


def encode(record: PredictionRecord | OutcomeRecord | ItemRecord) -> dict[str, bytes]:
    """The fields of the record's entry; `InvalidInput` when the record is not whole."""
    try:
        if isinstance(record, ItemRecord):
            _check_item(record)
            return {"format": FORMAT, "kind": b"item", "meta": orjson.dumps(_item_meta(record))}
        if isinstance(record, OutcomeRecord):
            _check_outcome(record)
            return {"format": FORMAT, "kind": b"outcome", "meta": orjson.dumps(_outcome_meta(record))}
        _check_prediction(record)
        return {"format": FORMAT, "kind": b"prediction", **_prediction_fields(record)}
    except (TypeError, ValueError) as error:
        name = record.item if isinstance(record, ItemRecord) else record.prediction_id
        raise InvalidInput(f"Record {name!r} cannot be written to the log: {error}.") from error


def decode(fields: Mapping[bytes, bytes]) -> PredictionRecord | OutcomeRecord | ItemRecord:
    """The record of an entry; `InvalidInput` says in one sentence why there is none."""
    try:
        if fields[b"format"] != FORMAT:
            raise ValueError(f"its format is {fields[b'format']!r}, not {FORMAT!r}")
        meta = orjson.loads(fields[b"meta"])
        return READERS[fields[b"kind"]](meta, fields)
    except KeyError as error:
        raise InvalidInput(f"The entry is not a record of the log: {error} is missing or unknown.") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidInput(f"The entry is not a record of the log: {error}.") from error


def decode_item(meta: bytes) -> ItemRecord:
    """The item whose entry has this `meta`, which is all of it."""
    return _item(orjson.loads(meta), {})


def _prediction_fields(record: PredictionRecord) -> dict[str, bytes]:
    columns, numbers = _packed(record.rows)
    meta = {
        "id": record.prediction_id,
        "system": record.system,
        "at": _stamp(record.at),
        "model_version": record.model_version,
        "variant": record.variant,
        "request": record.request,
        "result": record.result,
        "degraded": record.degraded,
        "features": record.feature_names,
        "columns": columns,
        "review": record.review,
    }
    return {
        "meta": orjson.dumps(meta, option=orjson.OPT_SERIALIZE_NUMPY),
        "numbers": numbers,
        "features": np.ascontiguousarray(record.features, dtype="<f4").tobytes(),
        "scores": np.asarray(record.scores, dtype="<f8").tobytes(),
        "shown": np.asarray(record.shown, dtype="<i8").tobytes(),
        "propensity": np.asarray(record.propensity, dtype="<f8").tobytes(),
    }


def _packed(rows: Columns) -> tuple[list[tuple[str, Any]], bytes]:
    """Each column's name with its strings, or with the type by which to find its numbers in the bytes.

    What all candidates share, such as their user, is said once.
    """
    columns: list[tuple[str, Any]] = []
    numbers = []
    for name, values in rows.items():
        if values.dtype.kind in "fiub":
            plain = values.astype(values.dtype.newbyteorder("<"), copy=False)
            columns.append((name, plain.dtype.str))
            numbers.append(plain.tobytes())
        else:
            strings = values.tolist()
            constant = strings and strings.count(strings[0]) == len(strings)
            columns.append((name, strings[:1] if constant else strings))
    return columns, b"".join(numbers)


def _outcome_meta(outcome: OutcomeRecord) -> dict[str, Any]:
    return {
        "id": outcome.prediction_id,
        "system": outcome.system,
        "item": outcome.item,
        "label": float(outcome.label),
        "occurred_at": _stamp(outcome.occurred_at),
        "received_at": _stamp(outcome.received_at),
        "source": outcome.source,
    }


def _item_meta(item: ItemRecord) -> dict[str, Any]:
    return {
        "id": item.item,
        "system": item.system,
        "published_at": _stamp(item.published_at),
        "columns": dict(item.columns),
        "received_at": _stamp(item.received_at),
    }


def _stamp(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError(f"the time {at} has no time zone; every time of the log is in UTC")
    return at.astimezone(UTC).isoformat()


def _prediction(meta: dict[str, Any], fields: Mapping[bytes, bytes]) -> PredictionRecord:
    scores = np.frombuffer(fields[b"scores"], dtype="<f8")
    names = tuple(meta["features"])
    record = PredictionRecord(
        prediction_id=meta["id"],
        system=meta["system"],
        at=datetime.fromisoformat(meta["at"]),
        model_version=meta["model_version"],
        variant=meta["variant"],
        request=meta["request"],
        rows=_unpacked(meta["columns"], fields[b"numbers"], len(scores)),
        feature_names=names,
        features=np.frombuffer(fields[b"features"], dtype="<f4").reshape(len(scores), len(names)),
        scores=scores,
        shown=np.frombuffer(fields[b"shown"], dtype="<i8"),
        propensity=np.frombuffer(fields[b"propensity"], dtype="<f8"),
        result=meta["result"],
        degraded=tuple(meta["degraded"]),
        review=bool(meta.get("review", False)),  # entries from before there were reviews lack it
    )
    _check_shapes(record)
    return record


def _unpacked(columns: list[tuple[str, Any]], numbers: bytes, rows: int) -> dict[str, NDArray[Any]]:
    unpacked: dict[str, NDArray[Any]] = {}
    at = 0
    for name, held in columns:
        if isinstance(held, str):
            kind = np.dtype(held)
            if kind.kind not in "fiub":
                raise ValueError(f"the row column {name!r} is of type {held!r}, which is no number's")
            unpacked[name] = np.frombuffer(numbers, dtype=kind, count=rows, offset=at) if rows else np.empty(0, kind)
            at += rows * kind.itemsize
        else:
            unpacked[name] = _strings(name, held, rows)
    return unpacked


def _strings(name: str, held: Any, rows: int) -> NDArray[Any]:
    """A column of strings. One that all rows share is held once here too, and seen by its stride of 0: the archive need
    not look at each of its rows."""
    if not isinstance(held, list):
        raise ValueError(f"the row column {name!r} is {held!r:.50}, neither a type nor a list of strings")
    _check_text(name, held)
    if len(held) == 1 and rows != 1:
        return np.broadcast_to(np.array(held[0], dtype=object), rows)
    strings = np.empty(len(held), dtype=object)
    strings[:] = held
    return strings


def _outcome(meta: dict[str, Any], _: Mapping[bytes, bytes]) -> OutcomeRecord:
    outcome = OutcomeRecord(
        prediction_id=meta["id"],
        system=meta["system"],
        item=meta["item"],
        label=float(meta["label"]),
        occurred_at=datetime.fromisoformat(meta["occurred_at"]),
        received_at=datetime.fromisoformat(meta["received_at"]),
        source=meta.get("source", "client"),  # as above
    )
    _check_outcome(outcome)
    return outcome


def _item(meta: dict[str, Any], _: Mapping[bytes, bytes]) -> ItemRecord:
    item = ItemRecord(
        item=meta["id"],
        system=meta["system"],
        published_at=datetime.fromisoformat(meta["published_at"]),
        columns=dict(meta["columns"]),
        received_at=datetime.fromisoformat(meta["received_at"]),
    )
    _check_item(item)
    return item


def _check_item(item: ItemRecord) -> None:
    _check_system(item.system)
    if not isinstance(item.item, str) or not item.item:
        raise ValueError(f"the item {item.item!r} is not a name")
    for name, value in item.columns.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"the column {name!r} is {value!r}, neither a string nor a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"the column {name!r} is {value}, which is not a finite number")


def _check_outcome(outcome: OutcomeRecord) -> None:
    _check_names(outcome)
    if outcome.item is not None and not isinstance(outcome.item, str):
        raise ValueError(f"the item {outcome.item!r} is not a string")
    if not math.isfinite(outcome.label):
        raise ValueError(f"the label {outcome.label} is not a finite number")
    if outcome.source not in SOURCES:
        raise ValueError(f"the source {outcome.source!r} is none of {', '.join(SOURCES)}")


def _check_prediction(record: PredictionRecord) -> None:
    _check_shapes(record)
    for name, values in record.rows.items():
        if values.dtype.kind not in "fiubUO":
            raise ValueError(f"the row column {name!r} is of type {values.dtype}, neither numbers nor strings")
        if values.dtype.kind == "O":
            _check_text(name, values.tolist())


def _check_text(name: str, values: list[Any]) -> None:
    if not set(map(type, values)) <= TEXT:
        raise ValueError(f"the row column {name!r} holds something that is not a string")


def _check_shapes(record: PredictionRecord) -> None:
    _check_names(record)
    rows = len(record.scores)
    if record.features.shape != (rows, len(record.feature_names)):
        wanted = f"{rows} rows × {len(record.feature_names)} names"
        raise ValueError(f"the features are {record.features.shape}, not {wanted}")
    for name, values in record.rows.items():
        if values.shape != (rows,):
            raise ValueError(f"the row column {name!r} has {values.shape} values for {rows} scores")
    _check_shown(record, rows)


def _check_shown(record: PredictionRecord, rows: int) -> None:
    shown = record.shown.tolist()
    if len(shown) != len(record.propensity):
        raise ValueError(f"{len(shown)} rows were shown with {len(record.propensity)} propensities")
    if len(set(shown)) != len(shown) or any(not 0 <= position < rows for position in shown):
        raise ValueError(f"the rows shown {shown} are not distinct positions among {rows} rows")


def _check_names(record: PredictionRecord | OutcomeRecord) -> None:
    if not isinstance(record.prediction_id, str) or not record.prediction_id:
        raise ValueError(f"the prediction id {record.prediction_id!r} is not a name")
    _check_system(record.system)


def _check_system(system: str) -> None:
    if not isinstance(system, str) or NAME.fullmatch(system) is None:
        raise ValueError(f"{system!r} is not the name of a system")


Reader = Callable[[dict[str, Any], Mapping[bytes, bytes]], PredictionRecord | OutcomeRecord | ItemRecord]
READERS: Mapping[bytes, Reader] = {
    b"prediction": _prediction,
    b"outcome": _outcome,
    b"item": _item,
}
