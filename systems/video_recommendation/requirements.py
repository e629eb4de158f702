"""Step 1: what the business asks of video recommendation, in figures."""

from datetime import timedelta

from contracts.system import Requirements
from systems.video_recommendation.online import METRICS

LABEL_DELAY = timedelta(hours=1)  # the longest video lasts 40 minutes; by then its player has said how far it came
HISTORY = 20  # videos of the user's own history that a request carries, at most
MOST_CANDIDATES = 500

REQUIREMENTS = Requirements(
    goal="Fill the page with videos that this user watches at least half of, and spend their time on.",
    users=20_000,
    items=100_000,
    requests_per_second=50.0,
    latency_p99=timedelta(milliseconds=50),
    deadline=timedelta(milliseconds=250),
    freshness=timedelta(hours=2),
    label_delay=LABEL_DELAY,
    availability=0.999,
    pii=("user_id", "watched"),
    region="eu",
    max_candidates=MOST_CANDIDATES,
    online_metrics=METRICS,
)
