"""Step 7: declared as for any system; nothing is monitored while it is measured."""

from datetime import timedelta

from contracts.system import Monitoring

MONITORING = Monitoring(
    window=timedelta(hours=3),
    min_rows=500,
    quality_margin=0.03,
    confidence=0.99,
    drift_share=0.3,
    cooldown=timedelta(hours=4),
)
