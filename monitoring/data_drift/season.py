"""What a window should look like at its hour of the week, from past windows.

The mean over all windows, plus what the hour of the day adds, plus what the hour of the week adds to that. Each
addition is shrunk by how much of the differences between hours is more than chance, so a column without a season is
matched to all of the past, and one with a season to its own hours (a random-effects model: Searle, Casella, McCulloch,
Variance Components, 1992, chapter 3; Morris, "Parametric empirical Bayes inference", JASA 78, 1983).
"""

from dataclasses import dataclass

import numpy as np

from monitoring.data_drift.columns import Codes, Floats

HOUR, DAY, WEEK = 3600.0, 24, 168
FEWEST_PER_CELL = 3.0  # past windows of an hour, on average: with fewer there is not enough history to match by it


@dataclass(frozen=True)
class Season:
    """Expected means: of all (contrasts), what each hour of the day adds (24 × contrasts), of the week (168 × …).

    The doubts are variances: by how much an hour that was rarely or never seen is less known than usual.
    """

    mean: Floats
    day: Floats
    week: Floats
    day_doubt: Floats
    week_doubt: Floats

    def expected(self, starts: Floats) -> Floats:
        """windows × contrasts, for windows that start then (seconds since the epoch)."""
        return np.asarray(self.mean + self.day[_cells(starts, DAY)] + self.week[_cells(starts, WEEK)])

    def doubt(self, starts: Floats) -> Floats:
        """windows × contrasts: the variance that comes of an hour with little past."""
        return np.asarray(self.day_doubt[_cells(starts, DAY)] + self.week_doubt[_cells(starts, WEEK)])


def season(means: Floats, rows: Floats, starts: Floats) -> Season:
    """From past windows' means (windows × contrasts). One of more rows than usual counts no more than a usual one."""
    weights = np.minimum(rows, np.median(rows))
    weights = weights / weights.mean()
    overall = weights @ means / weights.sum()
    left = means - overall
    day, day_doubt = _effects(left, weights, _cells(starts, DAY), DAY)
    week, week_doubt = _effects(left - day[_cells(starts, DAY)], weights, _cells(starts, WEEK), WEEK)
    return Season(overall, day, week, day_doubt, week_doubt)


def _effects(left: Floats, weights: Floats, cells: Codes, number: int) -> tuple[Floats, Floats]:
    """cells × contrasts: each cell's mean, shrunk towards 0, and its variance given the past beyond what is usual for
    the past's windows; 0 where there are too few windows to tell."""
    member = (cells == np.arange(number)[:, None]) * weights  # cells × windows
    count = member.sum(axis=1)
    filled = count > 0
    if len(cells) < FEWEST_PER_CELL * filled.sum() or filled.sum() < 2:
        return np.zeros((number, left.shape[1])), np.zeros((number, left.shape[1]))
    effect = member @ left / np.where(filled, count, 1.0)[:, None]
    within = weights @ (left - effect[cells]) ** 2 / (len(cells) - filled.sum())
    between = count @ effect**2 / (filled.sum() - 1)
    typical = (count.sum() - (count**2).sum() / count.sum()) / (filled.sum() - 1)
    true = np.maximum(between - within, 0.0) / typical
    share = true / np.maximum(true + within / np.maximum(count, 1e-9)[:, None], 1e-300)
    doubt = true * (1 - share)
    return effect * share, np.maximum(doubt - count @ doubt / count.sum(), 0.0)


def _cells(starts: Floats, number: int) -> Codes:
    return (np.floor(starts / HOUR) % number).astype(np.intp)
