"""What the business counts of impressions, once their attribution window is over."""

import numpy as np

from contracts.online_metric import OnlineMetric
from contracts.system import Columns, Floats

THOUSAND = 1_000.0


def clicks(rows: Columns) -> tuple[Floats, Floats]:
    """Clicks of impressions."""
    return rows["clicked"], _each(rows)


def revenue(rows: Columns) -> tuple[Floats, Floats]:
    """What advertisers pay, in units of currency, of thousands of impressions: a click costs what was bid for it."""
    return rows["clicked"] * rows["bid"], _each(rows) / THOUSAND


def hides(rows: Columns) -> tuple[Floats, Floats]:
    """Ads that their viewers told us not to show again (an outcome with the label 0), of impressions."""
    return np.asarray(rows["reported"] & (rows["clicked"] == 0), np.float64), _each(rows)


def _each(rows: Columns) -> Floats:
    return np.ones(len(rows["clicked"]))


METRICS = (
    OnlineMetric("click-through rate", "share of impressions", clicks, "higher"),
    OnlineMetric("revenue per thousand impressions", "units of currency", revenue, "higher"),
    OnlineMetric("hide rate", "share of impressions", hides, "lower"),
)
