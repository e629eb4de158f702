"""What the recorder says of itself over HTTP, and that its README says what it means."""

import re
from pathlib import Path

import httpx
import pytest

import services.recorder
from contracts.errors import SetupError
from services.recorder.health import Health, serving
from services.recorder.metrics import Metrics

README = Path(services.recorder.__file__).with_name("README.md")


def test_healthz_says_503_and_why_until_all_is_well() -> None:
    health = Health()
    with (
        serving("127.0.0.1", 0, health, Metrics()) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        first = client.get("/healthz")
        assert (first.status_code, first.json()["reason"]) == (503, "The recorder has not read from the log yet.")
        health.turned()
        assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (200, {"status": "ok"})
        health.turned("The disk is full.")
        assert client.get("/healthz").json() == {"status": "failing", "reason": "The disk is full."}
        assert client.get("/elsewhere").status_code == 404


def test_a_loop_that_hangs_is_not_healthy() -> None:
    health = Health(stalled_seconds=-1.0)
    health.turned()
    assert "in one turn" in (health.problem() or "")


def test_metrics_are_in_prometheus_format() -> None:
    metrics = Metrics()
    metrics.records.labels("shop", "outcome").inc(3)
    with serving("127.0.0.1", 0, Health(), metrics) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'flywheel_recorder_records_total{kind="outcome",system="shop"} 3.0' in answer.text


def test_every_metric_is_in_the_readme_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(flywheel_recorder_\w+)", README.read_text(), re.MULTILINE))
    assert documented == {metric.name + ("_total" * (metric.type == "counter")) for metric in _families()}


def _families() -> list[object]:
    return list(Metrics().registry.collect())


def test_a_taken_port_is_one_sentence_that_says_what_to_do() -> None:
    with (
        serving("127.0.0.1", 0, Health(), Metrics()) as port,
        pytest.raises(SetupError, match=f"127.0.0.1:{port}.*FLYWHEEL_RECORDER_PORT"),
        serving("127.0.0.1", port, Health(), Metrics()),
    ):
        pass
