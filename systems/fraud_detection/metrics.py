"""What fraud detection is judged by besides the platform's metrics: labels, scores, rows and weights → a number."""

import numpy as np
from numpy.typing import NDArray

from contracts.system import Columns, Floats
from systems.fraud_detection import costs

FALSE_POSITIVES = 0.01  # of the good payments
BINS = 10


def recall(labels: Floats, scores: Floats, rows: Columns, weights: Floats) -> float:
    """The share of fraud above the threshold that one good payment in a hundred exceeds; 0 without any fraud."""
    good, fraud = labels == 0, labels > 0
    if not fraud.any():
        return 0.0
    threshold = _quantile(scores[good], weights[good], 1 - FALSE_POSITIVES)
    return float(weights[fraud & (scores > threshold)].sum() / weights[fraud].sum())


def cost_per_payment(labels: Floats, scores: Floats, rows: Columns, weights: Floats) -> float:
    """What the decisions cost a payment, in units of currency (costs.py), when they are taken by these scores."""
    amounts = np.asarray(rows["amount"], dtype=np.float64)
    cost = costs.incurred(labels, costs.decisions(scores, amounts), amounts)
    return float(np.average(cost, weights=weights))


def calibration_error(labels: Floats, scores: Floats, rows: Columns, weights: Floats) -> float:
    """Expected calibration error (Naeini, Cooper and Hauskrecht 2015, Obtaining Well Calibrated Probabilities Using
    Bayesian Binning) over bins that each expect as much fraud: with bins of equally many rows nine in ten would hold
    none. In probability, weighed by the bins' rows."""
    order = np.argsort(scores, kind="stable")
    expected = np.cumsum(scores[order] * weights[order])
    bins = np.minimum((expected / expected[-1] * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=weights[order] * (labels[order] - scores[order]), minlength=BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    """The least value that at least `share` of the weight does not exceed; -inf without values."""
    if not len(values):
        return -np.inf
    order: NDArray[np.int64] = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, share * reached[-1]))
    return float(values[order[min(place, len(order) - 1)]])
