"""Every refusal: its status, one sentence that names the field and the value, and no word too much."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.unit.gateway.conftest import World

pytestmark = pytest.mark.anyio
PREDICTIONS = "/v1/systems/ad_click/predictions"


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> str:
    """The sentence of a refusal, after all else about it was checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    error = answer.json()["error"]
    assert error.keys() == {"code", "message", "field"}
    assert (error["code"], error["field"]) == (code, field)
    assert "\n" not in error["message"]
    assert error["message"].endswith(".")
    return str(error["message"])


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic dTpw", "Bearer", "Bearer the-key-of-this-test-and-more"])
@pytest.mark.parametrize("path", ["/v1/systems", PREDICTIONS, "/nowhere"])
async def test_without_the_key_nothing_is_told(world: World, header: str, path: str) -> None:
    async with world.client(Authorization=header) as client:
        answer = await client.get(path)
    refused(answer, 401, "unauthorized", "Authorization")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/docs/swagger-ui.css"])
async def test_health_metrics_and_documentation_are_open(world: World, path: str) -> None:
    async with world.client(Authorization="") as client:
        assert (await client.get(path)).status_code == 200


async def test_an_unknown_system_is_refused_with_the_known_ones(world: World) -> None:
    async with world.client() as client:
        for path in ("/v1/systems/frad", "/v1/systems/frad/predictions", "/v1/systems/frad/outcomes"):
            answer = await client.request("GET" if path.endswith("frad") else "POST", path, json={})
            sentence = refused(answer, 404, "unknown_system")
            assert "'frad'" in sentence
            assert "ad_click, single, wreck" in sentence


async def test_an_unknown_path_and_a_wrong_method(world: World) -> None:
    async with world.client() as client:
        assert "/v1/nothing" in refused(await client.get("/v1/nothing"), 404, "not_found")
        answer = await client.put(PREDICTIONS, json={})
    assert "PUT" in refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/systems//predictions", "/v1/systems/a/b/predictions", "/predictions"])
async def test_what_only_looks_like_a_prediction_is_nothing(world: World, path: str) -> None:
    async with world.client() as client:
        refused(await client.post(path, json={}), 404, "not_found")
        refused(await client.post(f"{PREDICTIONS}/", json={}), 404, "not_found")


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"slots": Infinity}', b'{"bid": 1e999}', b"\xff", b"[" * 5000])
async def test_what_is_not_json_is_refused(world: World, body: bytes) -> None:
    async with world.client() as client:
        refused(await client.post(PREDICTIONS, content=body), 400, "not_json")


@pytest.mark.parametrize(
    ("changed", "field", "named"),
    [
        ({"slots": 11}, "slots", "11"),
        ({"device": "toaster"}, "device", "toaster"),
        ({"user_id": None}, "user_id", "None"),
        ({"user_id": "x" * 9999}, "user_id", "xxx"),
        ({"ads": []}, "ads", "[]"),
        ({"surplus": 1}, "surplus", "1"),
    ],
)
async def test_a_value_that_cannot_be_is_named(world: World, changed: dict[str, Any], field: str, named: str) -> None:
    async with world.client() as client:
        sentence = refused(await client.post(PREDICTIONS, json=world.request(**changed)), 422, "invalid_input", field)
    assert sentence.startswith(field)
    assert named in sentence
    assert len(sentence) < 300


async def test_a_field_deep_in_the_body_is_named(world: World) -> None:
    ads = [{**world.request()["ads"][0], "bid": -1.0}]
    async with world.client() as client:
        answer = await client.post(PREDICTIONS, json=world.request(ads=ads))
    assert refused(answer, 422, "invalid_input", "ads.0.bid").startswith("ads.0.bid cannot be -1.0")


async def test_a_systems_own_check_is_told(world: World) -> None:
    async with world.client() as client:
        answer = await client.post(PREDICTIONS, json=world.request(ads=world.request()["ads"][:1] * 2))
    assert "'a0007' twice" in refused(answer, 422, "invalid_input")


@pytest.mark.parametrize("digits", ["9223372036854775808", "1" + "0" * 200, "-" + "9" * 290])
async def test_an_integer_beyond_64_bits_is_refused(world: World, digits: str) -> None:
    async with world.client() as client:
        answer = await client.post(PREDICTIONS, content=f'{{"slots": {digits}}}'.encode())
    assert digits[:19] in refused(answer, 422, "invalid_input")


async def test_a_long_number_in_a_string_is_an_id(world: World) -> None:
    async with world.client() as client:
        answer = await client.post(PREDICTIONS, json=world.request(user_id="9" * 60))
    assert answer.status_code == 200


async def test_another_content_type_is_refused(world: World) -> None:
    async with world.client() as client:
        for given in ("text/plain", "", "application/x-www-form-urlencoded"):
            answer = await client.post(PREDICTIONS, content=b"{}", headers={"Content-Type": given})
            refused(answer, 415, "unsupported_media_type", "Content-Type")
        kept = await client.post(
            PREDICTIONS, json=world.request(), headers={"Content-Type": "Application/JSON; charset=utf-8"}
        )
    assert kept.status_code == 200


async def test_a_body_that_is_too_large_is_refused_unread(world: World) -> None:
    read: list[bytes] = []

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1000):
            read.append(b" " * 1000)
            yield read[-1]

    async with world.client() as client:
        declared = await client.post(PREDICTIONS, content=pieces(), headers={"Content-Length": "1000000"})
        assert "65536" in refused(declared, 413, "body_too_large")
        assert not read
        streamed = await client.post(PREDICTIONS, content=pieces())
    refused(streamed, 413, "body_too_large")
    assert len(read) < 100


async def test_more_than_the_rate_is_told_when_to_come_again(world: World) -> None:
    world.limits = replace(world.limits, rate=0.25)
    async with world.client() as client:
        assert (await client.get("/v1/systems")).status_code == 200
        answer = await client.get("/v1/systems")
        refused(answer, 429, "rate_limited")
        assert answer.headers["retry-after"] == "4"
        assert (await client.get("/healthz")).status_code == 200


async def test_an_unexpected_error_shows_an_id_and_no_trace(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def bug(*_: object) -> Any:
        raise ZeroDivisionError("a secret of the code")

    system = replace(world.system, serving=replace(world.system.serving, respond=bug))
    world.catalogue = replace(world.catalogue, ready={"ad_click": system})
    async with world.client() as client:
        answer = await client.post(PREDICTIONS, json=world.request())
        metrics = (await client.get("/metrics")).text
    sentence = refused(answer, 500, "internal")
    assert "secret" not in answer.text
    crash_id = sentence.rstrip(".").split()[-1]
    assert crash_id in caplog.text
    assert "a secret of the code" in caplog.text
    assert "flywheel_gateway_crashes_total 1.0" in metrics
    assert not world.logged()


async def test_a_record_that_the_log_refuses_is_not_the_clients_fault(world: World) -> None:
    def twice(*given: Any) -> Any:
        decision = world_serving.respond(*given)
        return replace(decision, shown=decision.shown * 0)

    world_serving = world.system.serving
    system = replace(world.system, serving=replace(world_serving, respond=twice))
    world.catalogue = replace(world.catalogue, ready={"ad_click": system})
    async with world.client() as client:
        refused(await client.post(PREDICTIONS, json=world.request()), 500, "internal")
