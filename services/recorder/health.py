"""How the recorder is, over HTTP: GET /healthz and GET /metrics. Two callers need no web framework."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from time import monotonic
from typing import ClassVar

from contracts.errors import SetupError
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


@contextmanager
def serving(host: str, port: int, health: Health, metrics: Metrics) -> Iterator[int]:
    """The endpoint in a thread of its own while the block runs, on the port that is given (0: any)."""
    try:
        server = _Server((host, port), _handler(health, metrics))
    except OSError as error:
        raise SetupError(
            f"The recorder cannot listen on {host}:{port}: {error.strerror}; set FLYWHEEL_RECORDER_PORT to a free port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """As the base of its base: the one between asks the DNS for the host's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # str and int for IPv4


def _handler(health: Health, metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout: ClassVar[float] = 5.0  # seconds that a silent caller may hold a thread
        server_version, sys_version = "flywheel-recorder", ""

        def do_GET(self) -> None:
            if self.path == "/healthz":
                problem = health.problem()
                body = {"status": "ok"} if problem is None else {"status": "failing", "reason": problem}
                self._answer(200 if problem is None else 503, "application/json", json.dumps(body).encode())
            elif self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4; charset=utf-8", metrics.exposition())
            else:
                self._answer(404, "application/json", b'{"reason": "There are only /healthz and /metrics."}')

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """A line for each look at the health would bury what matters."""

    return Handler
