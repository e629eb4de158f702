"""Scores against what happened, in bins of scores alike: what a calibration plot draws."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from contracts.findings import CalibrationBin
from monitoring.quality import Rows, Values

BINS, CONFIDENCE = 10, 0.95


def calibration_bins(rows: Rows) -> tuple[CalibrationBin, ...]:
    """Ten bins of equally many rows, fewer where scores are tied; rows weigh what they stand for."""
    if not len(rows.labels):
        return ()
    edges = np.unique(np.quantile(rows.scores, np.linspace(0, 1, BINS + 1)[1:-1]))
    places = np.searchsorted(edges, rows.scores, side="left")
    return tuple(_bin(rows, places == place) for place in np.unique(places))


def _bin(rows: Rows, mine: NDArray[np.bool_]) -> CalibrationBin:
    labels, weights = rows.labels[mine], rows.weights[mine]
    rate = float(np.average(labels, weights=weights))
    count = _effective(labels - rate, weights, rows.predictions[mine], rate * (1 - rate))
    low, high = wilson(rate, count)
    return CalibrationBin(
        float(np.average(rows.scores[mine], weights=weights)), rate, low, high, int(np.count_nonzero(mine))
    )


def _effective(residuals: Values, weights: Values, predictions: NDArray[np.object_], variance: float) -> float:
    """How many independent rows would tell the rate as well: rows of one prediction are alike, and weights differ.

    The variance of a label over that of the rate, as a ratio estimator over predictions has it (Cochran, Sampling
    Techniques, 3rd ed., section 6.4); never more than Kish's effective size of the weights.
    """
    _, group = np.unique(predictions.astype(str), return_inverse=True)
    squared = float(weights.sum()) ** 2
    kish = squared / float(np.sum(weights**2))
    spread = float(np.sum(np.bincount(group, weights=weights * residuals) ** 2)) / squared
    return min(kish, variance / spread) if spread > 0 else kish


def wilson(rate: float, count: float) -> tuple[float, float]:
    """The interval of a rate seen in `count` independent rows (Wilson, "Probable inference", 1927)."""
    z2 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    centre = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (rate * (1 - rate) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return max(0.0, centre - half), min(1.0, centre + half)
