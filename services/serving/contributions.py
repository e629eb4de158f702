"""What each feature contributed to a score: sampled Shapley values of the model that serves, whatever its kind.

Štrumbelj and Kononenko 2014, Explaining prediction models and individual predictions with feature contributions: a
typical row becomes the explained one, feature by feature, in many orders; a feature's contribution is the mean change
of the score's log-odds when its turn comes. Each order is also walked backwards (antithetic pairs: Mitchell et al.
2022, Sampling Permutations for Shapley Value Estimation, section 2.2). The orders are the same for every request, so
the same row gets the same answer; and whatever they are, the contributions add up to the distance between the two
scores.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import Floats, Matrix

PAIRS = 24  # of orders: see "What explains a score" in the README of this folder
MOST_ROWS = 20  # of one call; each costs as much as some hundred rows' scores
SMALLEST = 1e-7  # scores come from float32: nearer to 0 or 1 their log-odds mean nothing
SEED = 0

Orders = NDArray[np.int64]  # orders × features: when each feature has its turn


def contributions(score: Callable[[Matrix], Floats], features: Matrix, typical: Matrix) -> NDArray[np.float64]:
    """Rows × features, in log-odds. `score` gives probabilities, `typical` is one row; InvalidInput for too many rows.

    All that is to be scored is scored in one call: a call costs more than a row.
    """
    if len(features) > MOST_ROWS:
        raise InvalidInput(f"At most {MOST_ROWS} rows are explained in one call, not {len(features)}.")
    found = np.zeros(features.shape)
    changed = [np.flatnonzero(row != typical) for row in features]
    walks = [_walk(row, typical, places) for row, places in zip(features, changed, strict=True)]
    ends = np.concatenate([typical[np.newaxis], features])
    log_odds = _log_odds(score(np.concatenate([ends, *(steps.reshape(-1, len(typical)) for steps in walks)])))
    first, rest = log_odds[0], log_odds[len(ends) :]
    for number, (places, steps) in enumerate(zip(changed, walks, strict=True)):
        between, rest = np.split(rest, [steps.shape[0] * steps.shape[1]])
        if len(places):
            found[number, places] = _mean_change(first, between.reshape(steps.shape[:2]), log_odds[1 + number])
    return found


def evaluations(count: int) -> int:
    """Rows that are scored to explain one of `count` features, at most."""
    return 2 * PAIRS * max(count - 1, 0) + 2


@cache
def orders(count: int) -> Orders:
    """The turns of `count` features: row by row a permutation, each followed by its reverse."""
    random = np.random.default_rng([SEED, count])
    turns = np.array([random.permutation(count) for _ in range(PAIRS)]).reshape(PAIRS, count)
    return np.concatenate([turns, count - 1 - turns])


def _walk(row: Matrix, typical: Matrix, places: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Orders × steps × features: the rows on the way from the typical one to `row`, both left out."""
    steps = max(len(places) - 1, 0)
    turns = orders(len(places))
    walk = np.empty((len(turns), steps, len(row)), dtype=np.float32)
    walk[:] = typical
    taken = turns[:, np.newaxis, :] <= np.arange(steps)[np.newaxis, :, np.newaxis]
    walk[:, :, places] = np.where(taken, row[places], typical[places])
    return walk


def _mean_change(first: float, between: NDArray[np.float64], last: float) -> NDArray[np.float64]:
    """For each feature the mean, over all orders, of the change that its turn made."""
    count = len(between)
    changes = np.diff(np.column_stack([np.full(count, first), between, np.full(count, last)]), axis=1)
    by_feature: NDArray[np.float64] = np.take_along_axis(changes, orders(changes.shape[1]), axis=1).mean(axis=0)
    return by_feature


def _log_odds(scores: Floats) -> Floats:
    kept = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(kept) - np.log1p(-kept), dtype=np.float64)
