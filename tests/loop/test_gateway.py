"""The gateway as a process of its own, before real Redis servers and real serving, while they hang, die and return."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import psutil
import pytest
from sklearn.linear_model import LogisticRegression

import systems
from contracts.records import ModelVersion
from infra import components, health, redis_server, wiring
from infra.settings import Settings
from pipelines.onnx_export import to_onnx
from tests.conftest import poll, settings_in

PREDICTIONS = "/v1/systems/ad_click/predictions"
SYSTEM = systems.load("ad_click")
SLACK = 0.25  # seconds for the client and two busy processors, besides the deadline


@dataclass(frozen=True)
class Small:
    """The gateway and what is behind it: features and log on a Redis of their own each, serving, no registry."""

    settings: Settings
    features: subprocess.Popen[bytes]
    log: subprocess.Popen[bytes]
    serving: subprocess.Popen[bytes]
    gateway: subprocess.Popen[bytes]

    def client(self, **headers: str) -> httpx.Client:
        key = self.settings.secret("api_key")
        return httpx.Client(base_url=self.settings.gateway, headers={"Authorization": f"Bearer {key}", **headers})

    def predict(self, user: str = "u1", **headers: str) -> httpx.Response:
        with self.client(**headers) as client:
            return client.post(PREDICTIONS, json={**SYSTEM.task.example, "user_id": user})

    def champion_answers(self) -> bool:
        answer = self.predict()
        return answer.status_code == 200 and answer.json()["variant"] == "champion"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    folder = tmp_path_factory.mktemp("gateway")
    log_settings = settings_in(folder / "log")
    features_settings = settings_in(folder / "features")
    urls = {"redis_url": features_settings.redis, "log_redis_url": log_settings.redis}
    settings = settings_in(folder / "state").model_copy(update=urls)
    keep_a_champion(settings)
    with (
        process(redis_server.command(log_settings), log_settings.redis) as log,
        process(redis_server.command(features_settings), features_settings.redis) as features,
        component(settings, "serving", folder) as serving,
        component(settings, "gateway", folder) as gateway,
    ):
        made = Small(settings, features, log, serving, gateway)
        poll(made.champion_answers, 20.0, "an answer of the champion")
        yield made


def keep_a_champion(settings: Settings) -> None:
    """A model as serving keeps its last verified one, so that it needs no registry to start."""
    random = np.random.default_rng(0)
    names = SYSTEM.features.names
    X = random.random((200, len(names)), dtype=np.float32)
    model = to_onnx(LogisticRegression().fit(X, random.integers(0, 2, 200)), len(names))
    digest = hashlib.sha256(model).hexdigest()
    version = ModelVersion("ad_click", "1", digest, "run", names, datetime.now(UTC))
    wiring.model_cache(settings).keep(version, model)


@contextmanager
def component(settings: Settings, name: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the stack, started as the stack starts it."""
    found = {one.name: one for one in components.components(settings)}[name]
    environ = {**os.environ, **components.QUIET, **settings.environ(), **found.environ}
    with (folder / f"{name}.log").open("ab") as log, process(found.command, found.health, environ, log) as started:
        yield started


@contextmanager
def process(
    command: Any, url: str, environ: Mapping[str, str] | None = None, log: Any = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A healthy process; whatever state a test left it in, it is gone afterwards."""
    with subprocess.Popen(command, env=environ, stdout=log, stderr=log) as started:
        try:
            poll(lambda: not health.fault(url, 1.0), 60.0, f"{command[-1]} at its health check")
            yield started
        finally:
            send(started, signal.SIGCONT)
            send(started, signal.SIGTERM)
            try:
                started.wait(15)
            finally:
                send(started, signal.SIGKILL)


def send(started: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    """To the process and all that it started: BentoML's worker has a process group of its own."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(started.pid)
        for each in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(sign)


@contextmanager
def hung(*parts: subprocess.Popen[bytes]) -> Iterator[None]:
    for part in parts:
        send(part, signal.SIGSTOP)
    try:
        yield
    finally:
        for part in parts:
            send(part, signal.SIGCONT)


def timed(small: Small) -> tuple[httpx.Response, float]:
    with small.client() as client:
        client.get("/healthz")  # the connection is the client's, not the gateway's
        started = time.monotonic()
        answer = client.post(PREDICTIONS, json=dict(SYSTEM.task.example))
        return answer, time.monotonic() - started


def in_time(seconds: float) -> bool:
    return seconds < SYSTEM.requirements.deadline.total_seconds() + SLACK


def test_the_real_parts_answer_and_the_gateway_is_ready(small: Small) -> None:
    answer = small.predict()
    assert (answer.json()["model_version"], answer.json()["variant"]) == ("1", "champion")
    assert "user: missing" in answer.json()["degraded"]  # nothing was materialised, and it says so
    with httpx.Client(base_url=small.settings.gateway) as client:
        ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)


@pytest.mark.parametrize(("part", "reason"), [("features", "features: unavailable"), ("serving", "model: unavailable")])
def test_a_hung_part_costs_quality_and_no_time(small: Small, part: str, reason: str) -> None:
    with hung(getattr(small, part)):
        answers = [timed(small) for _ in range(8)]
        with httpx.Client(base_url=small.settings.gateway) as client:
            ready = client.get("/readyz")
    assert all(in_time(seconds) for _, seconds in answers)
    for answer, _ in answers:
        assert answer.status_code == 200
        assert answer.json()["variant"] == "fallback"
        assert reason in answer.json()["degraded"]
    assert ready.status_code == 503
    assert ready.json()["parts"][part] != "ok"
    poll(small.champion_answers, 10.0, "an answer of the champion")


def test_a_hung_log_is_refused_in_time(small: Small) -> None:
    with hung(small.log):
        answers = [timed(small) for _ in range(8)]
    assert all(in_time(seconds) for _, seconds in answers)
    assert {answer.status_code for answer, _ in answers} == {503}
    assert {answer.headers["retry-after"] for answer, _ in answers} == {"1"}
    poll(small.champion_answers, 10.0, "an answer of the champion")


def test_calls_that_were_cut_short_hand_nobody_anothers_answer(small: Small) -> None:
    """Replies that come late, on connections whose callers are gone, must reach no later caller (CVE-2023-28859)."""
    given = {f"key-{n}": small.predict(f"u{n}", **{"Idempotency-Key": f"key-{n}"}).content for n in range(20)}
    with hung(small.features, small.log):
        for n in range(6):
            assert small.predict("cut", **{"Idempotency-Key": f"key-{n}"}).status_code == 503
    poll(small.champion_answers, 10.0, "an answer of the champion")
    for n, (key, answer) in enumerate(given.items()):
        assert small.predict(f"u{n}", **{"Idempotency-Key": key}).content == answer


def test_every_acknowledged_prediction_and_outcome_is_in_the_log(small: Small) -> None:
    consumer = wiring.log_consumer(small.settings, "test")
    with small.client() as client:
        answers = [client.post(PREDICTIONS, json=dict(SYSTEM.task.example)).json() for _ in range(20)]
        for answer in answers:
            body = {
                "prediction_id": answer["prediction_id"],
                "item_id": answer["result"]["ads"][0]["ad_id"],
                "label": 1,
                "occurred_at": datetime.now(UTC).isoformat(),
            }
            assert client.post("/v1/systems/ad_click/outcomes", json=body).status_code == 202
    records = [entry.record for entry in consumer.read(100_000, 0.1)]
    for answer in answers:
        mine = [record for record in records if record and record.prediction_id == answer["prediction_id"]]
        assert len(mine) == 2


def test_what_was_taken_before_sigterm_is_answered(small: Small, tmp_path: Path) -> None:
    """A gateway of its own, told to stop while a request's body is still on its way."""
    other = small.settings.model_copy(update={"gateway_port": settings_in(tmp_path).gateway_port})
    body = orjson.dumps(dict(SYSTEM.task.example))
    head = (
        f"POST {PREDICTIONS} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {other.secret('api_key')}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with component(other, "gateway", tmp_path) as started:
        with socket.create_connection((other.host, other.gateway_port), timeout=10) as connection:
            connection.sendall(head.encode() + body[:50])
            poll(lambda: in_flight(other) == 1, what="the request in flight")
            send(started, signal.SIGTERM)
            poll(lambda: health.fault(f"{other.gateway}/healthz", 1.0), what="the end of listening")
            connection.sendall(body[50:])
            answer = connection.recv(65_536)
        assert started.wait(10) == -signal.SIGTERM  # uvicorn ends by the signal itself, once all is answered
    assert answer.startswith(b"HTTP/1.1 200 ")
    said = (tmp_path / "gateway.log").read_text()
    assert other.gateway in said
    assert other.secret("api_key") not in said


def in_flight(settings: Settings) -> int:
    """Requests in flight besides the one that asks."""
    text = httpx.get(f"{settings.gateway}/metrics").text
    found = re.search(r"^flywheel_gateway_in_flight (\d+)", text, re.MULTILINE)
    return int(found[1]) - 1 if found else 0
