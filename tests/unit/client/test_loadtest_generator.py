"""The generator's real processes, against a server whose behaviour is known: only so can its figures be checked."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest

from contracts.errors import FlywheelError
from infra.settings import ROOT, Settings, machine_environ
from services.client.loadtest.fleet import Fleet
from services.client.loadtest.measure import Tally
from services.client.loadtest.plan import Stage, Target
from services.client.loadtest.verdict import at_limit
from tests.conftest import free_ports, poll

PATH = "/v1/systems/ad_click/predictions"
ANSWER = {"prediction_id": "p", "model_version": "1", "variant": "champion", "result": {}, "degraded": []}
REFUSAL = {"error": {"code": "overloaded", "message": "Too much.", "field": None}}


@dataclass
class Known:
    """A server that answers at once, save while it stalls; every `refuse`-th request is refused."""

    refuse: int = 0
    variant: str = "champion"
    stalled_until: float = 0.0
    requests: list[tuple[str, bytes, float]] = field(default_factory=list)  # key, body, when
    url: str = ""

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.requests.append((str(handler.headers["Authorization"]), body, time.monotonic()))
        refused = self.refuse and len(self.requests) % self.refuse == 0
        time.sleep(max(0.0, self.stalled_until - time.monotonic()))
        answer = json.dumps(REFUSAL if refused else {**ANSWER, "variant": self.variant}).encode()
        handler.wfile.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (503 if refused else 200, len(answer)))
        handler.wfile.write(answer)


@pytest.fixture
def known() -> Iterator[Known]:
    behaviour = Known()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            behaviour.handle(self)

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is what some of these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    behaviour.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield behaviour
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def fleet(
    known: Known, folder: Path, processes: int = 1, connections: int = 20, web: int | None = None
) -> Iterator[Fleet]:
    (folder / "bodies").write_bytes(b'{"n":1}\n{"n":2}\n{"n":3}\n')
    target = Target(known.url, PATH, "the-key", str(folder / "bodies"), connections, 2.0)
    with Fleet(target, processes, folder, web) as started:
        yield started


def ignore(tally: Tally) -> None:
    """A test that watches nothing."""


def test_every_request_is_sent_with_its_key_and_counted(known: Known, tmp_path: Path) -> None:
    seen: list[Tally] = []
    with fleet(known, tmp_path) as started:
        tally = started.run(Stage(2.0, rate=30.0), seen.append)
    assert (tally.due, tally.answered, tally.failed, tally.fallbacks) == (60, 60, 0, 0)
    assert len(known.requests) == tally.latency.counts.total() == 60
    assert {key for key, _, _ in known.requests} == {"Bearer the-key"}
    assert {body for _, body, _ in known.requests} == {b'{"n":1}', b'{"n":2}', b'{"n":3}'}
    assert seen
    assert seen[0].due < 60


def test_the_moments_are_spread_over_every_second(known: Known, tmp_path: Path) -> None:
    with fleet(known, tmp_path) as started:
        started.run(Stage(3.0, rate=40.0), ignore)
    first = known.requests[0][2]
    halves = [sum(half <= when - first < half + 1.0 for _, _, when in known.requests) for half in (0.0, 1.0, 2.0)]
    assert all(25 <= count <= 55 for count in halves)


def test_processes_share_the_rate_and_add_up(known: Known, tmp_path: Path) -> None:
    with fleet(known, tmp_path, processes=3) as started:
        assert len(started.pids) == 4
        tally = started.run(Stage(2.0, rate=25.0), ignore)
        closed = started.run(Stage(1.0, users=4), ignore)
    assert (tally.due, tally.answered) == (50, 50)
    assert closed.answered == closed.due >= 4
    assert len(known.requests) == 50 + closed.due


def test_queueing_is_measured_from_the_moment_due(known: Known, tmp_path: Path) -> None:
    """One connection and a server that stalls for a second: a closed loop sees a single slow answer."""
    with fleet(known, tmp_path, connections=1) as started:
        known.stalled_until = time.monotonic() + 2.3
        opened = started.run(Stage(3.0, rate=30.0), ignore)
        known.stalled_until = time.monotonic() + 1.5
        closed = started.run(Stage(3.0, users=1), ignore)
    assert opened.answered == 90
    assert opened.latency.percentile(0.5) > 0.2  # a second's worth of requests waited, and those behind them
    assert opened.service.percentile(0.9) < opened.latency.percentile(0.5)  # once sent, all but one were quick
    assert closed.latency.percentile(0.9) < 0.2 < closed.latency.longest


def test_users_wait_for_their_answers(known: Known, tmp_path: Path) -> None:
    with fleet(known, tmp_path, connections=5) as started:
        known.stalled_until = time.monotonic() + 60.0
        tally = started.run(Stage(1.0, users=5), ignore)
    assert len(known.requests) == 5
    assert (tally.answered, dict(tally.errors)) == (0, {"timed out": 5})
    assert tally.latency.percentile(0.5) >= 2.0


def test_a_client_gives_up_where_no_connection_comes_free(known: Known, tmp_path: Path) -> None:
    with fleet(known, tmp_path, connections=1) as started:
        known.stalled_until = time.monotonic() + 60.0
        tally = started.run(Stage(1.0, rate=20.0), ignore)
    assert (tally.due, tally.answered) == (20, 0)
    assert tally.failed == 20
    assert tally.errors["no free connection"] >= 15


def test_errors_are_counted_by_kind_and_lend_no_speed(known: Known, tmp_path: Path) -> None:
    known.refuse = 4
    with fleet(known, tmp_path) as started:
        tally = started.run(Stage(2.0, rate=20.0), ignore)
    assert dict(tally.errors) == {"503 overloaded": 10}
    assert tally.examples == {"503 overloaded": "Too much."}
    assert tally.latency.counts.total() == tally.answered == 30


def test_answers_by_the_fallback_are_told_apart(known: Known, tmp_path: Path) -> None:
    known.variant = "fallback"
    with fleet(known, tmp_path) as started:
        tally = started.run(Stage(1.0, rate=10.0), ignore)
    assert (tally.answered, tally.fallbacks) == (10, 10)


def test_nobody_there_is_an_error_by_its_name(known: Known, tmp_path: Path) -> None:
    nobody = Known(url=f"http://127.0.0.1:{free_ports(1)[0]}")
    with fleet(nobody, tmp_path) as started:
        tally = started.run(Stage(1.0, rate=10.0), ignore)
    assert dict(tally.errors) == {"ConnectionRefusedError": 10}


def test_a_generator_that_gets_no_processor_says_so(known: Known, tmp_path: Path) -> None:
    with fleet(known, tmp_path) as started:
        os.kill(started.pids[0], signal.SIGSTOP)
        threading.Timer(1.5, os.kill, (started.pids[0], signal.SIGCONT)).start()
        began = time.monotonic()
        tally = started.run(Stage(1.0, rate=30.0), ignore)
        assert time.monotonic() - began > 1.5
        overdriven = started.run(Stage(1.0, rate=40_000.0), ignore)
    assert tally.due == 30
    assert at_limit(overdriven)


def test_a_process_that_dies_ends_the_test_with_a_reason(known: Known, tmp_path: Path) -> None:
    with fleet(known, tmp_path, processes=2) as started:
        threading.Timer(1.0, os.kill, (started.pids[-1], signal.SIGKILL)).start()
        with pytest.raises(FlywheelError, match="The load generator ended by itself"):
            started.run(Stage(30.0, rate=20.0), ignore)
        pids = started.pids
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_the_report_is_one_file_that_asks_for_no_other(known: Known, tmp_path: Path) -> None:
    finding = {"title": "A <b> & c", "columns": ["a"], "rows": [["1"]], "verdict": "It held."}
    with fleet(known, tmp_path, processes=2) as started:
        started.run(Stage(2.0, rate=20.0, fresh=True), ignore)
        started.report(tmp_path / "report.html", [finding])
    page = (tmp_path / "report.html").read_text()
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"<link|src=|href=|url\(|@import", markup)
    assert "<script src" not in page
    assert "A &lt;b&gt; &amp; c" in page
    assert "It held." in page
    found = re.search(r'"num_requests": (\d+)', page)
    assert found
    assert int(found[1]) == 40
    assert "the-key" not in page


def test_locusts_page_is_for_its_own_machine_and_starts_nothing(known: Known, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with fleet(known, tmp_path, web=port) as started, httpx.Client(base_url=started.page) as client:
        assert started.page == f"http://127.0.0.1:{port}"
        assert {
            one.laddr.ip for one in psutil.Process(started.pids[0]).net_connections() if one.status == "LISTEN"
        } == {"127.0.0.1"}
        assert "Locust" in client.get("/").text
        assert client.get("/stats/requests").json()["state"] == "running"
        assert client.get("/stats/requests", headers={"Host": "elsewhere.example"}).status_code == 403
        assert client.get("/stats/requests", headers={"Origin": "http://elsewhere.example"}).status_code == 403
        form = {"user_count": 9, "spawn_rate": 9, "host": "http://elsewhere.example"}
        assert client.post("/swarm", data=form).status_code == 403
        threading.Timer(1.5, client.post, ("/stop",)).start()
        tally = started.run(Stage(30.0, rate=20.0), ignore)
    assert tally.stopped
    assert 0 < tally.due < 300


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_leaves_no_process_however_it_ends(known: Known, tmp_path: Path, sign: signal.Signals) -> None:
    settings = Settings.model_validate({"state_dir": tmp_path / "state", "gateway_url": known.url})
    command = [sys.executable, "-m", "infra.cli", "loadtest", "ad_click", "--rate", "20", "--processes", "2"]
    environ = machine_environ() | settings.environ() | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as started:
        poll(lambda: len(known.requests) > 10 or started.poll() is not None, 60.0, "the first requests")
        assert started.poll() is None, started.communicate()[0]
        family = psutil.Process(started.pid).children(recursive=True)
        started.send_signal(sign)
        said, _ = started.communicate(timeout=20)
    assert started.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130), said
    assert len(family) == 3
    assert not psutil.wait_procs(family, timeout=10)[1]
