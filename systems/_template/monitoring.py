"""Step 7: which window of the log is judged, what counts as harm, and how often it may be acted on."""

from datetime import timedelta

from contracts.system import Monitoring

MONITORING = Monitoring(
    window=timedelta(hours=3),
    min_rows=500,
    quality_margin=0.03,  # log loss a row, above what the hold-out's quality would lose
    confidence=0.99,
    drift_share=0.3,
    cooldown=timedelta(hours=4),
)
