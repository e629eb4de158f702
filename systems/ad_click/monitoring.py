"""Step 7: which windows of the log are judged, what counts as harm, and how often it may be acted on.

Simulated at 1,800 pages an hour with seeds 7 and 11: in calm hours the served loss lies between 0.029 below and 0.009
above the hold-out's (by the hour, and by what the model picks); under concept drift 0.057 to 0.069 above it.
"""

from datetime import timedelta

from contracts.system import Monitoring

MONITORING = Monitoring(
    window=timedelta(hours=3),  # half of it must have drifted before the alarm: retraining needs those rows, too
    min_rows=1_500,
    quality_margin=0.03,  # above what calm hours do, below half of what drift does
    confidence=0.99,
    drift_share=0.3,  # a window of hours always differs from 14 days in the columns of the hour
    cooldown=timedelta(hours=4),  # by then the next window holds only answers of the model that was trained
)
