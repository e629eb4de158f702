"""Step 1: what the business asks, in figures. Begin here: the label's delay decides what every other file may know."""

from datetime import timedelta

import numpy as np

from contracts.online_metric import OnlineMetric
from contracts.system import Columns, Floats, Requirements


def _purchases(rows: Columns) -> tuple[Floats, Floats]:
    """Of each visit: whether it ended in a purchase, and one."""
    return rows["bought"], np.ones(len(rows["bought"]))


REQUIREMENTS = Requirements(
    goal="Say how likely a visitor is to buy within the hour, so that help goes to those who hesitate.",
    users=5_000,
    items=1,
    requests_per_second=50.0,
    latency_p99=timedelta(milliseconds=50),
    deadline=timedelta(milliseconds=250),
    freshness=timedelta(hours=2),
    label_delay=timedelta(hours=1),  # no purchase by then is a label, too
    availability=0.999,
    pii=("visitor_id",),
    region="eu",
    max_candidates=1,
    online_metrics=(OnlineMetric("share of visits that end in a purchase", "share", _purchases, "higher"),),
)
