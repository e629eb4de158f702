"""Reviews: what a system wants a person to judge is listed, and the person's outcome takes it off the list."""

from dataclasses import replace
from typing import Any

import pytest

from contracts.errors import Unavailable
from contracts.records import ReviewCase
from contracts.system import Decision
from tests.unit.gateway.conftest import NOW, World, outcome

pytestmark = pytest.mark.anyio
REVIEWS, PREDICTIONS = "/v1/systems/single/reviews", "/v1/systems/single/predictions"
OUTCOMES = "/v1/systems/single/outcomes"


@pytest.fixture
def doubtful(world: World) -> World:
    """`single` wants a person to look at every answer."""
    single = world.catalogue.ready["single"]

    def respond(*given: Any) -> Decision:
        return replace(single.serving.respond(*given), review=True)

    asking = replace(single, serving=replace(single.serving, respond=respond))
    return replace(world, catalogue=replace(world.catalogue, ready={**world.catalogue.ready, "single": asking}))


async def test_an_answer_that_a_person_shall_judge_is_listed_until_one_did(doubtful: World) -> None:
    async with doubtful.client() as client:
        answers = [(await client.post(PREDICTIONS, json=doubtful.request())).json() for _ in range(2)]
        listed = (await client.get(REVIEWS)).json()["cases"]
        judged = outcome(answers[0]["prediction_id"], item_id=None, source="review")
        assert (await client.post(OUTCOMES, json=judged)).status_code == 202
        left = (await client.get(REVIEWS)).json()["cases"]
    assert {case["prediction_id"] for case in listed} == {answer["prediction_id"] for answer in answers}
    case = next(case for case in listed if case["prediction_id"] == answers[1]["prediction_id"])
    assert left == [case]
    assert case["result"] == answers[1]["result"]
    assert (case["at"], case["model_version"]) == (NOW.isoformat(), "7")
    assert case["request"]["user_id"] == doubtful.request()["user_id"]
    assert doubtful.logged()[-1].source == "review"
    assert doubtful.logged()[0].review


async def test_an_outcome_is_a_clients_unless_it_says_otherwise(doubtful: World) -> None:
    async with doubtful.client() as client:
        answer = (await client.post(PREDICTIONS, json=doubtful.request())).json()
        for source in ("client", None):
            said = outcome(answer["prediction_id"], item_id=None, source=source)
            assert (await client.post(OUTCOMES, json=said)).status_code == 202
        stranger = await client.post(OUTCOMES, json=outcome(answer["prediction_id"], item_id=None, source="auditor"))
        listed = (await client.get(REVIEWS)).json()["cases"]
    assert [record.source for record in doubtful.logged()[1:]] == ["client", "client"]
    assert (stranger.status_code, stranger.json()["error"]["field"]) == (422, "source")
    assert len(listed) == 1


async def test_a_system_that_asks_nobody_has_no_cases(world: World) -> None:
    async with world.client() as client:
        await client.post("/v1/systems/ad_click/predictions", json=world.request())
        assert (await client.get("/v1/systems/ad_click/reviews")).json() == {"cases": []}


async def test_no_more_are_listed_than_were_asked_for(doubtful: World) -> None:
    async with doubtful.client() as client:
        for _ in range(3):
            await client.post(PREDICTIONS, json=doubtful.request())
        assert len((await client.get(REVIEWS + "?limit=2")).json()["cases"]) == 2


@pytest.mark.parametrize("limit", ["0", "201", "-1", "many", "", "9" * 5000, "٣"])
async def test_a_limit_that_is_none_is_refused_by_name(world: World, limit: str) -> None:
    async with world.client() as client:
        answer = await client.get(REVIEWS, params={"limit": limit})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "limit")


async def test_only_who_has_the_key_sees_the_list(doubtful: World) -> None:
    async with doubtful.client(Authorization="Bearer another") as client:
        assert (await client.get(REVIEWS)).status_code == 401


async def test_of_strange_and_broken_systems_the_list_says_so(world: World) -> None:
    async with world.client() as client:
        assert (await client.get("/v1/systems/tny/reviews")).status_code == 404
        assert (await client.get("/v1/systems/wreck/reviews")).status_code == 503
        refused = await client.post(REVIEWS)
    assert refused.status_code == 405


async def test_without_a_log_there_is_no_list(world: World) -> None:
    class Down:
        async def reviews(self, system: str, most: int) -> list[ReviewCase]:
            raise Unavailable("It is down.")

    world.log = Down()
    async with world.client() as client:
        answer = await client.get(REVIEWS)
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "It is down.")


async def test_the_document_types_the_list_by_the_systems_own_models(world: World) -> None:
    async with world.client() as client:
        document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/systems/ad_click/reviews"]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    case = schema["properties"]["cases"]["items"]["properties"]
    assert case["request"]["$ref"].startswith("#/components/schemas/ad_click.")
    assert operation["security"] == [{"bearer": []}]
    assert operation["parameters"][0]["schema"]["maximum"] == 200
