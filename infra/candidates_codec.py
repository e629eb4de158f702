"""Stage one's candidates on their way from serving to the gateway: a line of JSON, and numbers as their bytes.

`{"rows": 500, "columns": {"user_id": "u1", "video_id": ["v1", …], "category": {"of": ["pets", …], "type": "<u2"},
"similarity": {"type": "<f8"}}}`, a line feed, and for each column with a type its little-endian values, in the order of
the columns. What all rows share is said once; of strings that recur each is said once, and then where it stands.
"""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.system import Columns

NUMBERS = {"f": "<f8", "i": "<i8", "u": "<i8", "b": "|b1"}
PLACES, MOST_PLACES = "<u2", 65_535  # of recurring strings: no request has 65,536 candidates
TYPES = {*NUMBERS.values(), PLACES}
RECURRING = 0.75  # the largest share of distinct strings that are sent as recurring ones


def encode(columns: Columns) -> bytes:
    """The candidates as bytes; ValueError names a column that the others, or JSON, have no place for."""
    rows = len(next(iter(columns.values()), ()))
    blocks: list[bytes] = []
    said = {name: _said(name, np.asarray(values), rows, blocks) for name, values in columns.items()}
    return b"".join([orjson.dumps({"rows": rows, "columns": said}), b"\n", *blocks])


def decode(body: bytes) -> Columns:
    """The candidates in the bytes: strings as objects, numbers as float64, int64 or bool, read-only; ValueError where
    none are."""
    head, _, rest = body.partition(b"\n")
    try:
        found = orjson.loads(head)
        rows, columns = int(found["rows"]), dict(found["columns"])
        blocks = _Blocks(rest, rows)
        if rows < 0:
            raise ValueError(f"it announces {rows} rows")
        decoded = {name: _array(name, said, blocks) for name, said in columns.items()}
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"it holds no candidates ({type(error).__name__}: {error})") from error
    if blocks.at != len(rest):
        raise ValueError(f"{len(rest)} bytes follow the columns, which take {blocks.at}")
    return decoded


def _said(name: str, values: NDArray[Any], rows: int, blocks: list[bytes]) -> Any:
    """What the head says of a column; its bytes, if it has any, go to `blocks`."""
    if values.shape != (rows,):
        raise ValueError(f"the column {name!r} has the shape {values.shape}, and others have {rows} rows")
    if (kind := values.dtype.kind) not in "fiubUO":
        raise ValueError(f"the column {name!r} is of type {values.dtype}, neither numbers nor strings")
    if kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"the column {name!r} holds a value that is not a number")
    if rows and _shared(values):
        return values[:1].tolist()[0]
    if kind in NUMBERS:
        blocks.append(values.astype(NUMBERS[kind]).tobytes())
        return {"type": NUMBERS[kind]}
    return _strings(values.tolist(), rows, blocks)


def _shared(values: NDArray[Any]) -> bool:
    """Whether all rows have the same value. What is one value in memory for all, or differs at the ends, is told at
    once."""
    return values.strides == (0,) or bool(values[0] == values[-1] and (values == values[0]).all())


def _strings(values: list[Any], rows: int, blocks: list[bytes]) -> Any:
    distinct = dict.fromkeys(values)
    if len(distinct) > min(RECURRING * rows, MOST_PLACES):
        return values
    place = dict(zip(distinct, range(len(distinct)), strict=True))
    blocks.append(np.fromiter(map(place.__getitem__, values), PLACES, rows).tobytes())
    return {"of": list(distinct), "type": PLACES}


class _Blocks:
    """The bytes behind the head, taken column by column."""

    def __init__(self, content: bytes, rows: int) -> None:
        self.content, self.rows, self.at = content, rows, 0

    def take(self, name: str, kind: str) -> NDArray[Any]:
        if kind not in TYPES:
            raise ValueError(f"the column {name!r} is of type {kind!r}, which is not one of {', '.join(sorted(TYPES))}")
        found = np.frombuffer(self.content, kind, self.rows, self.at)
        self.at += found.nbytes
        return found


def _array(name: str, said: Any, blocks: _Blocks) -> NDArray[Any]:
    if isinstance(said, dict):
        found = blocks.take(name, said["type"])
        return _objects(said["of"])[found] if "of" in said else found
    if not isinstance(said, list):
        kind = None if isinstance(said, (bool, int, float)) else object
        return np.broadcast_to(np.array(said, dtype=kind), (blocks.rows,))
    if len(said) != blocks.rows:
        raise ValueError(f"the column {name!r} has {len(said)} values, and {blocks.rows} rows were announced")
    return np.array(said) if said and isinstance(said[0], (bool, int, float)) else _objects(said)


def _objects(values: Any) -> NDArray[Any]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is no list of strings")
    return np.fromiter(values, dtype=object, count=len(values))
