"""Step 7: which windows of the log are judged, what counts as harm, and how often it may be acted on."""

from datetime import timedelta

from contracts.system import Monitoring

MONITORING = Monitoring(
    window=timedelta(days=1),  # all hours of the day are in it, as in the hold-out
    min_rows=3_000,  # some thirty frauds: of fewer, one burst more or less decides
    quality_margin=0.004,  # the bound of the loss is wide already, for most of it comes from one row in a hundred
    confidence=0.99,
    drift_share=0.2,
    concept_margin=0.1,  # most rows lie far below the rare ones that are suspected: a fifth of that way is too much
    cooldown=timedelta(days=1),  # by then the next window holds only answers of the model that was trained
)
