"""Stage one's candidates on their way from serving to the gateway: row columns as JSON, and back.

`{"rows": 500, "columns": {"user_id": "u1", "video_id": ["v1", …], "similarity": [0.5, …]}}`: a column whose values are
all equal is said once, outside a list.
"""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.system import Columns


def encode(columns: Columns) -> bytes:
    """The candidates as bytes; ValueError names a column that the others, or JSON, have no place for."""
    rows = len(next(iter(columns.values()), ()))
    said = {name: _said(name, np.asarray(values), rows) for name, values in columns.items()}
    return orjson.dumps({"rows": rows, "columns": said})


def decode(body: bytes) -> Columns:
    """The candidates in the bytes: strings as objects, numbers as float64, int64 or bool; ValueError where none are."""
    try:
        found = orjson.loads(body)
        rows, columns = int(found["rows"]), dict(found["columns"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"it holds no candidates ({type(error).__name__}: {error})") from error
    return {name: _array(name, values, rows) for name, values in columns.items()}


def _said(name: str, values: NDArray[Any], rows: int) -> Any:
    if values.shape != (rows,):
        raise ValueError(f"the column {name!r} has the shape {values.shape}, and others have {rows} rows")
    if values.dtype.kind not in "fiubUO":
        raise ValueError(f"the column {name!r} is of type {values.dtype}, neither numbers nor strings")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"the column {name!r} holds a value that is not a number")
    plain = values.tolist()
    return plain[0] if plain and plain.count(plain[0]) == rows else plain


def _array(name: str, values: Any, rows: int) -> NDArray[Any]:
    if not isinstance(values, list):
        return np.full(rows, values, dtype=None if isinstance(values, (bool, int, float)) else object)
    if len(values) != rows:
        raise ValueError(f"the column {name!r} has {len(values)} values, and {rows} rows were announced")
    return np.array(values, dtype=None if values and isinstance(values[0], (bool, int, float)) else object)
