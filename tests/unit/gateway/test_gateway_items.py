"""Items: what is published is in the log and in the catalogue; what is no item is told why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from contracts.records import ItemRecord
from infra.memory_log import MemoryCatalogue
from services.gateway.catalogue import Catalogue
from tests.two_stages import KIOSK
from tests.unit.gateway.conftest import NOW, Down, World

pytestmark = pytest.mark.anyio
ITEMS = "/v1/systems/kiosk/items"


@pytest.fixture
def kiosk(world: World) -> World:
    """The same parts, in front of a system of two stages."""
    return replace(world, catalogue=Catalogue({**world.catalogue.ready, "kiosk": KIOSK}, world.catalogue.broken))


def film(**changed: Any) -> dict[str, Any]:
    made = {"film_id": "f1", "published_at": NOW.isoformat(), "genre": "crime", "minutes": 90.5}
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


async def test_an_item_is_in_the_log_and_in_the_catalogue_once_it_is_accepted(kiosk: World) -> None:
    published = (NOW - timedelta(hours=3)).astimezone(timezone(timedelta(hours=5)))
    async with kiosk.client() as client:
        answer = await client.post(ITEMS, json=film(published_at=published.isoformat()))
        metrics = (await client.get("/metrics")).text
    assert (answer.status_code, answer.json()) == (202, {"item_id": "f1"})
    expected = ItemRecord("f1", "kiosk", published.astimezone(UTC), {"genre": "crime", "minutes": 90.5}, NOW)
    assert kiosk.logged() == [expected]
    assert list(MemoryCatalogue(kiosk.log).since("kiosk", NOW)) == [expected]
    assert 'flywheel_gateway_requests_total{endpoint="items",status="202",system="kiosk"} 1.0' in metrics


async def test_what_may_be_absent_takes_its_default_and_numbers_their_columns_type(kiosk: World) -> None:
    async with kiosk.client() as client:
        await client.post(ITEMS, json=film(minutes=None))
        await client.post(ITEMS, json=film(film_id="f2", minutes=45))
    columns = [record.columns["minutes"] for record in kiosk.logged()]
    assert columns == [90.0, 45.0]
    assert {type(value) for value in columns} == {float}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"film_id": None}, "film_id"),
        ({"film_id": ""}, "film_id"),
        ({"film_id": "f" * 257}, "film_id"),
        ({"film_id": 7}, "film_id"),
        ({"genre": None}, "genre"),
        ({"genre": 7}, "genre"),
        ({"genre": "g" * 4097}, "genre"),
        ({"minutes": "long"}, "minutes"),
        ({"minutes": "90.5"}, "minutes"),
        ({"minutes": True}, "minutes"),
        ({"published_at": None}, "published_at"),
        ({"published_at": "2026-03-01T12:00:00"}, "published_at"),
        ({"published_at": 1772366400}, "published_at"),
        ({"published_at": (NOW + timedelta(minutes=2)).isoformat()}, "published_at"),
        ({"published_at": datetime(1969, 1, 1, tzinfo=UTC).isoformat()}, "published_at"),
        ({"surplus": 1}, "surplus"),
        ({"column_0": "crime"}, "column_0"),
        ({"item": "f1"}, "item"),
    ],
)
async def test_what_cannot_be_an_item_is_refused_by_its_field(kiosk: World, changed: Any, field: str) -> None:
    async with kiosk.client() as client:
        answer = await client.post(ITEMS, json=film(**changed))
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["field"] == field
    assert not kiosk.logged()


async def test_a_system_without_a_catalogue_says_so(kiosk: World) -> None:
    async with kiosk.client() as client:
        answer = await client.post("/v1/systems/ad_click/items", json=film())
        unknown = await client.post("/v1/systems/cinema/items", json=film())
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "ad_click has no catalogue of items" in answer.json()["error"]["message"]
    assert unknown.status_code == 404


async def test_an_item_that_the_log_does_not_take_is_not_acknowledged(kiosk: World) -> None:
    async with replace(kiosk, log=Down()).client() as client:
        answer = await client.post(ITEMS, json=film())
    assert answer.status_code == 503


async def test_the_document_types_the_items_of_each_system_that_has_them(kiosk: World) -> None:
    async with kiosk.client() as client:
        document = (await client.get("/openapi.json")).json()
        operation = document["paths"][ITEMS]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        accepted = await client.post(ITEMS, json=example)
    schema = document["components"]["schemas"]["kiosk.Item"]
    assert schema["required"] == ["film_id", "published_at", "genre"]
    assert schema["properties"]["minutes"]["type"] == "number"
    assert "/v1/systems/ad_click/items" not in document["paths"]
    assert accepted.status_code == 202, accepted.text
