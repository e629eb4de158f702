"""The serving benchmark's parts: its generator against a server that is slow on purpose, its system, its tables."""

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks import tables
from benchmarks.isolated import settings_in
from benchmarks.pace import Pace
from benchmarks.serving import layers, report, usage
from benchmarks.serving.__main__ import README, RESULTS, results
from benchmarks.serving.campaign import QUICK, Plan, check_quiet
from benchmarks.serving.contenders import (
    ALL,
    CONTENDERS,
    FLOOR,
    FLYWHEEL,
    PREPARE,
    USUAL,
    components_of,
    floor_settings,
)
from benchmarks.serving.load import Load
from benchmarks.serving.ranking import SYSTEM
from benchmarks.serving.runs import generated
from benchmarks.serving.systems.ranking.world import asked
from contracts.errors import InvalidInput, Unavailable
from systems.coherence import faults


class Slow(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Answers each POST after `pause` seconds with `answer`, and counts what it was asked."""

    daemon_threads = allow_reuse_address = True
    request_queue_size = 64  # connections that may come at once

    def __init__(self, pause: float, answer: bytes, status: int = 200) -> None:
        self.pause, self.answer, self.status, self.bodies = pause, answer, status, list[bytes]()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Slow)
        server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(server.pause)  # what it answers takes so long: not a wait for anything
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.answer)))
        self.end_headers()  # the head goes out by itself, the body after it
        self.wfile.write(server.answer)

    def log_message(self, format: str, *args: Any) -> None:
        """It says nothing."""


@contextmanager
def serving(pause: float, answer: bytes = b'{"item_ids":[]}', status: int = 200) -> Iterator[Slow]:
    with Slow(pause, answer, status) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def load(server: Slow, folder: Path, **given: Any) -> Load:
    bodies = folder / "bodies"
    bodies.write_text('{"a":1}\n{"a":2}\n')
    host, port = server.server_address[:2]
    usual: dict[str, Any] = {"seconds": 1.0, "connections": 2, "whole": '"item_ids"', "headers": {}}
    return Load(host=str(host), port=int(port), path="/predict", bodies=str(bodies), **{**usual, **given})


def test_closed_connections_send_when_they_are_answered(tmp_path: Path) -> None:
    with serving(0.05) as server:
        found = generated(load(server, tmp_path))
    assert found.errors == {}
    assert found.answered == found.due == len(server.bodies)
    assert 4 < found.answered <= 2 * (1.0 / 0.05 + 1)  # two connections, 50 ms each
    assert 50.0 <= found.p50 <= found.p99 <= found.p999 <= found.longest
    assert set(server.bodies) == {b'{"a":1}', b'{"a":2}'}


def test_open_arrivals_keep_their_rate_and_their_latency_counts_the_queue(tmp_path: Path) -> None:
    with serving(0.1) as server:
        slow = generated(load(server, tmp_path, rate=40.0, connections=2, seconds=1.0))
        wide = generated(load(server, tmp_path, rate=40.0, connections=40, seconds=1.0))
    assert slow.due == wide.due  # the same moments, however slow the server is
    assert abs(slow.due - 40) < 4 * 40**0.5
    assert slow.p50 > 2 * 100.0 > 100.0 <= wide.p50  # two connections carry 20 a second: the others wait in line
    assert slow.seconds > 1.5


def test_refusals_and_answers_that_are_not_whole_are_counted_as_no_answers(tmp_path: Path) -> None:
    with serving(0.01, status=503) as server:
        refused = generated(load(server, tmp_path, seconds=0.3))
    with serving(0.01, b'{"degraded":["user: missing"]}') as server:
        degraded = generated(load(server, tmp_path, seconds=0.3, whole='"degraded":[]'))
    assert refused.answered == degraded.answered == 0
    assert refused.errors == {"status 503": refused.due}
    assert degraded.errors == {"not whole": degraded.due}


def test_what_is_never_answered_waits_and_is_counted(tmp_path: Path) -> None:
    with serving(6.0) as server:
        found = generated(load(server, tmp_path, seconds=0.2))
    assert found.answered == 0
    assert found.errors == {"no answer": 2}
    assert found.longest >= 5000.0


def test_acknowledged_ids_are_kept(tmp_path: Path) -> None:
    answer = b'{"prediction_id":"%s","item_ids":[]}' % (b"0123456789abcdef" * 2)
    with serving(0.01, answer) as server:
        found = generated(load(server, tmp_path, seconds=0.2, ids=str(tmp_path / "ids")))
    assert (tmp_path / "ids").read_text().split() == ["0123456789abcdef" * 2] * found.answered


def test_a_server_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with serving(0.0) as server:
        nowhere = load(server, tmp_path)
    with pytest.raises(Unavailable, match="Connection refused"):
        generated(nowhere)


def test_the_measured_system_holds_together_and_has_24_features() -> None:
    assert faults(SYSTEM) == []
    assert len(SYSTEM.features.names) == 24


def test_bodies_hold_as_many_different_candidates_as_asked() -> None:
    bodies = asked(np.random.default_rng(1), 5, 100, (50, 200))
    assert bodies != asked(np.random.default_rng(2), 5, 100, (50, 200))
    for body in bodies:
        request = SYSTEM.task.request.model_validate(body)
        assert SYSTEM.serving.rows is not None
        assert len(set(SYSTEM.serving.rows(request)["item_id"])) == 100


def test_all_contenders_are_up_with_their_parts_and_ports_while_they_take_turns(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert [one.name for one in components_of(PREPARE, settings)] == ["redis", "mlflow"]
    assert set(FLYWHEEL.parts) <= {one.name for one in components_of(FLYWHEEL.name, settings)}
    everything = components_of(ALL, settings)
    ports = {one.name: one.port for one in everything}
    assert len(set(ports.values())) == len(everything)
    for contender in CONTENDERS:
        assert set(contender.parts) <= set(ports)
        own = set(contender.parts) - {part for other in CONTENDERS if other is not contender for part in other.parts}
        assert getattr(settings, contender.port) in {ports[part] for part in own}


def test_what_the_floor_logs_is_not_in_flywheels_redis(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    health = {one.name: one.health for one in components_of(ALL, settings)}
    assert health["redis"] == settings.log_redis == settings.redis
    assert health["floor-log"] == floor_settings(settings).redis
    assert health["redis"] != health["floor-log"]


def test_work_beside_the_measured_is_seen() -> None:
    machine, own = usage.Machine(), time.process_time()
    while time.process_time() - own < 0.3:
        sum(range(1000))  # stands for whatever else the machine does
    seen = machine.elsewhere(0.0)
    assert 0.1 < seen <= (psutil.cpu_count() or 1)
    assert usage.Machine().elsewhere(1e9) == 0.0  # all of it known


def test_the_pace_is_processor_time_that_others_do_not_lengthen() -> None:
    with Pace() as alone:
        time.sleep(0.3)
    with Pace() as beside:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            sum(range(1000))  # holds the interpreter, so that the work waits, which is no processor time
    assert 0.0 < beside.mean < 10 * alone.mean


def test_a_full_run_is_refused_on_a_busy_machine() -> None:
    with pytest.raises(Unavailable, match=r"1\.50 cores of this machine are busy"):
        check_quiet(Plan(), 1.5)
    check_quiet(Plan(), 0.1)
    check_quiet(QUICK, 1.5)


def test_the_layers_add_up_to_the_whole() -> None:
    before = {("sum", "predictions"): 1.0, ("count", "predictions"): 10.0}
    after = {
        **{("sum", "predictions"): 1.4, ("count", "predictions"): 110.0},
        **{("sum", "features"): 0.1, ("count", "features"): 100.0},
        **{("sum", "score"): 0.08, ("count", "score"): 100.0},
        **{("sum", "log"): 0.05, ("count", "log"): 100.0},
    }
    found = layers.layers(before, after, model=0.2)
    assert found["whole"] == pytest.approx(4.0)
    assert found["transport"] == pytest.approx(0.6)
    assert sum(value for name, value in found.items() if name != "whole") == pytest.approx(found["whole"])


def test_the_readme_shows_the_kept_results() -> None:
    text = README.read_text()
    assert tables.written(text, report.tables(results())) == text, "run `python -m benchmarks.serving --readme`"


def test_kept_results_are_of_a_full_run() -> None:
    found = results()
    assert found is None or not found["about"]["plan"]["quick"]
    assert found is None or (RESULTS / "latency.svg").stat().st_size < 200_000


def test_targets_are_judged_by_their_figures() -> None:
    found = made_up(usual=100.0, flywheel=299.0)
    judged = [line.split(" | ") for line in report.targets(found).splitlines()[2:]]
    assert [line[-2:] for line in judged] == [
        ["2.99×", "**no** |"],  # 3 times were wanted
        ["10.0×", "yes |"],
        ["49.0", "yes |"],
        ["11.0", "**no** |"],  # at most 10 ms
    ]


def test_tables_show_ratios_to_the_usual_stack() -> None:
    lines = report.closed(made_up(usual=100.0, flywheel=250.0)).splitlines()
    assert [line for line in lines if "Flywheel" in line and "2.50×" in line and "0.10×" in line]
    assert [line for line in lines if "usual" in line and "| 1.00× | 1.00× |" in line]


def test_a_point_at_which_nothing_was_due_is_shown_as_not_measured() -> None:
    found = made_up(usual=100.0, flywheel=250.0)
    nothing = {"answered": 0, "seconds": 0.0, "p99": None}
    found["open"][FLYWHEEL.name]["1"][-1]["found"] |= nothing
    assert report.rate(found["open"][FLYWHEEL.name]["1"][-1]) == 0.0
    assert report.targets(found).splitlines()[-1].endswith("| – | **no** |")


def test_marks_and_tables_belong_together() -> None:
    text = "before\n<!-- measured: one -->\nold\n<!-- end -->\nafter\n"
    assert tables.written(text, {"one": "| new |"}) == text.replace("old", "| new |")
    for wrong in ({"two": ""}, {"one": "", "two": ""}):
        with pytest.raises(InvalidInput, match=r"one|two"):
            tables.written(text, wrong)


def test_columns_of_figures_stand_on_the_right() -> None:
    assert tables.markdown(("name", "req/s"), [["floor", "1,000"], ["usual", "–"]]).splitlines() == [
        "| name | req/s |",
        "| --- | ---: |",
        "| floor | 1,000 |",
        "| usual | – |",
    ]


def made_up(usual: float, flywheel: float) -> dict[str, Any]:
    """Results as a run keeps them, of one candidate."""
    own = [point(0.7 * flywheel, 0.7 * flywheel, p999=49.0, each=1.0), point(usual, usual, p99=11.0, each=1.0)]
    found = {
        "closed": {
            USUAL.name: {"1": point(None, usual, each=10.0)},
            FLOOR.name: {"1": point(None, 1000.0, each=0.5)},
            FLYWHEEL.name: {"1": point(None, flywheel, each=1.0)},
        },
        "open": {FLYWHEEL.name: {"1": own}},
    }
    return dict(json.loads(json.dumps(found)))


def point(asked: float | None, rate: float, p99: float = 5.0, p999: float = 9.0, each: float = 1.0) -> dict[str, Any]:
    found = {"answered": rate * 10, "seconds": 10.0, "p50": 1.0, "p99": p99, "p999": p999, "busy": 0.2, "errors": {}}
    cost = {
        "processor": {"redis": 0.0, "rest": each},
        "memory": {"redis": 10.0},
        "behind": 0,
        "drained": 0.0,
        "elsewhere": 0.1,
        "work": 50.0,
    }
    return {"rate": asked, "connections": 4, "found": found, "cost": cost}
