"""Offline metrics of probabilities against labels: what training reports, and the gate compares."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from contracts.errors import InvalidInput
from contracts.system import Columns, Floats, Metric

EPSILON = 1e-7  # scores are float32: nearer to 0 or 1 they cannot be told apart, and the logarithm would be infinite
BINS = 15


def measure(y: Floats, scores: Floats, weights: Floats | None = None) -> dict[str, float]:
    """`rows`, `base_rate`, `log_loss` and `calibration_error`; where both labels occur, also the metrics that need
    both: `normalised_cross_entropy`, `roc_auc` and `pr_auc`. InvalidInput on no rows, or what is no probability.

    With weights a row counts as that many: so a sample that was drawn unevenly measures what it was drawn from."""
    losses = log_losses(y, scores)
    weights = np.ones(len(y)) if weights is None else weights
    found = {
        "rows": float(len(y)),
        "base_rate": float(np.average(y, weights=weights)),
        "log_loss": float(np.average(losses, weights=weights)),
        "calibration_error": calibration_error(y, scores, weights),
    }
    if 0 < y.mean() < 1:
        found["normalised_cross_entropy"] = found["log_loss"] / entropy(found["base_rate"])
        found["roc_auc"] = float(roc_auc_score(y, scores, sample_weight=weights))
        found["pr_auc"] = float(average_precision_score(y, scores, sample_weight=weights))
    return found


def own(metrics: Mapping[str, Metric], y: Floats, scores: Floats, rows: Columns, weights: Floats) -> dict[str, float]:
    """What a system's own metrics (`Training.metrics`) say of scores, under their names. `rows` are the row columns and
    `at`; a row counts as many as it weighs."""
    return {name: float(metric(y, scores, rows, weights)) for name, metric in metrics.items()}


def by_slice(
    y: Floats, scores: Floats, slices: Mapping[str, NDArray[Any]], min_rows: int, weights: Floats | None = None
) -> dict[str, dict[str, float]]:
    """The metrics on each slice (`device=mobile`) of at least `min_rows` rows."""
    weights = np.ones(len(y)) if weights is None else weights
    found = slices_of(slices, min_rows)
    return {name: measure(y[rows], scores[rows], weights[rows]) for name, rows in found.items()}


def slices_of(slices: Mapping[str, NDArray[Any]], min_rows: int) -> dict[str, NDArray[np.bool_]]:
    """The rows of each slice that has at least `min_rows` of them, as masks."""
    found = {}
    for column, values in slices.items():
        names, counts = np.unique(values, return_counts=True)
        found.update({f"{column}={name}": values == name for name in names[counts >= min_rows]})
    return found


def plain(name: str) -> str:
    """A slice's name as MLflow takes it, which refuses most signs in names: `device=mobile` → `device.mobile`."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_- ") else "." for letter in name)


def log_losses(y: Floats, scores: Floats) -> Floats:
    """The log loss of each row, in nats."""
    if len(y) == 0:
        raise InvalidInput("There are no rows to measure on.")
    if len(y) != len(scores):
        raise InvalidInput(f"There are {len(scores)} scores for {len(y)} labels.")
    if not np.all((scores >= 0) & (scores <= 1)):  # false for NaN too
        raise InvalidInput("Scores must be probabilities, from 0 to 1.", "scores")
    kept = np.clip(np.asarray(scores, dtype=np.float64), EPSILON, 1 - EPSILON)
    losses: Floats = np.where(y > 0, -np.log(kept), -np.log1p(-kept))
    return losses


def entropy(rate: float) -> float:
    """The log loss of always predicting the base rate: what normalised cross-entropy is divided by, so that 1 is no
    better than that (He et al. 2014, Practical Lessons from Predicting Clicks on Ads at Facebook, section 2)."""
    return float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate))


def calibration_error(y: Floats, scores: Floats, weights: Floats | None = None, bins: int = BINS) -> float:
    """Expected calibration error over bins of equally many rows (adaptive: Nguyen and O'Connor 2015, Posterior
    Calibration, section 3; with equal widths nearly all rows of a rare label would share one bin)."""
    weights = np.ones(len(y)) if weights is None else weights
    parts = np.array_split(np.argsort(scores, kind="stable"), min(bins, len(y)))
    gaps = [abs(float(np.sum(weights[part] * (y[part] - scores[part])))) for part in parts]
    return sum(gaps) / float(weights.sum())
