"""A ratio of two sums over rows, with its interval, from sums that add up over pieces of the log.

The interval is that of a ratio estimator over predictions (Cochran, Sampling Techniques, 3rd ed., section 6.4), for
rows of one prediction share a user and a moment. What it takes of n and d, each prediction's parts of the numerator and
of the denominator, are Σ n, Σ d, and the sums of their products of the second and fourth degree: the residual is
e = n − R·d, so that Σ e² and Σ e⁴ follow for whatever R turns out to be. A piece of the log is looked at once and
forgotten.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.system import Floats

FEWEST = 10.0  # predictions that the error must rest on; of fewer no interval is given
NOTHING = 1e-12  # a share of the sums of squares that rounding leaves where every residual is 0

Parts = tuple[Floats, Floats]  # each row's part of the numerator and of the denominator
Codes = NDArray[np.int64]

FIRST = ((1, 0), (0, 1))
SECOND = ((2, 0), (1, 1), (0, 2))
FOURTH = ((4, 0), (3, 1), (2, 2), (1, 3), (0, 4))
POWERS = (*FIRST, *SECOND, *FOURTH)  # of n and of d
OF_SQUARE, OF_FOURTH = (1, 2, 1), (1, 4, 6, 4, 1)  # (n − R·d)², (n − R·d)⁴ without the powers of −R


@dataclass(frozen=True)
class Estimate:
    """A ratio with its interval; error and interval are NaN where too few predictions carry it."""

    value: float
    error: float  # standard error
    low: float
    high: float
    rows: int
    predictions: int


@dataclass(frozen=True)
class Sums:
    """What is kept of some rows. Those of rows that share no prediction add up."""

    rows: int
    predictions: int
    of_powers: Floats  # Σ nⁱ·dʲ over predictions, for each of POWERS

    def __add__(self, other: "Sums") -> "Sums":
        predictions = self.predictions + other.predictions
        return Sums(self.rows + other.rows, predictions, self.of_powers + other.of_powers)

    def estimate(self, confidence: float) -> Estimate:
        """The ratio; all NaN where there is nothing to divide by.

        The error rests on as many predictions as (Σ e²)² / Σ e⁴: with few events, or few large weights, that is few,
        however many the rows.
        """
        numerator, total = self.of_powers[:2].tolist()
        if not total:
            return Estimate(math.nan, math.nan, math.nan, math.nan, self.rows, self.predictions)
        value = numerator / total
        squares, carried = self._residuals(value)
        if carried < FEWEST:
            return Estimate(value, math.nan, math.nan, math.nan, self.rows, self.predictions)
        error = math.sqrt(self.predictions / (self.predictions - 1) * squares) / abs(total)
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
        return Estimate(value, error, value - reach, value + reach, self.rows, self.predictions)

    def _residuals(self, value: float) -> tuple[float, float]:
        """Σ e², and on how many predictions it rests."""
        second, fourth = self.of_powers[2:5], self.of_powers[5:]
        squares = _expanded(second, OF_SQUARE, value)
        fourths = _expanded(fourth, OF_FOURTH, value)
        if squares <= NOTHING * float(second[0]) or fourths <= 0:
            return 0.0, 0.0
        return squares, squares**2 / fourths


def sums(parts: Parts, weights: Floats, cells: Codes, predictions: NDArray[Any]) -> tuple[Sums, ...]:
    """Of rows in cells (numbered from 0; a row in cell −1 is in none): what is kept of each cell's rows.

    `predictions` says which rows are of one prediction.
    """
    inside = cells >= 0
    cells, (number, distinct) = cells[inside], numbered(predictions[inside])
    pairs, which = pd.factorize(cells * max(distinct, 1) + number)
    of_pair = which // max(distinct, 1)
    count = int(cells.max()) + 1 if len(cells) else 0
    n, d = (np.bincount(pairs, weights=(np.asarray(part, np.float64) * weights)[inside]) for part in parts)
    powers = np.stack([np.bincount(of_pair, weights=n**i * d**j, minlength=count) for i, j in POWERS], axis=1)
    rows, groups = np.bincount(cells, minlength=count), np.bincount(of_pair, minlength=count)
    return tuple(Sums(int(rows[cell]), int(groups[cell]), powers[cell]) for cell in range(count))


def ratio(parts: Parts, weights: Floats, predictions: NDArray[Any], confidence: float) -> Estimate:
    """Weighted sum of numerators over that of denominators."""
    [found] = sums(parts, weights, np.zeros(len(weights), np.int64), predictions)
    return found.estimate(confidence)


def numbered(values: NDArray[Any]) -> tuple[Codes, int]:
    """Each value as a number, and how many there are."""
    codes, distinct = pd.factorize(values)
    return codes.astype(np.int64), len(distinct)


def _expanded(of_powers: Floats, coefficients: Sequence[int], value: float) -> float:
    """Σ (n − value·d)ᵏ."""
    signs = (-value) ** np.arange(len(coefficients), dtype=np.float64)
    return float(np.sum(of_powers * np.array(coefficients) * signs))
