"""How the flow runner is, over HTTP: GET /health and GET /metrics, from a thread beside its polls."""

from contextlib import AbstractContextManager
from typing import Protocol

from infra import endpoint
from infra.endpoint import METRICS, TEXT, Answer
from pipelines.runner_metrics import RunnerMetrics

WELL = Answer(200, TEXT, b"OK\n")
ILL = Answer(503, TEXT, b"not registered with Prefect, or Prefect does not answer\n")


class Watched(Protocol):
    """What is asked of the runner here."""

    @property
    def healthy(self) -> bool: ...

    @property
    def metrics(self) -> RunnerMetrics: ...


def serving(runner: Watched, host: str, port: int) -> AbstractContextManager[int]:
    """The endpoint while the block runs, on the port that is given (0: any)."""
    routes = {
        "/health": lambda: WELL if runner.healthy else ILL,
        "/metrics": lambda: Answer(200, METRICS, runner.metrics.exposition()),
    }
    return endpoint.serving("runner", host, port, routes)
