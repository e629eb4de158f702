"""How the flow runner is, over HTTP: GET /health and GET /metrics, from a thread beside its polls."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Protocol

from pipelines.runner_metrics import RunnerMetrics

TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format
ILL = b"not registered with Prefect, or Prefect does not answer\n"


class Watched(Protocol):
    """What is asked of the runner here."""

    @property
    def healthy(self) -> bool: ...

    @property
    def metrics(self) -> RunnerMetrics: ...


@contextmanager
def serving(runner: Watched, host: str, port: int) -> Iterator[int]:
    """The endpoint in a thread of its own while the block runs, on the port that is given (0: any)."""
    server = ThreadingHTTPServer((host, port), _handler(runner))
    threading.Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _handler(runner: Watched) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout: ClassVar[float] = 5.0  # seconds that a silent caller may hold a thread

        def do_GET(self) -> None:
            if self.path == "/health":
                self._answer(200, TEXT, b"OK\n") if runner.healthy else self._answer(503, TEXT, ILL)
            elif self.path == "/metrics":
                self._answer(200, METRICS, runner.metrics.exposition())
            else:
                self._answer(404, TEXT, b"There are only /health and /metrics.\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Health is asked for every second; nobody wants to read that."""

    return Handler
