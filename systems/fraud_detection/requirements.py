"""Step 1: what the business asks of fraud detection, in figures."""

from datetime import timedelta

from contracts.system import Requirements
from systems.fraud_detection.online import METRICS

CHARGEBACK_WINDOW = timedelta(days=28)  # a payment that was not charged back by then counts as good

REQUIREMENTS = Requirements(
    goal="Let good payments through and stop fraud at the least cost, and say why.",
    users=40_000,
    items=2_000,
    requests_per_second=100.0,
    latency_p99=timedelta(milliseconds=50),
    deadline=timedelta(milliseconds=250),
    freshness=timedelta(hours=2),  # of what is materialised; what is live counts in the next request
    label_delay=CHARGEBACK_WINDOW,
    availability=0.999,
    pii=("card_id", "device_id"),
    region="eu",
    max_candidates=1,
    online_metrics=METRICS,
)
