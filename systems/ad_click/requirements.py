"""Step 1: what the business asks of ad click prediction, in figures."""

from datetime import timedelta

from contracts.system import Requirements
from systems.ad_click.online import METRICS

ATTRIBUTION_WINDOW = timedelta(minutes=30)  # a click counts for an impression if it comes within this time

REQUIREMENTS = Requirements(
    goal="Show the ads that earn most per impression, from an honest probability that each is clicked.",
    users=20_000,
    items=2_000,
    requests_per_second=200.0,
    latency_p99=timedelta(milliseconds=50),
    deadline=timedelta(milliseconds=250),
    freshness=timedelta(hours=2),
    label_delay=ATTRIBUTION_WINDOW,
    availability=0.999,
    pii=("user_id",),
    region="eu",
    max_candidates=500,
    online_metrics=METRICS,
)
