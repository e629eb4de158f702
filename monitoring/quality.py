"""Did quality fall? The loss on matured labels, held against the champion's own loss on its hold-out."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
SMALLEST = 1e-7  # scores are kept this far from 0 and 1, as in training's metrics


@dataclass(frozen=True)
class Loss:
    """Mean log loss a row, with a one-sided lower bound."""

    rows: int
    mean: float
    low: float


def log_losses(labels: Values, scores: Values) -> Values:
    """Log loss of each row."""
    kept = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return np.asarray(-(labels * np.log(kept) + (1 - labels) * np.log1p(-kept)), np.float64)


def mean_loss(losses: Values, predictions: NDArray[np.object_], confidence: float) -> Loss:
    """The mean, and the lower end of its one-sided interval.

    Rows of one prediction share a user and a moment, so the standard error is that of a ratio estimator over
    predictions (Cochran, Sampling Techniques, 3rd ed., section 6.4), not of independent rows.
    """
    rows = losses.size
    if rows == 0:
        return Loss(0, math.nan, math.nan)
    _, group = np.unique(predictions.astype(str), return_inverse=True)
    mean, groups = float(losses.mean()), int(group.max()) + 1
    if groups < 2:
        return Loss(rows, mean, -math.inf)
    residuals = np.bincount(group, weights=losses - mean)
    error = math.sqrt(groups / (groups - 1) * float(np.sum(residuals**2))) / rows
    return Loss(rows, mean, mean - NormalDist().inv_cdf(confidence) * error)


def harmed(loss: Loss, reference: float, margin: float, min_rows: int) -> bool | None:
    """True when even the lower end lies above the reference by more than the margin; None with too few rows."""
    if loss.rows < min_rows:
        return None
    return loss.low > reference + margin
