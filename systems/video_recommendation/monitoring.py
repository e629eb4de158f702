"""Step 7: which windows of the log are judged, what counts as harm, and how often it may be acted on.

What is served is selected: the videos that the model overrates are shown, so that even in a calm world the served loss
lies a little above what the hold-out's quality would lose at its base rate. The margin is above that and below what
concept drift does, even on an older policy's pages; tests/unit/test_video_recommendation.py and the conformance suite
hold that.
"""

from datetime import timedelta

from contracts.system import Monitoring

MONITORING = Monitoring(
    window=timedelta(hours=3),
    min_rows=2_000,
    quality_margin=0.04,
    confidence=0.99,
    drift_share=0.3,
    cooldown=timedelta(hours=4),
)
