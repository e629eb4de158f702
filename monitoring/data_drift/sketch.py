"""Windows as counts: all that is kept of the past. A window of a million rows and 20 columns takes some 10 kB."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from monitoring.data_drift.columns import Codes, Column, Floats, codes


@dataclass(frozen=True)
class Sketches:
    """Windows, one a row. `counts` is windows × bins: every column's bins side by side, its missing rows last.

    `predictions` says how many answers a window's rows belong to: rows of one answer are alike, so it is this number
    that says how much a window can tell.
    """

    starts: Floats  # seconds since the epoch, UTC
    rows: Floats
    predictions: Floats
    counts: Floats

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, chosen: "slice | Codes | NDArray[np.bool_]") -> "Sketches":
        return Sketches(self.starts[chosen], self.rows[chosen], self.predictions[chosen], self.counts[chosen])


def sketch(
    frame: pd.DataFrame, columns: Sequence[Column], start: float, predictions: "pd.Series[Any] | None" = None
) -> Sketches:
    """One window. `predictions` holds each row's prediction id; without it every row is its own."""
    return sketches(frame, columns, np.zeros(len(frame), np.intp), np.array([start]), predictions)


def sketches(
    frame: pd.DataFrame,
    columns: Sequence[Column],
    windows: Codes,
    starts: Floats,
    predictions: "pd.Series[Any] | None" = None,
) -> Sketches:
    """Windows cut from a longer stretch of the log: `windows` says of each row to which of the `starts` it belongs.

    Raises `InvalidInput` when a column that has bins is not in the frame.
    """
    if absent := [column.name for column in columns if column.name not in frame.columns]:
        raise InvalidInput(f"The window has no column {absent[0]!r}: judge it by a reference with the same columns.")
    number = len(starts)
    rows = np.bincount(windows, minlength=number).astype(np.float64)
    parts = [_counts(column, frame[column.name], windows, number) for column in columns]
    return Sketches(
        starts, rows, rows if predictions is None else _answers(windows, predictions, number), np.hstack(parts)
    )


def joined(parts: Sequence[Sketches]) -> Sketches:
    """Windows of several stretches as one history, in the order of time."""
    order = np.argsort(np.concatenate([part.starts for part in parts]), kind="stable")
    return Sketches(
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.predictions for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )[order]


def _counts(column: Column, values: "pd.Series[float]", windows: Codes, number: int) -> Floats:
    width = column.bins + 1
    counted = np.bincount(windows * width + codes(column, values), minlength=number * width)
    return counted.reshape(number, width).astype(np.float64)


def _answers(windows: Codes, predictions: "pd.Series[Any]", number: int) -> Floats:
    found, uniques = pd.factorize(predictions)
    seen = np.unique(windows.astype(np.int64) * max(len(uniques), 1) + found)
    return np.bincount(seen // max(len(uniques), 1), minlength=number).astype(np.float64)
