"""What the flow runner says of itself over HTTP, with a Prefect API of this test behind it (real: tests/loop)."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import systems
from infra.settings import ROOT
from pipelines.flow_processes import FlowProcesses
from pipelines.missed_alarms import MissedAlarms
from pipelines.runner import Runner
from pipelines.runner_health import serving
from pipelines.runner_metrics import RunnerMetrics
from tests.conftest import poll, settings_in

DEPLOYMENTS = {"of-train": "train", "of-retrain": "retrain"}


def runner_with(folder: Path, answer: Callable[[httpx.Request], Any]) -> Runner:
    """A runner whose Prefect answers with what `answer` makes of a request."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer(request)))
    api = httpx.Client(base_url="http://prefect/api", transport=transport)
    return Runner(api, FlowProcesses(folder / "pid"), MissedAlarms.of(settings_in(folder)), DEPLOYMENTS)


def run(kind: str, name: str = "", deployment: str = "of-train") -> dict[str, Any]:
    """A run as Prefect's API gives it."""
    return {
        "id": "some-run",
        "deployment_id": deployment,
        "parameters": {"system": "ad_click", "alarm": "harm-3-20260315T120000.000000"},
        "state_type": kind,
        "state_name": name or kind.capitalize(),
        "state": {"type": kind, "message": "What it said last."},
    }


def sample(runner: Runner, name: str, **labels: str) -> float | None:
    return runner.metrics.registry.get_sample_value(f"flywheel_runner_{name}", labels)


def test_before_prefect_has_answered_it_is_not_well_and_says_so(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, lambda request: [])
    runner.deployments = {}
    with serving(runner, "127.0.0.1", 0) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/health").status_code == 503
        metrics = client.get("/metrics")
        assert client.get("/elsewhere").status_code == 404
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "flywheel_runner_registered 0.0" in metrics.text
    assert "flywheel_runner_prefect_answer_age_seconds NaN" in metrics.text
    assert "flywheel_runner_runs_crashed_total 0.0" in metrics.text


def test_a_poll_that_is_answered_makes_it_well(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, lambda request: [])
    assert math.isnan(sample(runner, "prefect_answer_age_seconds") or 0.0)
    runner.step()
    with serving(runner, "127.0.0.1", 0) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    assert sample(runner, "registered") == 1.0
    assert 0.0 <= (sample(runner, "prefect_answer_age_seconds") or math.inf) < 5.0


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("COMPLETED", (0.0, 0.0)),
        ("CANCELLED", (0.0, 0.0)),
        ("FAILED", (0.0, 1.0)),
        ("CRASHED", (1.0, 0.0)),
        ("RUNNING", (1.0, 0.0)),  # its process ended, and did not say so
    ],
)
def test_how_runs_ended_is_counted(tmp_path: Path, state: str, counts: tuple[float, float]) -> None:
    runner = runner_with(tmp_path, lambda request: {"status": "ACCEPT"} if request.method == "POST" else run(state))
    runner.conclude("some-run", 1)
    assert (sample(runner, "runs_crashed_total"), sample(runner, "runs_failed_total")) == counts


@pytest.mark.parametrize(("state", "end"), [("FAILED", "failed"), ("CRASHED", "died"), ("RUNNING", "died")])
def test_a_retraining_that_did_not_end_well_is_written_down(tmp_path: Path, state: str, end: str) -> None:
    runner = runner_with(
        tmp_path,
        lambda request: {"status": "ACCEPT"} if request.method == "POST" else run(state, deployment="of-retrain"),
    )
    runner.conclude("some-run", -9)
    (kept,) = runner.alarms.retrainings.read("ad_click")
    assert (kept.run_id, kept.retraining.end, kept.alarm) == ("some-run", end, "harm-3-20260315T120000.000000")
    assert kept.said == ("Its process ended with status -9." if state == "RUNNING" else "What it said last.")


def test_a_training_is_no_retraining(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, lambda request: run("FAILED"))
    runner.conclude("some-run", 1)
    assert runner.alarms.retrainings.read("ad_click") == []


def test_a_candidate_that_the_gate_refused_is_counted(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, lambda request: run("COMPLETED", "Refused", "of-retrain"))
    runner.conclude("some-run", 0)
    assert sample(runner, "runs_refused_total", system="ad_click") == 1.0
    assert runner.alarms.retrainings.read("ad_click") == []  # the run has said so itself


def test_alarms_that_no_run_answered_are_counted_by_system(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, lambda request: [])
    runner.answer_missed_alarms()
    assert {sample(runner, "alarms_missed", system=name) for name in systems.names()} == {0.0}


def test_what_a_killed_run_left_behind_ends_with_it(tmp_path: Path) -> None:
    """A child that lives on would hold a lock of the run's."""
    child = "import os, time; print(os.fork() or time.sleep(60), flush=True); time.sleep(60)"
    processes = FlowProcesses(tmp_path)
    with subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, start_new_session=True) as leader:
        assert leader.stdout is not None
        processes.running["run"] = leader
        forked = psutil.Process(int(leader.stdout.readline()))
        leader.kill()
        poll(lambda: "run" in processes.reap(), what="the end of the run")
        poll(lambda: not forked.is_running() or forked.status() == psutil.STATUS_ZOMBIE, what="the end of its child")


def test_runs_that_an_earlier_runner_left_are_counted_as_crashed(tmp_path: Path) -> None:
    left = [{**run("RUNNING"), "id": "one"}, {**run("PENDING"), "id": "two"}]
    runner = runner_with(
        tmp_path, lambda request: left if request.url.path.endswith("filter") else {"status": "ACCEPT"}
    )
    runner.reconcile()
    assert sample(runner, "runs_crashed_total") == 2.0


def test_runs_in_progress_are_those_that_have_a_process(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, lambda request: run("COMPLETED"))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        runner.processes.running["one"] = process
        assert sample(runner, "runs_in_progress") == 1.0
    runner.ended |= runner.processes.reap()
    assert sample(runner, "runs_in_progress") == 0.0


def test_every_metric_is_in_the_readme_and_no_other() -> None:
    readme = (ROOT / "pipelines" / "README.md").read_text()
    documented = set(re.findall(r"^\| `(flywheel_runner_\w+)", readme, re.MULTILINE))
    families = RunnerMetrics().registry.collect()
    assert documented == {family.name + "_total" * (family.type == "counter") for family in families}


def test_the_runner_stays_light() -> None:
    """Prefect's client would keep 100 MB for as long as the runner lives, and so would a system's estimator."""
    told = (
        "import sys, systems, pipelines.runner; [systems.monitoring(name) for name in systems.names()]; "
        "print([name for name in ('prefect', 'pandas', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
