"""The probe over HTTP: GET /healthz (this process serves) and GET /metrics (what it looks after is asked now)."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import ClassVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from contracts.errors import SetupError

TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format


@contextmanager
def serving(host: str, port: int, collector: Collector) -> Iterator[int]:
    """The endpoint in a thread of its own while the block runs, on the port that is given (0: any)."""
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server = _Server((host, port), _handler(registry))
    except OSError as error:
        raise SetupError(
            f"The probe cannot listen on {host}:{port}: {error.strerror}; set FLYWHEEL_PROBE_PORT to a free port."
        ) from error
    threading.Thread(target=server.serve_forever, args=(0.1,), name="http", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def wait_for_signal() -> None:
    """Until SIGTERM or SIGINT; for the main thread."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    told.wait()


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """As the base of its base: the one between asks the DNS for the host's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # str and int for IPv4


def _handler(registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout: ClassVar[float] = 5.0  # seconds that a silent caller may hold a thread

        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer(200, TEXT, b"ok\n")
            elif self.path == "/metrics":
                self._answer(200, METRICS, generate_latest(registry))
            else:
                self._answer(404, TEXT, b"There are only /healthz and /metrics.\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """A line for each look would bury what matters."""

    return Handler
