"""The stack's own real parts: Redis, MLflow, Prefect and Evidently start, do their work, restart and leave nothing."""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow
import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra import processes
from infra.settings import Settings
from infra.stack import Stack
from tests.conftest import poll, settings_in

STORES = """
import sys
from infra.components import components
from infra.supervisor import main
sys.exit(main(lambda settings: tuple(c for c in components(settings) if c.name in sys.argv[1:])))
"""
NAMES = ("redis", "mlflow", "prefect", "evidently")
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Stack]]:
    settings = settings_in(tmp_path_factory.mktemp("stack"))
    stack = Stack(settings, [sys.executable, "-c", STORES, *NAMES])
    with stack:
        yield settings, stack


def test_all_are_healthy_and_small(up: tuple[Settings, Stack]) -> None:
    states = up[1].status()
    assert {one.name: one.state for one in states} == dict.fromkeys(NAMES, "healthy")
    assert sum(one.memory for one in states) < 1.3e9  # bytes; 0.85e9 when this was written
    assert all(one.url for one in states)


def test_redis_wants_its_password(up: tuple[Settings, Stack]) -> None:
    settings, _ = up
    with redis.Redis.from_url(settings.redis) as client:
        assert client.ping()
    with (
        redis.Redis(host=settings.host, port=settings.redis_port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    assert settings.secret("redis_password") not in " ".join(_command_line(up, "redis"))


def test_mlflow_keeps_runs_artifacts_and_model_aliases_by_proxy(
    up: tuple[Settings, Stack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = up
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    client = mlflow.MlflowClient(settings.mlflow, settings.mlflow)
    run = client.create_run(client.create_experiment("stack"))
    client.log_metric(run.info.run_id, "log_loss", 0.5)
    (tmp_path / "model.onnx").write_bytes(b"bytes")
    client.log_artifact(run.info.run_id, str(tmp_path / "model.onnx"))
    client.create_registered_model("stack")
    version = client.create_model_version("stack", f"runs:/{run.info.run_id}/model.onnx", run.info.run_id)
    client.set_registered_model_alias("stack", "champion", version.version)
    assert client.get_model_version_by_alias("stack", "champion").run_id == run.info.run_id
    kept = list((settings.state_dir / "mlflow" / "artifacts").rglob("model.onnx"))
    assert [file.read_bytes() for file in kept] == [b"bytes"]
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")


def test_prefect_runs_an_automation_when_its_event_comes(up: tuple[Settings, Stack]) -> None:
    api = f"{up[0].prefect}/api"
    trigger = {
        "type": "event",
        "posture": "Reactive",
        "expect": ["flywheel.test"],
        "match": {"prefect.resource.id": "flywheel.system.any"},
        "threshold": 1,
        "within": 0,
    }
    _post(f"{api}/automations/", {"name": "test", "trigger": trigger, "actions": [{"type": "do-nothing"}]})
    wanted = {"filter": {"event": {"name": ["prefect.automation.triggered"]}}}

    def fired() -> Any:
        # Prefect loads a new automation into its triggers in the background: an event close behind it can be missed.
        _post(f"{api}/events", [_event("flywheel.test", "flywheel.system.any")])
        time.sleep(1)  # events are written about once a second
        return _post(f"{api}/events/filter", wanted)["events"]

    poll(fired, 40, "the automation's own event")


def test_the_pages_for_people_are_served(up: tuple[Settings, Stack]) -> None:
    for url in (up[0].mlflow, up[0].prefect, up[0].evidently):
        with LOCAL.open(url, timeout=20) as page:
            assert b"<html" in page.read().lower()


def test_redis_killed_comes_back_with_its_data(up: tuple[Settings, Stack]) -> None:
    settings, stack = up
    with redis.Redis.from_url(settings.redis) as client:
        client.set("kept", "yes")
    (before,) = (one for one in stack.states() if one.name == "redis")
    poll(lambda: b"kept" in _append_only(settings), what="the key on disk")
    os.kill(before.pid or 0, signal.SIGKILL)
    poll(lambda: any(one.name == "redis" and one.restarts for one in stack.states()), what="a restart")
    stack.wait_healthy(30)
    with redis.Redis.from_url(settings.redis) as client:
        assert client.get("kept") == b"yes"


def test_stopped_it_leaves_no_process_of_its_own(up: tuple[Settings, Stack]) -> None:
    """Last of all: after it the stack is down."""
    settings, stack = up
    running = [psutil.Process(one.pid) for one in stack.states() if one.pid]
    pids = [one.pid for head in running for one in (head, *head.children(recursive=True))]
    assert len(pids) >= len(NAMES)
    stack.stop()
    assert not [pid for pid in pids if processes.alive(pid)]
    assert not [one for one in psutil.process_iter() if str(settings.state_dir) in _words(one)]


def _command_line(up: tuple[Settings, Stack], name: str) -> list[str]:
    (pid,) = (one.pid for one in up[1].states() if one.name == name)
    return psutil.Process(pid).cmdline()


def _append_only(settings: Settings) -> bytes:
    files = (settings.state_dir / "redis").rglob("appendonly*")
    return b"".join(file.read_bytes() for file in files if file.is_file())


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _event(name: str, resource: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"id": str(uuid4()), "event": name, "occurred": now, "resource": {"prefect.resource.id": resource}}


def _post(url: str, body: Any) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  # our own server
    with LOCAL.open(request, timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text else None
