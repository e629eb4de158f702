"""What the gateway counts. Every metric is explained in README.md; a test compares the two."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from contracts.system import System

SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CANDIDATES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Metrics:
    """The metrics of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "flywheel_gateway_requests",
            "Requests answered, by what was asked, its system and the status",
            ["endpoint", "system", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "flywheel_gateway_seconds",
            "Seconds spent on a prediction or an outcome, whole and by stage",
            ["system", "stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("flywheel_gateway_in_flight", "Requests being answered now", registry=registry)
        self.degraded = Counter(
            "flywheel_gateway_degraded", "Answers marked degraded, by reason", ["system", "reason"], registry=registry
        )
        self.fallbacks = Counter(
            "flywheel_gateway_fallbacks", "Predictions that no model gave", ["system"], registry=registry
        )
        self.answers = Counter(
            "flywheel_gateway_answers",
            "Predictions, by the version that gave them",
            ["system", "model_version"],
            registry=registry,
        )
        self.outcomes = Counter("flywheel_gateway_outcomes", "Outcomes accepted", ["system"], registry=registry)
        self.unobserved = Counter(
            "flywheel_gateway_unobserved", "Predictions that the live views missed", ["system"], registry=registry
        )
        self.candidates = Histogram(
            "flywheel_gateway_candidates",
            "Rows scored for one prediction",
            ["system"],
            buckets=CANDIDATES,
            registry=registry,
        )
        self.p99_target = Gauge(
            "flywheel_gateway_p99_target_seconds",
            "What the system's requirements ask of the 99th percentile of its predictions",
            ["system"],
            registry=registry,
        )
        self.crashes = Counter("flywheel_gateway_crashes", "Unexpected errors, each in the log", registry=registry)
        self._remember()

    def _remember(self) -> None:
        """Looking a child up by its labels costs more than adding to it."""
        self.seconds_of = cache(self.seconds.labels)
        self.requests_of = cache(self.requests.labels)
        self.candidates_of = cache(self.candidates.labels)
        self.answers_of = cache(self.answers.labels)

    def expect(self, systems: Iterable[System]) -> None:
        """Tell what each system asks for; its fallbacks are counted from 0 on, or the first would be no increase."""
        for system in systems:
            self.p99_target.labels(system.name).set(system.requirements.latency_p99.total_seconds())
            self.fallbacks.labels(system.name)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
