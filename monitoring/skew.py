"""What a feature that differs looks like, in words: the shape of a difference tells where it was made.

A factor is a unit or a scaling that was applied once too often or not at all, a constant a value that was never read,
another feature's values a changed order of columns, an earlier tick's a store that is behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MOST_ROWS = 0.95  # of the rows that differ must fit a description
CLOSE = 1e-4  # relative: features are float32, and what was done to them may have rounded once more


@dataclass(frozen=True)
class Pairs:
    """A feature's values in the rows that differ, served and recomputed."""

    served: Values
    expected: Values
    ticks: NDArray[np.int64]  # before its own, from which a row was served; 0 where that does not explain it
    others: Mapping[str, Values]  # recomputed values of the features beside it, in the same rows
    default: float | None = None

    @property
    def ratio(self) -> float:
        """Median of served / recomputed where that is not 0; NaN without such rows."""
        kept = self.expected != 0
        return float(np.median(self.served[kept] / self.expected[kept])) if kept.any() else float("nan")

    @property
    def difference(self) -> float:
        """Median of served − recomputed; NaN without rows."""
        return float(np.median(self.served - self.expected)) if len(self.served) else float("nan")


def describe(pairs: Pairs, served: Values, expected: Values) -> str:
    """In words how the rows that differ do so; `served` and `expected` are all that were compared."""
    differing, compared = len(pairs.served), len(served)
    if not compared:
        return "no row to compare"
    if not differing:
        return f"equal in all of {compared:,} rows"
    if differing == 1:
        return f"served as {pairs.served[0]:.6g}, recomputed as {pairs.expected[0]:.6g}, in one of {compared:,} rows"
    told = (_stale(pairs), _constant(pairs), _another_feature(pairs), _scaled(pairs), _shifted(pairs))
    found = next(filter(None, told), None) or _of_other_rows(served, expected)
    found = found or f"differs without a simple pattern, typically by {pairs.difference:+.4g}"
    every = differing == np.count_nonzero((served != 0) | (expected != 0))  # of two zeros there is nothing to see
    return f"{'every' if every else 'the'} value {found}, in {differing:,} of {compared:,} rows"


def _stale(pairs: Pairs) -> str | None:
    if not _fits(pairs.ticks > 0):
        return None
    return f"is as it was {np.median(pairs.ticks[pairs.ticks > 0]):.0f} ticks before (stale)"


def _constant(pairs: Pairs) -> str | None:
    value = float(np.median(pairs.served))
    if not _fits(pairs.served == value) or len(np.unique(pairs.expected)) < 2:
        return None
    is_default = pairs.default is not None and np.float32(value) == np.float32(pairs.default)
    return f"is the constant {value:.6g}{' (its default)' if is_default else ''}"


def _another_feature(pairs: Pairs) -> str | None:
    if len(np.unique(pairs.served)) < 2:
        return None
    same = (name for name, values in pairs.others.items() if _fits(pairs.served == values))
    name = next(same, None)
    return name and f"is that of {name}"


def _scaled(pairs: Pairs) -> str | None:
    expected = pairs.expected * pairs.ratio
    if not _fits((expected != 0) & (np.abs(pairs.served - expected) <= CLOSE * np.abs(expected))):
        return None
    return f"is {pairs.ratio:.4g} times the recomputed one"


def _shifted(pairs: Pairs) -> str | None:
    grain = CLOSE * abs(pairs.difference) + 1e-6 * np.abs(pairs.expected)
    if not _fits(np.abs(pairs.served - pairs.expected - pairs.difference) <= grain):
        return None
    return f"is shifted by {pairs.difference:+.4g}"


def _of_other_rows(served: Values, expected: Values) -> str | None:
    """The same values in all, and not in their rows."""
    return "belongs to another row" if np.array_equal(np.sort(served), np.sort(expected)) else None


def _fits(rows: NDArray[np.bool_]) -> bool:
    return bool(rows.mean() >= MOST_ROWS)
