"""Step 7: which windows of the log are judged, what counts as harm, and how often it may be acted on."""

from datetime import timedelta

from contracts.system import Monitoring

MONITORING = Monitoring(
    window=timedelta(hours=2),
    min_rows=1_500,
    quality_margin=0.02,
    confidence=0.99,
    drift_share=0.3,
    cooldown=timedelta(hours=4),
)
