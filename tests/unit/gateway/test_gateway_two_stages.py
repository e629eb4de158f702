"""A system whose candidates stage one finds: what the gateway makes of them, and of stage one's absence."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from contracts.errors import Unavailable
from contracts.records import Candidates, Scored
from contracts.system import Columns, Decision, Evidence, Matrix, Retrieval
from services.gateway.app import build
from services.gateway.catalogue import Catalogue
from tests.unit.gateway.conftest import Down, World

pytestmark = pytest.mark.anyio
PATH = "/v1/systems/ad_click/predictions"
FOUND = 6


@pytest.fixture
def staged(world: World) -> World:
    """`ad_click` as if its ads came from a stage one that finds the request's own ads, over and over."""
    system = world.system
    own_rows = system.serving.rows
    assert own_rows is not None

    def found(body: Mapping[str, Any], at: float) -> Columns:
        rows = own_rows(system.task.request.model_validate(body))
        return {name: np.resize(values, FOUND) for name, values in rows.items()}

    def respond(request: Any, evidence: Evidence, random: np.random.Generator) -> Decision:
        """Shows the third and the first row, and says that the fifth is worth keeping, too."""
        asked = {name: values[: len(request.ads)] for name, values in evidence.rows.items()}
        result = system.serving.respond(request, Evidence(asked, {}, evidence.scores[: len(request.ads)]), random)
        kept = np.array([4, 2, 0])
        return Decision(result.result, np.array([2, 0]), np.array([1.0, 0.5]), kept, review=True)

    retrieval = Retrieval(
        items=system.features.source,
        columns=(),
        share=0.5,
        fit=lambda rows, items, seed: pytest.fail("nothing is fitted here"),
        load=lambda content: pytest.fail("nothing is loaded here"),
        anybody={**system.task.example, "user_id": "nobody"},
        metrics=lambda retriever, rows: {},
    )
    two = replace(
        system,
        model=replace(system.model, retrieval=retrieval),
        serving=replace(system.serving, rows=None, respond=respond),
    )
    world.scorer.retrievers["ad_click"] = found
    return replace(world, catalogue=Catalogue({"ad_click": two}, {}))


class Forgetful:
    """Serving that has swapped between stage one and the scores."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def retrieve(self, *asked: Any) -> Candidates:
        found: Candidates = await self.inner.retrieve(*asked)
        return replace(found, model_version="6")

    async def score(self, system: str, features: Matrix, *options: Any) -> Scored:
        scored: Scored = await self.inner.score(system, features, *options)
        return scored


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Forgetful):
    """Serving whose stage one takes all the time that a request has."""

    def __init__(self, inner: Any, seconds: float) -> None:
        super().__init__(inner)
        self.seconds = seconds

    async def retrieve(self, *asked: Any) -> Candidates:
        await asyncio.sleep(self.seconds)
        return await super().retrieve(*asked)


class Lost(Down):
    async def retrieve(self, *_: object) -> None:
        self.refuse()


async def ask(client: httpx.AsyncClient, world: World) -> httpx.Response:
    return await client.post(PATH, json=world.request())


async def test_the_log_holds_the_rows_worth_keeping_and_where_the_shown_ones_are_among_them(staged: World) -> None:
    async with staged.client() as client:
        answer = (await ask(client, staged)).json()
        metrics = (await client.get("/metrics")).text
    (record,) = staged.logged()
    assert answer["variant"] == "champion"
    assert len(record.scores) == len(record.features) == len(record.rows["ad_id"]) == 3
    assert record.shown.tolist() == [1, 2]
    assert record.propensity.tolist() == [1.0, 0.5]
    assert record.review
    assert f'flywheel_gateway_candidates_sum{{system="ad_click"}} {FOUND:.1f}' in metrics


async def test_only_the_ranker_of_the_version_that_found_them_scores_the_candidates(staged: World) -> None:
    staged.scorer = Forgetful(staged.scorer)
    async with staged.client() as client:
        answer = (await ask(client, staged)).json()
    assert answer["variant"] == "fallback"
    assert "model: unavailable" in answer["degraded"]


async def test_without_stage_one_those_that_anybody_would_get_stand_in(staged: World) -> None:
    platform = staged.platform()
    transport = httpx.ASGITransport(build(platform, staged.catalogue, staged.limits).app)
    headers = {"Authorization": f"Bearer {staged.limits.key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        await ask(client, staged)
        await platform.standby.refreshed()
        platform.scorer = Lost()
        answer = (await ask(client, staged)).json()
    record = staged.logged()[-1]
    assert answer["variant"] == "fallback"
    assert "candidates: unavailable" in answer["degraded"]
    assert set(record.rows["user_id"]) == {"nobody"}


async def test_a_stage_one_too_slow_for_any_request_has_candidates_stand_in_once_it_has_answered(staged: World) -> None:
    staged.scorer = Slow(staged.scorer, staged.system.requirements.deadline.total_seconds())
    platform = staged.platform()
    transport = httpx.ASGITransport(build(platform, staged.catalogue, staged.limits).app)
    headers = {"Authorization": f"Bearer {staged.limits.key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        refused = await ask(client, staged)
        await platform.standby.refreshed()
        answer = await ask(client, staged)
    assert refused.status_code == 503
    assert answer.status_code == 200
    assert "candidates: unavailable" in answer.json()["degraded"]


async def test_standing_candidates_are_asked_for_each_second_until_they_come_then_each_minute(
    staged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, system = staged.platform(), staged.catalogue.find("ad_click")
    standby, retrieval = platform.standby, system.model.retrieval
    assert retrieval is not None
    time, asked = Time(), 0

    class Late(Forgetful):
        async def retrieve(self, *of: Any) -> Candidates:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise Unavailable("Not yet.")
            return await super().retrieve(*of)

    monkeypatch.setattr("services.gateway.standby.monotonic", time)
    standby._scorer = Late(platform.scorer)
    counts = []
    for time.now in (0.0, 0.5, 1.1, 2.2, 30.0, 61.2):
        standby.refresh(system, retrieval)
        await standby.refreshed()
        counts.append(asked)
    assert counts == [1, 1, 2, 2, 2, 3]
    assert set(standby.rows(system)["user_id"]) == {"nobody"}


async def test_without_stage_one_ever_there_is_no_answer(staged: World) -> None:
    staged.scorer = Lost()
    async with staged.client() as client:
        answer = await ask(client, staged)
    assert answer.status_code == 503
    assert "Stage one of ad_click" in answer.json()["error"]["message"]
