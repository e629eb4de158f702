"""Systems share the gateway and nothing else: what befalls one leaves the others' answers alone."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from contracts.records import Scored
from contracts.system import Matrix
from services.gateway.guard import AT_ONCE, BESIDE_OTHERS
from tests.unit.gateway.conftest import World, with_deadline

pytestmark = pytest.mark.anyio
FLOODED, OTHER = "/v1/systems/ad_click/predictions", "/v1/systems/single/predictions"


class Slow:
    """Serving whose model of one system hangs, and whose others answer."""

    def __init__(self, inner: Any, system: str) -> None:
        self.inner, self.system = inner, system
        self.working = self.most = 0  # predictions that hang side by side: now, and at most

    async def score(self, system: str, features: Matrix, *options: Any) -> Scored:
        if system == self.system:
            await self._hang()
        scored: Scored = await self.inner.score(system, features, *options)
        return scored

    async def _hang(self) -> None:
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            await asyncio.Event().wait()
        finally:
            self.working -= 1


async def ask(client: httpx.AsyncClient, world: World, path: str) -> httpx.Response:
    return await client.post(path, json=world.request())


async def test_a_hanging_model_trips_the_breaker_of_its_own_system_alone(quick: World) -> None:
    quick.scorer = Slow(quick.scorer, "ad_click")
    async with quick.client() as client:
        hung = [await ask(client, quick, FLOODED) for _ in range(4)]
        others = [await ask(client, quick, OTHER) for _ in range(4)]
    assert {answer.json()["variant"] for answer in hung} == {"fallback"}
    assert {answer.json()["variant"] for answer in others} == {"champion"}


async def test_the_rate_of_one_system_is_not_taken_from_another(world: World) -> None:
    world.limits = replace(world.limits, rate=5)
    async with world.client() as client:
        flood = [await ask(client, world, FLOODED) for _ in range(10)]
        other = await ask(client, world, OTHER)
    assert [answer.status_code for answer in flood] == [200] * 5 + [429] * 5
    assert "for ad_click" in flood[-1].json()["error"]["message"]
    assert other.status_code == 200


async def test_a_flood_of_one_system_is_held_at_its_share_while_others_are_asked(world: World) -> None:
    world = with_deadline(world, 1.0)
    world.scorer = Slow(world.scorer, "ad_click")
    async with world.client() as client:
        assert (await ask(client, world, OTHER)).status_code == 200
        flood = await asyncio.gather(*(ask(client, world, FLOODED) for _ in range(BESIDE_OTHERS + 20)))
        other = await ask(client, world, OTHER)
    refused = [answer for answer in flood if answer.status_code == 503]
    assert len(refused) == 20
    assert all("beside others" in answer.json()["error"]["message"] for answer in refused)
    assert all(answer.headers["Retry-After"] for answer in refused)
    assert world.scorer.most == AT_ONCE
    assert other.json()["variant"] == "champion"


async def test_a_system_alone_may_have_all_the_room_there_is(world: World) -> None:
    world = with_deadline(world, 0.5)
    world.scorer = Slow(world.scorer, "ad_click")
    async with world.client() as client:
        flood = await asyncio.gather(*(ask(client, world, FLOODED) for _ in range(3 * BESIDE_OTHERS)))
    assert {answer.status_code for answer in flood} == {200}


async def test_a_model_that_gives_nonsense_takes_only_its_own_system_to_the_fallback(world: World) -> None:
    async with world.client() as client:
        before = (await ask(client, world, OTHER)).json()
        world.scorer.champions["ad_click"] = ("8", lambda X: np.full(len(X), np.nan))
        answers = [await ask(client, world, FLOODED) for _ in range(5)]
        after = (await ask(client, world, OTHER)).json()
    assert {answer.json()["variant"] for answer in answers} == {"fallback"}
    assert "model: not a number" in answers[0].json()["degraded"]
    assert (after["variant"], after["model_version"]) == (before["variant"], before["model_version"])
