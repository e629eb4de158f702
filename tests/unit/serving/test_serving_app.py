"""Serving's border and raw HTTP: what is taken, and one sentence for what is not."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from infra.candidates_codec import decode
from infra.clock import SystemClock
from infra.memory_registry import MemoryRegistry
from infra.model_cache import ModelCache
from services.serving.app import application
from services.serving.border import BODY_BYTES, Border
from services.serving.champions import Champions
from services.serving.metrics import ServingMetrics
from tests.two_stages import KIOSK
from tests.unit.serving.onnx_models import NAMES, bundle, onnx, retriever, rows, stage_ones, truth

RAW = {"content-type": "application/octet-stream", "x-columns": "3"}
AS_JSON = {"content-type": "application/json"}


class Client:
    """Asks the application as the worker's server would, without one."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def post(self, path: str, content: Any, headers: Mapping[str, str], method: str = "POST") -> httpx.Response:
        return asyncio.run(self._ask(method, path, content=content, headers=headers))

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._ask("GET", path))

    async def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://serving") as client:
            return await client.request(method, path, **given)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    registry = MemoryRegistry()
    registry.register("tiny", onnx(1), "run", NAMES, {})
    registry.point("tiny", "champion", "1")
    registry.register("kiosk", bundle(2), "run", KIOSK.features.names, {})
    registry.point("kiosk", "champion", "1")
    metrics = ServingMetrics(CollectorRegistry())
    cache, names = ModelCache(tmp_path), ("kiosk", "tiny")
    champions = Champions(registry, cache, SystemClock(), metrics, lambda: names, stage_ones(metrics))
    champions.poll()
    application.state.champions = champions
    return Client(Starlette(routes=[Mount("/v1", application)], middleware=[Middleware(Border)]))


def test_raw_rows_are_scored(client: Client) -> None:
    answer = client.post("/v1/score/tiny", content=rows(9).tobytes(), headers=RAW)
    assert answer.headers["x-model-version"] == "1"
    np.testing.assert_allclose(np.frombuffer(answer.content, "<f8"), truth(1, rows(9)), atol=1e-6)


def test_the_gateways_calls_pass_by_what_lies_behind_the_border(client: Client) -> None:
    passed: list[str] = []

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["path"])
        await Response()(scope, receive, send)

    border = Client(Border(behind))
    assert border.post("/v1/score/tiny", content=rows(9).tobytes(), headers=RAW).headers["x-model-version"] == "1"
    assert passed == []
    assert border.get("/v1/models").status_code == 200
    assert passed == ["/v1/models"]


def test_what_is_no_call_of_the_gateways_is_answered_behind_the_border(client: Client) -> None:
    for path in ("score", "score/", "score/tiny/more", "elsewhere/tiny"):
        answer = client.post(f"/v1/{path}", content=rows(9).tobytes(), headers=RAW)
        assert (answer.status_code, "Not Found" in answer.text) == (404, True)
    answer = client.post("/v1/score/tiny", content=rows(9).tobytes(), headers=RAW, method="PUT")
    assert answer.status_code == 405


def test_a_body_that_comes_in_pieces_is_scored_whole(client: Client) -> None:
    said = asked(client, [*pieces(rows(9).tobytes()), {"type": "http.disconnect"}])
    assert [message["type"] for message in said] == ["http.response.start", "http.response.body"]
    assert (b"content-length", b"72") in said[0]["headers"]
    np.testing.assert_allclose(np.frombuffer(said[1]["body"], "<f8"), truth(1, rows(9)), atol=1e-6)


def test_a_client_that_goes_away_in_the_middle_of_a_body_is_told_nothing(client: Client) -> None:
    assert asked(client, [*pieces(rows(9).tobytes())[:-1], {"type": "http.disconnect"}]) == []


def pieces(body: bytes, size: int = 40) -> list[dict[str, Any]]:
    """A body as a server hands it on, a part at a time."""
    starts = range(0, len(body), size)
    return [{"type": "http.request", "body": body[at : at + size], "more_body": at != starts[-1]} for at in starts]


def asked(client: Client, messages: list[dict[str, Any]]) -> list[Any]:
    """What is said to a client that sends these messages for its scores."""
    left, said = list(messages), []
    headers = [(b"content-type", b"application/octet-stream"), (b"x-columns", b"3"), (b"content-length", b"108")]
    scope = {"type": "http", "method": "POST", "path": "/v1/score/tiny", "headers": headers}

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(client.app(scope, receive, send))
    return said


@pytest.mark.parametrize(
    ("path", "headers", "body", "code", "said"),
    [
        ("score/tny", {}, bytes(12), 404, "Known: kiosk, tiny"),
        ("score/tiny", {"x-columns": "4"}, bytes(16), 422, "takes 3 features a row, not 4"),
        ("score/tiny", {"x-columns": "0"}, bytes(12), 422, "X-Columns is '0'"),
        ("score/tiny", {"x-columns": "three"}, bytes(12), 422, "X-Columns is 'three'"),
        ("score/tiny", {"x-columns": "9" * 5000}, bytes(12), 422, "X-Columns is"),
        ("score/tiny", {}, bytes(13), 422, "13 bytes does not divide into rows of 3"),
        ("score/tiny", {"content-type": "application/vnd.bentoml+pickle"}, bytes(12), 415, "not 'application/vnd"),
        ("score/tiny", {"content-type": "multipart/form-data; boundary=x"}, b"--x--", 415, "multipart"),
        ("score/tiny", {}, bytes(BODY_BYTES + 12), 413, f"at most {BODY_BYTES} bytes"),
        ("elsewhere", {}, b"", 404, "Not Found"),
    ],
)
def test_what_is_not_taken_is_refused_in_one_sentence(
    client: Client, path: str, headers: Mapping[str, str], body: bytes, code: int, said: str
) -> None:
    answer = client.post(f"/v1/{path}", content=body, headers={**RAW, **headers})
    assert answer.status_code == code
    assert said in answer.json()["error"]


def test_stage_one_answers_with_candidates_and_the_version_to_score_them(client: Client) -> None:
    answer = client.post("/v1/retrieve/kiosk", content=b'{"request": {"user_id": "u7"}, "at": 1.7e9}', headers=AS_JSON)
    expected = retriever(2).candidates({"user_id": "u7"}, 1.7e9)
    assert answer.headers["x-model-version"] == "1"
    assert decode(answer.content)["film_id"].tolist() == expected["film_id"].tolist()
    assert client.get("/v1/models").json()["kiosk"]["stage_one"] == {"items_told": 0, "heard": None, "last_error": None}


@pytest.mark.parametrize(
    ("system", "body", "code", "said"),
    [
        ("tny", {"request": {}, "at": 1}, 404, "Known: kiosk, tiny"),
        ("tiny", {"request": {}, "at": 1}, 503, "tiny version 1 has no stage one"),
        ("kiosk", {"request": {}}, 422, "not {request, at} in JSON: KeyError: 'at'"),
        ("kiosk", {"request": 7, "at": 1}, 422, "in JSON: TypeError"),
        ("kiosk", {"request": {}, "at": "now"}, 422, "in JSON: ValueError"),
        ("kiosk", [], 422, "in JSON: TypeError"),
        ("kiosk", b"{", 422, "in JSON: JSONDecodeError"),
        ("kiosk", b'{"request": {}, "at": 1e999}', 422, "in JSON"),
    ],
)
def test_what_stage_one_cannot_be_asked_is_refused(
    client: Client, system: str, body: Any, code: int, said: str
) -> None:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = client.post(f"/v1/retrieve/{system}", content=content, headers=AS_JSON)
    assert answer.status_code == code
    assert said in answer.json()["error"]


def test_a_version_that_does_not_serve_scores_nothing(client: Client) -> None:
    for version, code in (("1", 200), ("2", 503)):
        answer = client.post("/v1/score/tiny", content=rows(1).tobytes(), headers={**RAW, "x-version": version})
        assert answer.status_code == code


def test_a_body_of_unknown_length_is_refused(client: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(12)

    answer = client.post("/v1/score/tiny", content=pieces(), headers=RAW)
    assert answer.status_code == 411


def test_models_are_described(client: Client) -> None:
    described = client.get("/v1/models").json()["tiny"]
    assert described["model_version"] == "1"
    assert described["source"] == "registry"
    assert described["feature_names"] == list(NAMES)
    assert described["last_error"] is None
    assert set(described) >= {"sha256", "since", "last_poll"}


def test_every_metric_is_documented() -> None:
    registry = CollectorRegistry()
    ServingMetrics(registry)
    told = Path("services/serving/README.md").read_text()
    for family in registry.collect():
        assert f"`{family.name}" in told, f"services/serving/README.md does not say what {family.name} is"
