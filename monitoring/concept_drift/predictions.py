"""From labelled rows to what the detector is given: one bounded loss a prediction, and its share of a whole bet."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import Floats


@dataclass(frozen=True)
class Predictions:
    """One value a prediction, in the order in which predictions first appear among the rows."""

    values: Floats  # mean loss of its rows, in [0, 1]
    shares: Floats  # their weight over the largest possible one, in [0, 1]
    first: NDArray[np.int64]  # the place of its first row, for its time


def squared_errors(labels: Floats, scores: Floats) -> Floats:
    """Each row's Brier score: bounded, and lowest in expectation where the score is the probability (Brier 1950)."""
    return np.asarray((labels - scores) ** 2, np.float64)


def per_prediction(
    losses: Floats, predictions: NDArray[Any], weights: Floats | None = None, most: float = 1.0
) -> Predictions:
    """The mean loss of each prediction's rows, which share a user and a moment and so are no independent evidence.

    `losses` lie in [0, 1], `predictions` are the ids, all as long as the rows are many. `weights`: one over the
    probability that a row's label becomes known, `most` the largest that is possible, known beforehand; rows whose
    labels are not known weigh 0 and may have any loss. What the detector then bets on for a prediction of n rows,

        share · (value − m) = Σ weight · (loss − m) / (n · most)

    has a mean of at most 0 where the mean loss over all rows, labelled or not, is at most m (inverse propensity
    weighting: Horvitz and Thompson, 1952). Weights that are all alike cancel out. Capped weights are no longer one over
    the propensity, and nothing is promised of them: `most` is to be the largest that there is.
    """
    weights = np.ones(len(losses)) if weights is None else weights
    _check(losses, weights, most)
    _, first, group = np.unique(predictions, return_index=True, return_inverse=True)
    rows, weighed = np.bincount(group), np.bincount(group, weights)
    total = np.bincount(group, weights * np.where(weights > 0, losses, 0.0))
    means = np.divide(total, weighed, out=np.zeros(len(total)), where=weighed > 0)
    order = np.argsort(first)
    return Predictions(
        np.clip(means, 0.0, 1.0)[order],  # a weighted mean may leave [0, 1] by rounding
        np.clip(weighed / (rows * most), 0.0, 1.0)[order],
        np.asarray(first[order], np.int64),
    )


def _check(losses: Floats, weights: Floats, most: float) -> None:
    outside = weights[~((weights >= 0) & (weights <= most))]
    if outside.size:
        raise InvalidInput(f"A row weighs {outside[0]}; the largest weight must be known, and was {most}.", "weights")
    counted = losses[weights > 0]
    outside = counted[~((counted >= 0) & (counted <= 1))]
    if outside.size:
        raise InvalidInput(f"A row's loss is {outside[0]}; give losses between 0 and 1.", "losses")
