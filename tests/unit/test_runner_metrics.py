"""What the flow runner says of itself over HTTP, with a Prefect API of this test behind it (real: tests/loop)."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.settings import ROOT
from pipelines.flow_processes import FlowProcesses
from pipelines.runner import Runner
from pipelines.runner_health import serving
from pipelines.runner_metrics import RunnerMetrics


def runner_with(folder: Path, answer: Callable[[httpx.Request], Any]) -> Runner:
    """A runner whose Prefect answers with what `answer` makes of a request."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer(request)))
    return Runner(httpx.Client(base_url="http://prefect/api", transport=transport), FlowProcesses(folder))


def sample(runner: Runner, name: str) -> float | None:
    return runner.metrics.registry.get_sample_value(f"flywheel_runner_{name}")


def test_before_prefect_has_answered_it_is_not_well_and_says_so(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, lambda request: [])
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
    runner.deployment_ids = ["one"]
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
    runner = runner_with(
        tmp_path, lambda request: {"status": "ACCEPT"} if request.method == "POST" else {"state_type": state}
    )
    runner.conclude("some-run", 1)
    assert (sample(runner, "runs_crashed_total"), sample(runner, "runs_failed_total")) == counts


def test_runs_that_an_earlier_runner_left_are_counted_as_crashed(tmp_path: Path) -> None:
    left = [{"id": "one"}, {"id": "two"}]
    runner = runner_with(
        tmp_path, lambda request: left if request.url.path.endswith("filter") else {"status": "ACCEPT"}
    )
    runner.reconcile()
    assert sample(runner, "runs_crashed_total") == 2.0


def test_runs_in_progress_are_those_that_have_a_process(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, lambda request: {"state_type": "COMPLETED"})
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
    """Prefect's client would keep 100 MB for as long as the runner lives."""
    told = "import sys, pipelines.runner; print([name for name in ('prefect', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
