"""Did quality fall? The loss on matured labels, held against what a model as good as on its hold-out would lose here.

Log loss falls and rises with the base rate, whatever the model is worth: a change that makes the positive class
rarer can make a model worse and its log loss better. Normalised cross-entropy, which is log loss divided by the entropy
of the base rate (He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", 2014, section 3), does not.
So the reference is the champion's on its hold-out, times the entropy of the window's own base rate.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
SMALLEST = 1e-7  # scores are kept this far from 0 and 1, as in training's metrics


@dataclass(frozen=True)
class Loss:
    """Mean log loss a row, with a one-sided lower bound, and what a model as good as on its hold-out would lose."""

    rows: int
    mean: float
    low: float
    reference: float


def log_losses(labels: Values, scores: Values) -> Values:
    """Log loss of each row."""
    kept = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return np.asarray(-(labels * np.log(kept) + (1 - labels) * np.log1p(-kept)), np.float64)


@dataclass(frozen=True)
class Rows:
    """A window's rows: labels, scores, which of them are of one prediction, and how many each stands for."""

    labels: Values
    scores: Values
    predictions: NDArray[np.object_]
    weights: Values


def loss_of(rows: Rows, normalised: float, confidence: float) -> Loss:
    """A window's loss, weighted. `normalised` is the champion's normalised cross-entropy on its hold-out.

    The bound is that of the excess over the reference, whose base rate is an estimate, too: it enters linearised, by
    its influence on each row (the delta method).
    """
    labels, weights = rows.labels, rows.weights
    if labels.size == 0:
        return Loss(0, math.nan, math.nan, math.nan)
    rate = float(np.clip(np.average(labels, weights=weights), SMALLEST, 1 - SMALLEST))
    entropy = -rate * math.log(rate) - (1 - rate) * math.log1p(-rate)
    slope = math.log1p(-rate) - math.log(rate)
    losses = log_losses(labels, rows.scores)
    reference = normalised * entropy
    influence = losses - reference - normalised * slope * (labels - rate)
    low = reference + lower_bound(influence, rows.predictions, weights, confidence)
    return Loss(labels.size, float(np.average(losses, weights=weights)), low, reference)


def lower_bound(values: Values, predictions: NDArray[np.object_], weights: Values, confidence: float) -> float:
    """The lower end of the weighted mean's one-sided interval.

    Rows of one prediction share a user and a moment, and a weighted mean divides by weights that were drawn with the
    rows: the standard error is that of a ratio estimator over predictions (Cochran, Sampling Techniques, 3rd ed.,
    section 6.4), not of independent rows.
    """
    _, group = np.unique(predictions.astype(str), return_inverse=True)
    mean, groups = float(np.average(values, weights=weights)), int(group.max()) + 1
    if groups < 2:
        return -math.inf
    residuals = np.bincount(group, weights=weights * (values - mean))
    error = math.sqrt(groups / (groups - 1) * float(np.sum(residuals**2))) / float(weights.sum())
    return mean - NormalDist().inv_cdf(confidence) * error


def harmed(loss: Loss, margin: float, min_rows: int) -> bool | None:
    """True when even the lower end lies above the reference by more than the margin; None with too few rows."""
    if loss.rows < min_rows:
        return None
    return loss.low > loss.reference + margin
