"""The load test's parts that need no server: what it sends and when, what it measures, how it judges."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import systems
from contracts.errors import InvalidInput
from infra.settings import ROOT
from services.client.loadtest import bodies
from services.client.loadtest.measure import Durations, Tally, merged
from services.client.loadtest.saturation import Search, Step, search
from services.client.loadtest.verdict import Verdict, judge, milliseconds

SYSTEM = systems.load("ad_click")
REQUIRED = SYSTEM.requirements
AT = datetime(2026, 3, 1, tzinfo=UTC)


def durations(*seconds: float) -> Durations:
    made = Durations()
    for one in seconds:
        made.add(one)
    return made


def tally(latency: float = 0.01, count: int = 1000, **more: object) -> Tally:
    """A stage of ten seconds whose requests all took as long."""
    made = Tally(due=count, answered=count, latency=durations(*[latency] * count), ended=10.0)
    return replace(made, **more)  # type: ignore[arg-type]  # fields by their names


def test_percentiles_are_nearest_ranks_within_a_percent_and_never_too_low() -> None:
    spans = durations(*(n / 1000 for n in range(1, 1001)))
    for share, true in ((0.5, 0.5), (0.9, 0.9), (0.99, 0.99), (0.999, 0.999), (1.0, 1.0)):
        assert true <= spans.percentile(share) <= 1.01 * true
    assert spans.longest == 1.0
    assert durations(0.000_123).percentile(0.5) == pytest.approx(0.000_123)


def test_the_longest_is_kept_as_it_was() -> None:
    spans = durations(0.123_456_7)
    assert spans.percentile(1.0) == spans.longest == 0.123_456_7


def test_nothing_measured_is_no_number() -> None:
    assert Durations().percentile(0.99) != Durations().percentile(0.99)
    assert milliseconds(Durations().percentile(0.99)) == "none measured"


def test_tallies_of_processes_add_up_after_their_journey() -> None:
    one = tally(0.01, 10, fallbacks=2, degraded=Counter({"user: missing": 3}), busy=0.2)
    one.fail("503 overloaded", "try later")
    other = tally(0.5, 30, busy=0.4, stopped=True)
    both = merged([Tally.unpacked(json.loads(json.dumps(each.packed()))) for each in (one, other)])
    assert (both.due, both.answered, both.fallbacks, both.failed, both.busy) == (40, 40, 2, 1, 0.4)
    assert both.examples == {"503 overloaded": "try later"}
    assert both.degraded == {"user: missing": 3}
    assert both.stopped
    assert both.latency.percentile(0.25) == pytest.approx(0.01)
    assert both.latency.percentile(0.26) == pytest.approx(0.5)


def test_the_bodies_are_the_worlds_and_the_gateway_would_take_them(tmp_path: Path) -> None:
    written = bodies.write(tmp_path / "bodies", SYSTEM, SYSTEM.world(7), AT, 700, None)
    lines = (tmp_path / "bodies").read_bytes().splitlines()
    assert written == len(lines) == 700
    assert len({SYSTEM.task.request.model_validate_json(line).model_dump_json() for line in lines}) > 690


@pytest.mark.parametrize("count", [1, 20, 500])
def test_every_request_has_as_many_candidates_as_asked(tmp_path: Path, count: int) -> None:
    bodies.write(tmp_path / "bodies", SYSTEM, SYSTEM.world(7), AT, 20, count)
    for line in (tmp_path / "bodies").read_bytes().splitlines():
        rows = bodies.rows_of(SYSTEM, json.loads(line))  # which refuses an ad that is there twice
        assert len(rows["ad_id"]) == count


def test_candidates_beyond_the_systems_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="ad_click takes from 1 to 500 candidates a request; --candidates is 501"):
        bodies.write(tmp_path / "bodies", SYSTEM, SYSTEM.world(7), AT, 20, 501)


def test_a_system_without_candidates_is_told_so() -> None:
    alone = replace(SYSTEM, task=replace(SYSTEM.task, item=None))
    with pytest.raises(InvalidInput, match="a request of ad_click has no one list of candidates"):
        bodies.candidates_field(alone, SYSTEM.world(7).requests(3, AT, 1))


def test_requirements_that_hold() -> None:
    assert judge(tally(), REQUIRED, 100.0, 10.0).held == "held"
    assert judge(tally(), REQUIRED, None, 10.0).held == "held"


def test_a_slow_percentile_breaks_them() -> None:
    verdict = judge(tally(0.06), REQUIRED, 100.0, 10.0)
    assert verdict.held == "broken"
    assert verdict.sentence == "Broken: p99 latency 60.0 ms (at most 50.0 ms)."


def test_errors_break_them() -> None:
    failed = tally(answered=998, errors=Counter({"timed out": 2}))
    assert judge(failed, REQUIRED, 100.0, 10.0).sentence == "Broken: answered 99.800% (at least 99.900%)."


def test_quick_answers_without_a_model_break_them() -> None:
    assert "by a model 50.000%" in judge(tally(fallbacks=500), REQUIRED, 100.0, 10.0).sentence


def test_a_backlog_that_grows_breaks_them() -> None:
    assert "answers a second 50.0 (at least 95.0)" in judge(tally(ended=20.0), REQUIRED, 100.0, 10.0).sentence


def test_what_the_generators_own_lateness_can_explain_is_not_judged() -> None:
    late = tally(0.06, lateness=durations(*[0.006] * 100))
    verdict = judge(late, REQUIRED, 100.0, 10.0)
    assert verdict.held == "not judged"
    assert verdict.remarks == ("The generator itself was late by 6.00 ms (p99): the latencies include that.",)
    assert judge(replace(late, lateness=durations(0.004)), REQUIRED, 100.0, 10.0).held == "broken"


@pytest.mark.parametrize(
    ("busy", "starved", "needs"), [(0.95, 0.0, "more --processes"), (0.3, 0.65, "a machine with less to do")]
)
def test_a_generator_at_its_limit_blames_nobody(busy: float, starved: float, needs: str) -> None:
    slow = tally(2.0, ended=20.0, answered=600, errors=Counter({"timed out": 400}), busy=busy, starved=starved)
    verdict = judge(slow, REQUIRED, 100.0, 10.0)
    assert verdict.held == "not judged"
    assert needs in verdict.remarks[0]
    assert judge(tally(busy=busy, starved=starved), REQUIRED, 100.0, 10.0).held == "held"


def found_by_search(limit: float, flukes: int = 0) -> Search:
    """A search on a server that holds up to `limit`, and breaks by chance the first few times."""
    left = flukes

    def run(rate: float) -> Step:
        nonlocal left
        holds, left = rate <= limit and left == 0, max(0, left - 1)
        return Step(rate, tally(), judge(tally(0.01 if holds else 1.0), REQUIRED, rate / rate, 10.0))

    return search(run, 50.0)


def test_the_search_closes_in_on_the_limit() -> None:
    found = found_by_search(400.0)
    assert 400.0 * 0.89 < found.held <= 400.0 < found.broke
    assert found.judged(REQUIRED) == "held"
    assert "held)" in found.sentence(REQUIRED)


def test_a_limit_below_the_rate_required_is_broken() -> None:
    assert found_by_search(100.0).judged(REQUIRED) == "broken"
    assert found_by_search(10.0).sentence(REQUIRED) == "No rate held; 200 requests a second are required."


def test_a_step_that_broke_by_chance_is_tried_once_more() -> None:
    assert found_by_search(400.0, flukes=1).held > 350.0
    assert found_by_search(400.0, flukes=2).held == 0.0


def test_a_search_that_the_generator_ended_is_not_judged() -> None:
    steps = (Step(50.0, tally(), Verdict(judge(tally(), REQUIRED, 1.0, 10.0).checks)),)
    broken = judge(tally(2.0, busy=0.95), REQUIRED, 1.0, 10.0)
    assert Search((*steps, Step(75.0, tally(), broken))).judged(REQUIRED) == "not judged"


def test_the_command_line_never_loads_what_patches_the_standard_library() -> None:
    code = "import sys, services.client.loadtest.commands; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(shown.stdout.split()) & {"gevent", "locust", "geventhttpclient"}
