"""The containers' health check, run as a container runs it."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.settings import ROOT
from tests.conftest import free_ports


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def check(port: int, path: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", ROOT / "infra" / "docker" / "healthy.py", str(port), path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_answer_of_2xx_is_healthy(port: int) -> None:
    done = check(port, "/well")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_any_other_answer_is_not_and_is_said(port: int) -> None:
    done = check(port, "/ill")
    assert done.returncode == 1
    assert "/ill answers HTTP/1.0 503" in done.stderr


def test_neither_is_a_port_that_nobody_listens_on() -> None:
    [free] = free_ports(1)
    done = check(free, "/well")
    assert done.returncode == 1
    assert f"port {free}: " in done.stderr
