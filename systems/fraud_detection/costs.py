"""What each decision costs, in units of currency, and so which one to take: the one whose expected cost is least."""

import numpy as np
from numpy.typing import NDArray

from contracts.system import Floats

DECISIONS = ("approve", "review", "decline")
APPROVE, REVIEW, DECLINE = range(3)

CHARGEBACK_FEE = 20.0  # on top of the amount, for a fraud that was let through
MARGIN = 0.03  # of the amount, lost with a good payment that was declined
ANNOYANCE = 8.0  # … and what its holder does about it
REVIEW_COST = 4.0  # a person's minutes; they find out which it is


def expected(scores: Floats, amounts: Floats) -> Floats:
    """The expected cost of each decision: rows × DECISIONS."""
    approve = scores * (amounts + CHARGEBACK_FEE)
    decline = (1 - scores) * (MARGIN * amounts + ANNOYANCE)
    return np.column_stack([approve, np.full(len(scores), REVIEW_COST), decline])


def decisions(scores: Floats, amounts: Floats) -> NDArray[np.int64]:
    """For each row, which of DECISIONS is expected to cost least."""
    least: NDArray[np.int64] = np.argmin(expected(scores, amounts), axis=1)
    return least


def incurred(labels: Floats, taken: NDArray[np.int64], amounts: Floats) -> Floats:
    """What the decisions did cost, now that the labels are known."""
    each = expected(labels, amounts)
    cost: Floats = np.take_along_axis(each, taken[:, None], axis=1)[:, 0]
    return cost
