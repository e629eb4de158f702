"""What serving tells Prometheus, on BentoML's own /metrics; the README of this folder lists each.

Imported in the worker only: prometheus_client decides at import whether several processes write (BentoML's way), by a
variable that the worker has and the process that starts it has not.
"""

from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

# Of the processes that wrote a gauge: a killed worker's last word does not outlive its successor's.
LATEST: Final = "mostrecent"


class ServingMetrics:
    """Built once a process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        system = ["system"]
        self.rows = Counter("flywheel_serving_rows", "Rows scored", system, registry=registry)
        self.candidates = Counter(
            "flywheel_serving_candidates", "Candidates that stage one found", system, registry=registry
        )
        self.items = Counter(
            "flywheel_serving_items", "Published items that stage one was told of", system, registry=registry
        )
        self.items_refused = Counter(
            "flywheel_serving_items_refused", "Published items that stage one could not take", system, registry=registry
        )
        self.catalogue_up = Gauge(
            "flywheel_serving_catalogue_up",
            "1 while the catalogue of published items answers",
            registry=registry,
            multiprocess_mode=LATEST,
        )
        self.swaps = Counter("flywheel_serving_swaps", "Champions that took over", system, registry=registry)
        self.refusals = Counter(
            "flywheel_serving_refusals", "Champions that could not be used", system, registry=registry
        )
        self.registry_up = Gauge(
            "flywheel_serving_registry_up",
            "1 while the registry answers",
            registry=registry,
            multiprocess_mode=LATEST,
        )
        self._version = Gauge(
            "flywheel_serving_model_version",
            "The version that serves, 0 for none",
            system,
            registry=registry,
            multiprocess_mode=LATEST,
        )
        self._from_copy = Gauge(
            "flywheel_serving_from_copy",
            "1 while the registry has not confirmed the copy that serves",
            system,
            registry=registry,
            multiprocess_mode=LATEST,
        )

    def show(self, system: str, version: str | None, source: str | None) -> None:
        """What serves `system` now; the registry's versions are whole numbers."""
        self._version.labels(system).set(int(version) if version and version.isdigit() else 0)
        self._from_copy.labels(system).set(source == "verified copy")
