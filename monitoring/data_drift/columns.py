"""Bins of a column: learned once from reference rows, then every window is its counts in them and nothing else.

Numbers fall into bins of about equal share, so that an absurd value weighs as much as any other in the last bin; a
value that many rows share (zero, a rounded price) has a bin of its own. Everything else falls into one bin a level, the
most frequent first, rare levels pooled with those that are about as frequent, and levels never seen in a bin of theirs.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

MOST_BINS = 64  # of equal share: what grouping costs a test of location is then under 1%
MOST_LEVELS, RARE_POOLS = 64, 8
UNSEEN = "never seen"


@dataclass(frozen=True)
class Column:
    """How one column is binned. Bin `bins` − which is one more than the last − holds the missing."""

    name: str
    labels: tuple[str, ...]  # a bin's, for people
    edges: Floats | None = None  # numbers: bin k holds edges[k−1] <= x < edges[k]
    levels: Mapping[Hashable, int] = field(default_factory=dict)  # anything else: level → bin

    @property
    def bins(self) -> int:
        return len(self.labels)


def learn(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Bins for every column, from reference rows; raises `InvalidInput` for a column without any value."""
    if frame.empty:
        raise InvalidInput("There are no reference rows to learn bins from: give at least one window of the log.")
    return tuple(_learn(str(name), frame[name]) for name in frame.columns)


def codes(column: Column, values: "pd.Series[float]") -> Codes:
    """The bin of each row."""
    if column.edges is None:
        found, uniques = pd.factorize(values)
        known = np.array([column.levels.get(level, column.bins - 1) for level in uniques] + [column.bins], np.intp)
        return known[found]  # a missing value's place is −1: the last
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isnan(numbers), column.bins, np.searchsorted(column.edges, numbers, side="right"))


def _learn(name: str, values: "pd.Series[float]") -> Column:
    present = values.dropna()
    if present.empty:
        raise InvalidInput(f"Column {name!r} has no value in the reference rows: leave it out.", field=name)
    return _ordered(name, present) if pd.api.types.is_numeric_dtype(values) else _levels(name, present)


def _ordered(name: str, values: "pd.Series[float]") -> Column:
    numbers = np.sort(values.to_numpy(np.float64))
    cuts, times = np.unique(
        np.quantile(numbers, np.arange(1, MOST_BINS) / MOST_BINS, method="lower"), return_counts=True
    )
    distinct = np.unique(numbers)
    atoms = distinct if len(distinct) <= MOST_BINS else cuts[times > 1]
    edges = np.unique(np.concatenate([cuts, atoms, np.nextafter(atoms, np.inf)]))
    return Column(name, _intervals(edges), edges=edges)


def _intervals(edges: Floats) -> tuple[str, ...]:
    """'below 2', '2', '2 to 5', '5 and more'."""
    first, last = f"below {edges[0]:.4g}", f"{edges[-1]:.4g} and more"
    between = [
        f"{low:.4g}" if high == np.nextafter(low, np.inf) else f"{low:.4g} to {high:.4g}"
        for low, high in pairwise(edges)
    ]
    return (first, *between, last)


def _levels(name: str, values: "pd.Series[float]") -> Column:
    shares = values.value_counts(normalize=True)  # the most frequent first
    head, tail = shares.iloc[:MOST_LEVELS], shares.iloc[MOST_LEVELS:]
    bins = {level: place for place, level in enumerate(head.index)}
    labels = [str(level) for level in head.index]
    if len(tail):
        before = tail.to_numpy().cumsum() - tail.to_numpy()
        pools = np.minimum((before / tail.sum() * RARE_POOLS).astype(int), RARE_POOLS - 1)
        _, pools = np.unique(pools, return_inverse=True)
        bins |= dict(zip(tail.index, (len(head) + pools).tolist(), strict=True))
        labels += [f"{count} rare levels" for count in np.bincount(pools)]
    return Column(name, (*labels, UNSEEN), levels=bins)
