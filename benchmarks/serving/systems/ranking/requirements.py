"""Step 1: generous limits, for what is measured here is how fast the path is and not whether it may give up."""

from datetime import timedelta

import numpy as np

from contracts.online_metric import OnlineMetric
from contracts.system import Columns, Floats, Requirements

USERS, ITEMS = 50_000, 20_000


def _clicks(rows: Columns) -> tuple[Floats, Floats]:
    """Of each row: whether it was clicked, and one."""
    return rows["clicked"], np.ones(len(rows["clicked"]))


REQUIREMENTS = Requirements(
    goal="Rank the candidates by how likely this user is to click them.",
    users=USERS,
    items=ITEMS,
    requests_per_second=1_000.0,
    latency_p99=timedelta(milliseconds=50),
    deadline=timedelta(milliseconds=250),
    freshness=timedelta(hours=2),
    label_delay=timedelta(hours=1),
    availability=0.999,
    pii=("user_id",),
    region="eu",
    max_candidates=500,
    online_metrics=(OnlineMetric("click-through rate", "share", _clicks, "higher"),),
)
