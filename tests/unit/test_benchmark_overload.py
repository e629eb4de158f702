"""The overload benchmark: what it counts as good, calm, a stall and growth; its generator against a server here."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import tables
from benchmarks.overload import figures, report, sampler
from benchmarks.overload.__main__ import README, results
from benchmarks.overload.arrivals import Answers, answered
from benchmarks.serving.load import Load

WHOLE = '"degraded":[]'


def made(waited: Any, status: Any = 200.0, rate: float = 100.0) -> Answers:
    """Answers to requests that were due 1 / rate seconds apart, after so many seconds each."""
    took = np.asarray(waited, dtype=np.float64)
    statuses = np.broadcast_to(np.asarray(status, dtype=np.float64), took.shape)
    due = 1_000.0 + np.arange(len(took)) / rate
    whole = (statuses == 200.0).astype(np.float64)
    return Answers(due, due, due + took, statuses, whole, (statuses == 503.0).astype(np.float64))


def test_only_whole_answers_within_the_deadline_are_good() -> None:
    found = figures.goodput(made([0.01, 0.3, 0.002, 0.01], [200, 200, 503, 429]), 2.0, 0.25)
    assert (found.asked, found.good, found.late) == (2.0, 0.5, 0.5)
    assert found.others == {"status 503": 1, "status 429": 1}
    assert found.refused_p99 == pytest.approx(10.0)
    assert found.without_retry == 1


def test_recovery_is_the_second_from_which_on_the_tail_is_calm() -> None:
    since = np.arange(1_500) / 100
    assert figures.recovery(made(np.where(since < 4, 0.2, 0.01)), 10.0, 15) == 4
    assert figures.recovery(made(np.full(1_500, 0.2)), 10.0, 15) is None
    assert figures.recovery(made(np.full(1_500, 0.014)), 10.0, 15) == 0


def test_windows_give_a_percentile_each_and_leave_out_what_is_not_whole() -> None:
    at = np.arange(25) / 10
    assert figures.windows(at, np.arange(25.0), 1.0, 50).tolist() == [4.0, 14.0]


def test_a_slope_is_found_and_its_interval_holds_it() -> None:
    random = np.random.default_rng(3)
    grows = 100 + 2.0 * np.arange(60) / 6 + random.normal(0, 0.5, 60)
    found = figures.slope(grows, 10.0, 6, 1)
    assert found.low < 2.0 < found.high
    assert found.low > 1.5


def test_a_slope_that_is_not_there_is_seldom_seen() -> None:
    """Dependent noise without growth; 95% intervals that miss 0 in one of ten at most."""
    random = np.random.default_rng(4)
    missed = 0
    for seed in range(100):
        noise = random.normal(size=61)
        found = figures.slope(noise[1:] + 0.5 * noise[:-1], 10.0, 6, seed)
        missed += not found.low <= 0.0 <= found.high
    assert missed <= 12


def test_late_answers_side_by_side_are_one_stall() -> None:
    waited = np.full(300, 0.005)
    waited[100:104], waited[200] = 0.08, 0.06
    found = figures.stalls(made(waited), 50.0)
    assert [stall.answers for stall in found] == [4, 1]
    assert found[0].begin == pytest.approx(1_001.0)
    assert found[0].longest == pytest.approx(80.0)
    assert figures.stalls(made(np.full(10, 0.005)), 50.0) == []


def test_the_generator_notes_each_answer_and_whether_a_refusal_says_when_to_come_again(tmp_path: Path) -> None:
    (tmp_path / "bodies").write_text('{"a": 1}\n')
    with server() as port:
        load = Load("127.0.0.1", port, "/", {}, str(tmp_path / "bodies"), WHOLE, 0.5, 8, 200.0)
        found = answered(load, tmp_path / "answers.npy")
    assert 60 < len(found.due) < 150
    assert set(found.status.tolist()) == {200.0, 503.0}
    assert np.array_equal(found.whole == 1.0, found.status == 200.0)
    assert np.array_equal(found.retry_after == 1.0, found.status == 503.0)
    assert (found.due <= found.sent).all()
    assert (found.sent < found.ended).all()


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="only Linux says for how long threads ran")
def test_the_sampler_sees_who_worked(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    with sampler.sampling({"this": os.getpid()}, 0.6, path):
        began = time.process_time()
        while time.process_time() - began < 0.3:
            pass
    found = sampler.sampled(path)
    ran, queued = found.around(found.at[0], found.at[-1])["this"]
    assert found.names == ("this",)
    assert 0.0 < ran < 1_000.0
    assert queued >= 0.0
    assert (np.diff(found.ran[:, 0]) >= 0.0).all()
    assert (found.took > 0.0).all()
    assert found.slowness(found.at[0], found.at[-1]) >= 0.5
    assert np.isnan(found.slowness(0.0, 1.0))


def test_a_thread_is_read_at_each_sample_until_it_did_nothing_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "schedstat"
    monkeypatch.setattr(sampler, "_threads", lambda pid: [str(worker)])
    part = sampler.Part(0)
    worker.write_text("5 1 1\n")
    part.look()
    worker.write_text("9 2 2\n")
    assert part.sums() == (9, 2)
    part.look()  # it did nothing between that sample and this look, but something since the look before
    worker.write_text("20 3 3\n")
    assert part.sums() == (20, 3)
    part.look()
    part.look()
    worker.write_text("30 4 4\n")
    assert part.sums() == (20, 3)
    part.look()
    assert part.sums() == (30, 4)


def test_the_readmes_tables_are_those_of_the_kept_results() -> None:
    text = README.read_text()
    assert tables.written(text, report.tables(results())) == text, "run `python -m benchmarks.overload --readme`"


def test_the_tables_tell_a_target_that_was_missed() -> None:
    memory = {name: {"before": 1.0, "peak": 2.0, "after": 1.0} for name in ("redis", "gateway", "serving", "recorder")}
    point = {"asked": 10.0, "late": 0.0, "others": {}, "p50": 1.0, "p99": 2.0, "refused_p99_due": 3.0, "memory": memory}
    points = [
        {**point, "share": share, "good": good, "refused_p99": refused, "without_retry": 0}
        for share, good, refused in ((1.0, 10.0, None), (3.0, 8.0, 12.0))
    ]
    floor = {"saturation": 40.0, "points": [{**points[0], "good": 20.0}, {**points[1], "good": 1.0}]}
    found = {"100": {"saturation": 10.0, "points": points, "before": 5.0, "recovered": None, "floor": floor}}
    made = report.tables({"overload": json.loads(json.dumps({"found": found}))})
    assert made["overload-targets"].count("**no**") == 3
    assert "80%" in made["overload-targets"]
    assert "| floor | 40.0 | 20.0 | 1.00 | 5% |" in made["overload-beside"]
    assert made["overload-soak"].startswith("Not measured yet: `python -m benchmarks.overload --soak`")


class Alternating(BaseHTTPRequestHandler):
    """Answers every other request, and refuses those between."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Alternating.asked += 1
        good = Alternating.asked % 2 == 0
        body = f'{{"x":1,{WHOLE}}}'.encode() if good else b"{}"
        self.send_response(200 if good else 503)
        self.send_header("Content-Length", str(len(body)))
        if not good:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is said on the test's own output."""


@contextmanager
def server() -> Iterator[int]:
    """A server of this process; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Alternating) as one:
        one.daemon_threads = True
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one.server_address[1]
        one.shutdown()
