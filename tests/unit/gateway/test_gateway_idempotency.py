"""A request that is sent again under its key is answered as it was, byte for byte, and logged once."""

import asyncio

import pytest

from tests.unit.gateway.conftest import Down, World

pytestmark = pytest.mark.anyio
PREDICTIONS = "/v1/systems/ad_click/predictions"


async def test_the_same_key_and_body_are_answered_the_same_and_logged_once(world: World) -> None:
    async with world.client(**{"Idempotency-Key": "order-1"}) as client:
        first = await client.post(PREDICTIONS, json=world.request())
        world.scorer.champions.clear()
        second = await client.post(PREDICTIONS, json=world.request())
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert len(world.logged()) == 1


async def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    async with world.client(**{"Idempotency-Key": "order-1"}) as client:
        await client.post(PREDICTIONS, json=world.request())
        other = await client.post(PREDICTIONS, json=world.request(slots=1))
    assert other.status_code == 409
    assert "'order-1'" in other.json()["error"]["message"]
    assert len(world.logged()) == 1


async def test_requests_at_once_under_one_key_get_one_answer(world: World) -> None:
    async with world.client(**{"Idempotency-Key": "order-1"}) as client:
        answers = await asyncio.gather(*(client.post(PREDICTIONS, json=world.request()) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(world.logged()) == 1


async def test_without_a_key_every_request_is_a_new_one(world: World) -> None:
    async with world.client() as client:
        first, second = [await client.post(PREDICTIONS, json=world.request()) for _ in range(2)]
    assert first.json()["prediction_id"] != second.json()["prediction_id"]
    assert len(world.logged()) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_that_cannot_be_one_is_refused(world: World, key: str) -> None:
    async with world.client(**{"Idempotency-Key": key}) as client:
        answer = await client.post(PREDICTIONS, json=world.request())
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "Idempotency-Key"


async def test_nothing_is_answered_under_a_key_that_cannot_be_looked_up(world: World) -> None:
    world.log = Down()
    async with world.client(**{"Idempotency-Key": "order-1"}) as client:
        assert (await client.post(PREDICTIONS, json=world.request())).status_code == 503
