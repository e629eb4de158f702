"""Columns that only say what the time is: an hour's sine, a weekday. They are not judged.

Within a window they have hardly any variance, and what little they have depends on the hour: against a variance learned
from all hours, a few minutes' difference in traffic would look like a shift.
"""

import numpy as np
from numpy.typing import NDArray

from monitoring.data_drift.columns import Column, Floats
from monitoring.data_drift.contrasts import contrasts
from monitoring.data_drift.season import HOUR, WEEK
from monitoring.data_drift.sketch import Sketches

SHARE = 0.9  # of the variance that the hour of the week explains
FEWEST = 20.0  # predictions in an hour of the week; with fewer, what they share by chance looks like time
FEWEST_HOURS = 24  # … with so many; in fewer hours a column that wanders looks like time, too


def clocks(columns: tuple[Column, ...], slots: Sketches) -> NDArray[np.bool_]:
    """Which columns follow from the hour of the week, by the correlation ratio of their normal scores (η²)."""
    hours = _by_hour(slots)
    hours = hours[hours.predictions >= FEWEST]
    if len(hours) < FEWEST_HOURS:
        return np.zeros(len(columns), np.bool_)
    measured = contrasts(columns, hours)
    means, weights = measured.means(hours)[:, : len(columns)], measured.observed(hours)
    total = np.maximum(weights.sum(axis=0), 1.0)
    middle = (weights * means).sum(axis=0) / total
    between = (weights * (means - middle) ** 2).sum(axis=0) / total
    return np.asarray(between > SHARE * np.maximum(measured.variance[: len(columns)], 1e-9))


def without(columns: tuple[Column, ...], windows: Sketches, left_out: NDArray[np.bool_]) -> Sketches:
    """Windows without the counts of some columns."""
    kept = np.repeat(~left_out, [column.bins + 1 for column in columns])
    return Sketches(windows.starts, windows.rows, windows.predictions, windows.counts[:, kept])


def _by_hour(slots: Sketches) -> Sketches:
    """All slots of an hour of the week as one window."""
    cell = (np.floor(slots.starts / HOUR) % WEEK).astype(np.intp)
    found, place = np.unique(cell, return_inverse=True)

    def summed(values: Floats) -> Floats:
        sums = np.zeros((len(found), *values.shape[1:]))
        np.add.at(sums, place, values)
        return sums

    return Sketches(
        np.asarray(found * HOUR, np.float64), summed(slots.rows), summed(slots.predictions), summed(slots.counts)
    )
