"""Parts behind the gateway die or hang: it answers within the deadline, honestly marked, and heals by itself."""

import asyncio
import time
from typing import Any

import httpx
import numpy as np
import pytest

from infra.memory import MemoryFeatureReader, MemoryScorer
from tests.unit.gateway.conftest import Down, Hanging, World, outcome

pytestmark = pytest.mark.anyio
PREDICTIONS = "/v1/systems/ad_click/predictions"
DEADLINE = 0.3  # the deadline of `quick`
SLACK = 0.2  # two busy processors may take this long to run what is due; a gateway without deadlines never answers


async def timed(client: httpx.AsyncClient, world: World) -> tuple[httpx.Response, float]:
    started = time.monotonic()
    answer = await client.post(PREDICTIONS, json=world.request())
    return answer, time.monotonic() - started


def is_fallback(answer: httpx.Response, reason: str) -> None:
    assert answer.status_code == 200
    body = answer.json()
    assert (body["variant"], body["model_version"]) == ("fallback", "fallback")
    assert reason in body["degraded"]


@pytest.mark.parametrize("part", [Down, Hanging])
async def test_without_features_the_declared_fallback_answers_in_time(quick: World, part: type) -> None:
    quick.reader = part()
    async with quick.client() as client:
        answer, seconds = await timed(client, quick)
        metrics = (await client.get("/metrics")).text
    is_fallback(answer, "features: unavailable")
    assert seconds < DEADLINE + SLACK
    (record,) = quick.logged()
    assert record.variant == "fallback"
    assert np.isfinite(record.features).all()
    assert 'flywheel_gateway_fallbacks_total{system="ad_click"} 1.0' in metrics


@pytest.mark.parametrize("part", [Down, Hanging, MemoryScorer])
async def test_without_a_model_the_declared_fallback_answers_in_time(quick: World, part: type) -> None:
    quick.scorer = part()
    async with quick.client() as client:
        answer, seconds = await timed(client, quick)
    is_fallback(answer, "model: unavailable")
    assert "ad: missing" in answer.json()["degraded"]
    assert seconds < DEADLINE + SLACK
    rows = quick.logged()[0].rows
    declared = quick.system.serving.fallback(quick.system.task.request.model_validate(quick.request()), rows, {})
    assert quick.logged()[0].scores.tolist() == declared.tolist()


@pytest.mark.parametrize("part", [Down, Hanging])
async def test_what_cannot_be_logged_is_not_answered(quick: World, part: type) -> None:
    quick.log = part()
    async with quick.client() as client:
        answer, seconds = await timed(client, quick)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["code"] == "unavailable"
    assert seconds < DEADLINE + SLACK


@pytest.mark.parametrize("part", [Down, Hanging])
async def test_an_outcome_that_cannot_be_logged_is_not_accepted(quick: World, part: type) -> None:
    quick.log = part()
    async with quick.client() as client:
        answer = await client.post("/v1/systems/ad_click/outcomes", json=outcome("0" * 32))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_when_everything_hangs_the_refusal_is_in_time_too(quick: World) -> None:
    quick.reader = quick.scorer = quick.log = Hanging()
    async with quick.client(**{"Idempotency-Key": "k"}) as client:
        answer, seconds = await timed(client, quick)
    assert answer.status_code == 503
    assert seconds < DEADLINE + SLACK


async def test_a_part_that_hangs_soon_costs_no_time_and_heals_by_itself(quick: World) -> None:
    class Sick(MemoryFeatureReader):
        sick = True
        calls = 0

        async def online(self, *given: Any) -> Any:
            self.calls += 1
            if self.sick:
                await asyncio.Event().wait()
            return await super().online(*given)

    quick.reader = reader = Sick()
    async with quick.client() as client:
        for _ in range(3):
            is_fallback((await timed(client, quick))[0], "features: unavailable")
        is_fallback((await timed(client, quick))[0], "features: unavailable")
        assert reader.calls == 3  # the fourth request was not made to wait for it
        reader.sick = False
        healed = time.monotonic()
        while (await client.post(PREDICTIONS, json=quick.request())).json()["variant"] == "fallback":
            assert time.monotonic() - healed < 10.0
            await asyncio.sleep(0.02)


async def test_more_in_flight_than_it_can_bear_is_refused_at_once(quick: World) -> None:
    quick.reader = Hanging()
    quick.limits = type(quick.limits)(key=quick.limits.key, rate=1e6, body=65_536, in_flight=2)
    async with quick.client() as client:
        answers = await asyncio.gather(*(client.post(PREDICTIONS, json=quick.request()) for _ in range(5)))
        later = await client.post(PREDICTIONS, json=quick.request())
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 200, 503, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.json()["error"]["code"] == "overloaded"
    assert refused.headers["retry-after"] == "1"
    assert later.status_code == 200


@pytest.mark.parametrize("part", [Down, Hanging])
@pytest.mark.parametrize("name", ["features", "serving", "log"])
async def test_readiness_names_the_part_that_does_not_answer(world: World, part: type, name: str) -> None:
    setattr(world, {"features": "reader", "serving": "scorer", "log": "log"}[name], part())
    async with world.client() as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert [each for each, said in answer.json()["parts"].items() if said != "ok"] == [name]


async def test_before_the_first_training_the_gateway_is_ready(world: World) -> None:
    world.scorer.champions.clear()
    async with world.client() as client:
        assert (await client.get("/readyz")).json()["ready"]
