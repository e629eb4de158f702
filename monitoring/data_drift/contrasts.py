"""What is measured of a window: means of bounded scores of its rows, a few a column.

| contrast | a row's score |
|---|---|
| location | the normal score of its bin (van der Waerden), mean 0, variance 1 on the reference: a shift in σ |
| spread | the square of its rank's distance from the middle (Mood), likewise scaled; numbers only |
| missing | whether it is missing |
| level | whether it is in a group of bins; a group is large enough to be counted in a small window |

Levels without an order are ordered by how frequent they are: a rising location says that rare levels became less rare.
Scores are bounded, so one absurd value moves no mean by more than its row's share. Source: Hájek, Šidák, Sen, Theory of
Rank Tests, 2nd ed. (1999), chapter 4; scores of grouped data: their conditional mean in the group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from monitoring.data_drift.columns import UNSEEN, Codes, Column, Floats
from monitoring.data_drift.sketch import Sketches

FEWEST = 8.0  # rows that a group of bins should have in a small window
MOST_GROUPS, MOST_LEVEL_GROUPS = 10, 24


@dataclass(frozen=True)
class Contrasts:
    """All contrasts of all columns, in this order: locations, spreads, missing, then the groups, column by column."""

    matrix: Floats  # bins × contrasts
    membership: Floats  # bins × columns: 1 where a bin holds values of the column; its missing bin is not among them
    column: Codes  # of each contrast
    variance: Floats  # of a row's score on the reference
    first: Codes  # where each column's groups begin, counted from the first group
    labels: tuple[tuple[str, ...], ...]  # of each column's groups

    @property
    def columns(self) -> int:
        return int(self.membership.shape[1])

    @property
    def shares(self) -> slice:
        """The contrasts that are shares: missing, and the groups."""
        return slice(2 * self.columns, None)

    def observed(self, windows: Sketches) -> Floats:
        """windows × columns: rows with a value."""
        return windows.counts @ self.membership

    def rows(self, windows: Sketches) -> Floats:
        """windows × contrasts: the rows that each mean is of, at least one."""
        rows = self.observed(windows)[:, self.column]
        rows[:, 2 * self.columns : 3 * self.columns] = windows.rows[:, None]
        return np.asarray(np.maximum(rows, 1.0))

    def means(self, windows: Sketches) -> Floats:
        """windows × contrasts: the mean score."""
        return np.asarray(windows.counts @ self.matrix / self.rows(windows))


def contrasts(columns: Sequence[Column], history: Sketches) -> Contrasts:
    """The contrasts of these columns, scaled on all of the history."""
    total = history.counts.sum(axis=0)
    few = float(np.quantile(history.rows, 0.1))
    parts = [_of_column(column, counts, few) for column, counts in zip(columns, _cut(columns, total), strict=True)]
    places = np.cumsum([0] + [column.bins + 1 for column in columns])
    blocks = []
    for kind in (0, 1, 2):  # location, spread, missing
        blocks += [(place, part[0][:, kind : kind + 1]) for place, part in zip(places, parts, strict=False)]
    blocks += [(place, part[0][:, 3:]) for place, part in zip(places, parts, strict=False)]
    matrix = _side_by_side(blocks, len(total))
    groups = [len(part[1]) for part in parts]
    column = np.concatenate([np.tile(np.arange(len(columns)), 3), np.repeat(np.arange(len(columns)), groups)])
    membership = _side_by_side(
        [(p, np.append(np.ones(c.bins), 0)[:, None]) for p, c in zip(places, columns, strict=False)], len(total)
    )
    first = np.cumsum([0, *groups[:-1]])
    unscaled = Contrasts(matrix, membership, column, np.ones(len(column)), first, tuple(part[1] for part in parts))
    return _with_variance(unscaled, total, 1 / float(np.median(history.predictions)))


def _with_variance(found: Contrasts, total: Floats, least: float) -> Contrasts:
    """`least` is the smallest share that counts as none: one answer of a usual window."""
    rows = np.maximum((total @ found.membership)[found.column], 1.0)
    rows[2 * found.columns : 3 * found.columns] = total.sum() / found.columns
    mean, square = total @ found.matrix / rows, total @ found.matrix**2 / rows
    variance = square - mean**2
    share = np.clip(mean[found.shares], least, 1 - least)  # never quite none or all
    variance[found.shares] = share * (1 - share)
    return Contrasts(found.matrix, found.membership, found.column, variance, found.first, found.labels)


def _of_column(column: Column, counts: Floats, few: float) -> tuple[Floats, tuple[str, ...]]:
    """Bins × (location, spread, missing, groups …), and the groups' labels."""
    present, missing = counts[:-1], np.append(np.zeros(column.bins), 1.0)
    share = present / max(present.sum(), 1.0)
    location = _scaled(_normal_scores(share), share)
    middle = (
        np.cumsum(share) - share / 2 - 0.5
    )  # ranks, for squared normal scores are skewed: their means alarm too often
    spread = _scaled(middle**2, share) if column.edges is not None else np.zeros(column.bins)
    group = _groups(share, column, FEWEST / few)
    indicators = np.eye(group.max() + 1)[group]
    labels = tuple(_label(column, np.flatnonzero(group == one), share) for one in range(group.max() + 1))
    scores = np.column_stack([np.append(location, 0), np.append(spread, 0), missing])
    return np.hstack([scores, np.vstack([indicators, np.zeros(group.max() + 1)])]), labels


def _normal_scores(share: Floats) -> Floats:
    """The mean of a standard normal variable in the stretch that each bin takes up; its edge where the bin is empty."""
    above = np.clip(np.cumsum(share), 0.0, 1.0)
    low, high = ndtri(np.append(0.0, above[:-1])), ndtri(above)
    density = (np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)) / np.sqrt(2 * np.pi)
    inside = density / np.where(share > 0, share, 1.0)
    return np.asarray(np.where(share > 0, inside, np.clip(high, inside.min(), inside.max())))


def _scaled(scores: Floats, share: Floats) -> Floats:
    centred = scores - share @ scores
    deviation = np.sqrt(share @ centred**2)
    return np.asarray(centred / deviation if deviation > 1e-6 else np.zeros_like(centred))


def _groups(share: Floats, column: Column, smallest: float) -> Codes:
    """The group of each bin: neighbours together until they are enough; what was never seen, by itself."""
    if column.edges is None:
        large = np.flatnonzero(share >= smallest)[:MOST_LEVEL_GROUPS]
        group, seen = np.full(len(share), len(large), np.intp), share > 0
        group[large] = np.arange(len(large))
    else:
        target, seen = max(smallest, 1 / MOST_GROUPS), _within(share > 0)
        group = np.floor((np.cumsum(share) - share / 2) / target).astype(np.intp)
        group = _enough(share, _alone(share, group, target), smallest)
    group = np.where(seen, group, group.max() + 1)
    return np.unique(group, return_inverse=True)[1].astype(np.intp)


def _within(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """From the first to the last that was seen: a number between two others is nothing new."""
    return np.asarray(np.maximum.accumulate(seen) & np.maximum.accumulate(seen[::-1])[::-1])


def _alone(share: Floats, group: Codes, target: float) -> Codes:
    """A bin of as much as a group is one by itself."""
    ahead = np.cumsum(share >= target)
    return np.asarray(group + ahead + np.append(0, ahead[:-1]), np.intp)


def _enough(share: Floats, group: Codes, smallest: float) -> Codes:
    """Too small a group of numbers joins the one before it: of what is rare a few answers would look like a shift."""
    kept = np.flatnonzero(np.bincount(group, weights=share) >= smallest)
    if kept.size == 0:
        return np.zeros_like(group)
    return np.asarray(kept[np.maximum(np.searchsorted(kept, group, side="right") - 1, 0)], np.intp)


def _label(column: Column, bins: Codes, share: Floats) -> str:
    if share[bins].sum() == 0:
        return UNSEEN
    if len(bins) == 1:
        return column.labels[int(bins[0])]
    if column.edges is None:
        return "rare levels"
    first, last = int(bins[0]), int(bins[-1])
    if (first, last) == (0, column.bins - 1):
        return "any"
    if first == 0:
        return f"below {column.edges[last]:.4g}"
    if last == len(column.edges):
        return f"{column.edges[first - 1]:.4g} and more"
    return f"{column.edges[first - 1]:.4g} to {column.edges[last]:.4g}"


def _cut(columns: Sequence[Column], total: Floats) -> list[Floats]:
    return np.split(total, np.cumsum([column.bins + 1 for column in columns])[:-1])


def _side_by_side(blocks: list[tuple[int, Floats]], bins: int) -> Floats:
    matrix = np.zeros((bins, sum(block.shape[1] for _, block in blocks)))
    place = 0
    for first, block in blocks:
        matrix[first : first + len(block), place : place + block.shape[1]] = block
        place += block.shape[1]
    return matrix
