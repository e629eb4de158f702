"""What the flow runner counts. Every metric is explained in README.md; a test compares the two."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class RunnerMetrics:
    """The metrics of one runner, in a registry of its own; the runner says what its gauges show."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.registered = Gauge(
            "flywheel_runner_registered", "1 once the deployments are registered with Prefect", registry=registry
        )
        self.answer_age = Gauge(
            "flywheel_runner_prefect_answer_age_seconds",
            "Seconds since Prefect last answered a poll; NaN before the first time",
            registry=registry,
        )
        self.running = Gauge("flywheel_runner_runs_in_progress", "Runs that have a process now", registry=registry)
        self.started = Counter("flywheel_runner_runs_started", "Runs that a process was started for", registry=registry)
        self.crashed = Counter(
            "flywheel_runner_runs_crashed",
            "Runs whose process ended before they did, those that an earlier runner left behind among them",
            registry=registry,
        )
        self.failed = Counter("flywheel_runner_runs_failed", "Runs that ended as Failed", registry=registry)
        self.refused = Counter(
            "flywheel_runner_runs_refused", "Runs whose candidate the gate refused", ["system"], registry=registry
        )
        self.alarms_missed = Gauge(
            "flywheel_runner_alarms_missed",
            "Alarms that no retraining has answered, when last looked; NaN where it cannot be told",
            ["system"],
            registry=registry,
        )

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
