"""Step 7: which windows of the log are judged, what counts as harm, and how often it may be acted on."""

from datetime import timedelta

from contracts.system import Monitoring

MONITORING = Monitoring(
    window=timedelta(hours=3),  # most of it must have drifted before the alarm: retraining needs those rows, too
    min_rows=1_500,
    quality_margin=0.05,  # far above what calm hours do, and below what drift does
    confidence=0.99,
    drift_share=0.3,  # a window of hours always differs from 14 days in the columns of the hour
    cooldown=timedelta(hours=4),  # by then the next window holds only answers of the model that was trained
)
