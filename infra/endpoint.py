"""A small HTTP endpoint for the processes that are no web service: their health and their metrics, from a thread.

Two callers (whoever minds the process, and Prometheus) need no web framework.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import ClassVar, NamedTuple

from contracts.errors import SetupError

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format


class Answer(NamedTuple):
    """What is answered to a GET."""

    status: int
    kind: str  # the content type
    body: bytes


Routes = Mapping[str, Callable[[], Answer]]  # by path


@contextmanager
def serving(name: str, host: str, port: int, routes: Routes) -> Iterator[int]:
    """Answer while the block runs, on the port that is given (0: any), which is the setting `{name}_port`."""
    try:
        server = _Server((host, port), _handler(routes))
    except OSError as error:
        raise SetupError(
            f"The {name} cannot listen on {host}:{port}: {error.strerror}; "
            f"set FLYWHEEL_{name.upper()}_PORT to a free port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="endpoint", daemon=True)
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


def _handler(routes: Routes) -> type[BaseHTTPRequestHandler]:
    only = Answer(404, TEXT, f"There are only {' and '.join(routes)}.\n".encode())

    class Handler(BaseHTTPRequestHandler):
        timeout: ClassVar[float] = 5.0  # seconds that a silent caller may hold a thread
        server_version, sys_version = "flywheel", ""

        def do_GET(self) -> None:
            answer = routes.get(self.path, lambda: only)()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *arguments: object) -> None:
            """A line for each look would bury what matters."""

    return Handler
