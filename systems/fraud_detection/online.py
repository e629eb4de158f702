"""What the business counts of payments: of decisions at once, of what they cost once chargebacks are in.

The decision is not a column of the log; it follows from the score and the amount (costs.py). Where labels are needed, a
payment that was approved at random although it would have been stopped counts as what the scores say: weighed by one
over its propensity it stands for those that were stopped.
"""

import numpy as np
from numpy.typing import NDArray

from contracts.online_metric import OnlineMetric
from contracts.system import Columns, Floats
from systems.fraud_detection import costs
from systems.fraud_detection.costs import APPROVE, DECLINE


def approved(rows: Columns) -> tuple[Floats, Floats]:
    """Payments that were let through, those approved at random among them, of all."""
    explored = (rows["place"] >= 0) & ~rows["review"]
    return _counted((_decisions(rows) == APPROVE) | explored), _each(rows)


def declined(rows: Columns) -> tuple[Floats, Floats]:
    """Payments that were declined, of all."""
    explored = (rows["place"] >= 0) & ~rows["review"]
    return _counted((_decisions(rows) == DECLINE) & ~explored), _each(rows)


def reviewed(rows: Columns) -> tuple[Floats, Floats]:
    """Payments that a person was asked about, of all."""
    return _counted(rows["review"]), _each(rows)


def chargebacks(rows: Columns) -> tuple[Floats, Floats]:
    """Frauds of the payments that the scores let through."""
    let_through = _counted(_decisions(rows) == APPROVE)
    return rows["fraud"] * let_through, let_through


def caught(rows: Columns) -> tuple[Floats, Floats]:
    """Money in frauds that were reviewed or declined, of the money in all frauds."""
    money = rows["fraud"] * rows["amount"]
    return money * (_decisions(rows) != APPROVE), money


def cost(rows: Columns) -> tuple[Floats, Floats]:
    """What the decisions cost, of payments."""
    return costs.incurred(rows["fraud"], _decisions(rows), rows["amount"]), _each(rows)


def _decisions(rows: Columns) -> NDArray[np.int64]:
    return costs.decisions(rows["score"], rows["amount"])


def _counted(which: NDArray[np.bool_]) -> Floats:
    return np.asarray(which, np.float64)


def _each(rows: Columns) -> Floats:
    return np.ones(len(rows["amount"]))


METRICS = (
    OnlineMetric("approval rate", "share of payments", approved, "higher", over="answers"),
    OnlineMetric("share declined", "share of payments", declined, "lower", over="answers"),
    OnlineMetric("review share", "share of payments", reviewed, "lower", over="answers"),
    OnlineMetric("chargeback rate", "share of approved payments", chargebacks, "lower"),
    OnlineMetric("fraud caught", "share of the money in frauds", caught, "higher"),
    OnlineMetric("cost per payment", "units of currency", cost, "lower"),
)
