"""How the recorder is, over HTTP: GET /healthz and GET /metrics."""

import json
from contextlib import AbstractContextManager
from time import monotonic

from infra import endpoint
from infra.endpoint import JSON, METRICS, Answer
from services.recorder.metrics import Metrics

STALLED_SECONDS = 20.0  # a turn waits a second and writes a few; this long means a disk or a server that hangs


class Health:
    """What the loop last said of itself. Reading and writing one attribute needs no lock."""

    def __init__(self, stalled_seconds: float = STALLED_SECONDS) -> None:
        self._stalled_seconds = stalled_seconds
        self._turned_at = monotonic()
        self._problem: str | None = "The recorder has not read from the log yet."

    def turned(self, problem: str | None = None) -> None:
        """A turn has ended, well or with a problem."""
        self._problem = problem
        self._turned_at = monotonic()

    def problem(self) -> str | None:
        """Why records do not reach the archive now; None when they do."""
        since = monotonic() - self._turned_at
        if since > self._stalled_seconds:
            return f"The recorder's loop has been in one turn for {since:.0f} s; look whether its disk or Redis hangs."
        return self._problem


def serving(host: str, port: int, health: Health, metrics: Metrics) -> AbstractContextManager[int]:
    """The endpoint while the block runs, on the port that is given (0: any)."""
    routes = {"/healthz": lambda: _healthz(health), "/metrics": lambda: Answer(200, METRICS, metrics.exposition())}
    return endpoint.serving("recorder", host, port, routes)


def _healthz(health: Health) -> Answer:
    problem = health.problem()
    body = {"status": "ok"} if problem is None else {"status": "failing", "reason": problem}
    return Answer(200 if problem is None else 503, JSON, json.dumps(body).encode())
