"""What the recorder counts. Every metric is explained in README.md; a test compares the two."""

from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """The metrics of one recorder, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.records = Counter(
            "flywheel_recorder_records",
            "Records written to the archive and acknowledged",
            ["system", "kind"],
            registry=registry,
        )
        self.batches = Counter("flywheel_recorder_batches", "Batches written", registry=registry)
        self.rejected = Counter(
            "flywheel_recorder_rejected", "Poison entries moved to the dead-letter stream", registry=registry
        )
        self.failures = Counter(
            "flywheel_recorder_failures",
            "Turns that failed and were tried again, by the part that failed",
            ["part"],
            registry=registry,
        )
        self.lag = Gauge(
            "flywheel_recorder_lag", "Entries in the log that are not in the archive yet", registry=registry
        )
        self.dead_letters = Gauge(
            "flywheel_recorder_dead_letters", "Entries in the dead-letter stream", registry=registry
        )
        age = Gauge(
            "flywheel_recorder_last_write_age_seconds",
            "Seconds since something was last written; NaN before the first time",
            registry=registry,
        )
        age.set_function(self._age)
        self._written_at: float | None = None

    def wrote(self) -> None:
        """A batch is in the archive."""
        self.batches.inc()
        self._written_at = monotonic()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _age(self) -> float:
        return float("nan") if self._written_at is None else monotonic() - self._written_at
