"""`flywheel loadtest` against the living stack: what it counts is what the platform answered and logged."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from infra import wiring
from infra.settings import ROOT, machine_environ
from tests.conftest import poll
from tests.loop.conftest import Living


def loadtest(living: Living, folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Its exit status, its JSON and what it printed."""
    found, report = folder / "found.json", folder / "report.html"
    command = [sys.executable, "-m", "infra.cli", "loadtest", "ad_click", "--warm-up", "1", *options]
    done = subprocess.run(
        [*command, "--json", str(found), "--html", str(report)],
        env=machine_environ() | living.settings.environ(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert found.exists(), done.stdout + done.stderr
    assert "Locust" in report.read_text()
    return done.returncode, json.loads(found.read_text()), done.stdout


def logged(living: Living, since: datetime) -> int:
    rows = wiring.archive(living.settings).predictions(living.system, since, living.clock.now())
    return int(rows["prediction_id"].nunique())


def test_a_rate_is_sent_answered_by_the_champion_and_logged(living: Living, tmp_path: Path) -> None:
    since = living.clock.now()
    status, found, said = loadtest(living, tmp_path, "--rate", "20", "--seconds", "4", "--processes", "2")
    assert (found["due"], found["answered"], found["failed"]) == (80, 80, 0)
    assert found["fallbacks"] == 0
    assert status == {"held": 0, "broken": 1, "not judged": 3}[found["verdict"]]
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99.9"] <= found["latency_ms"]["max"]
    assert found["service_ms"]["p50"] <= found["latency_ms"]["p50"]
    assert "p99 latency" in said
    sent = 1 + 20 + 80  # the first, by which the gateway is tried; the warm-up's; those that were measured
    poll(lambda: logged(living, since) >= sent, 30.0, "the predictions in the log")
    assert logged(living, since) == sent


def test_users_and_candidates_are_as_many_as_asked(living: Living, tmp_path: Path) -> None:
    since = living.clock.now()
    _, found, _ = loadtest(living, tmp_path, "--users", "2", "--seconds", "2", "--candidates", "50")
    assert found["answered"] == found["due"] > 10
    archive = wiring.archive(living.settings)

    def widest() -> bool:
        rows = archive.predictions(living.system, since, living.clock.now())
        return bool(len(rows)) and int(rows.groupby("prediction_id").size().max()) == 50

    poll(widest, 20.0, "50 candidates in the log")


def test_the_search_for_saturation_ends_with_the_last_rate_that_held(living: Living, tmp_path: Path) -> None:
    options = ("--find-saturation", "--rate", "400", "--seconds", "2")
    status, found, said = loadtest(living, tmp_path, *options)
    rates = [step["rate"] for step in found["steps"]]
    held = [step["rate"] for step in found["steps"] if step["verdict"] == "held"]
    assert rates[0] == 400.0
    assert found["last_rate_that_held"] in [0.0, *held]
    assert status == {"held": 0, "broken": 1, "not judged": 3}[found["verdict"]]
    assert "rate" in said
    poll(lambda: living.predict(living.request())["variant"] == "champion", 20.0, "the champion after the overload")
