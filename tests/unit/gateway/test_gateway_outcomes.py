"""Outcomes: what is accepted is in the log with both its times; what cannot be one is told why."""

from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from contracts.records import OutcomeRecord
from tests.unit.gateway.conftest import NOW, World, outcome

pytestmark = pytest.mark.anyio
OUTCOMES = "/v1/systems/ad_click/outcomes"
ID = "0123456789abcdef" * 2


async def test_an_outcome_is_in_the_log_once_it_is_accepted(world: World) -> None:
    occurred = (NOW - timedelta(minutes=5)).astimezone(timezone(timedelta(hours=2)))
    async with world.client() as client:
        answer = await client.post(OUTCOMES, json=outcome(ID, occurred_at=occurred.isoformat()))
        metrics = (await client.get("/metrics")).text
    assert answer.status_code == 202
    assert world.logged() == [OutcomeRecord(ID, "ad_click", "a0007", 1.0, occurred.astimezone(UTC), NOW)]
    assert 'flywheel_gateway_outcomes_total{system="ad_click"} 1.0' in metrics


async def test_a_system_without_items_takes_outcomes_without_one(world: World) -> None:
    async with world.client() as client:
        accepted = await client.post("/v1/systems/single/outcomes", json=outcome(ID, item_id=None))
        refused = await client.post("/v1/systems/single/outcomes", json=outcome(ID))
    assert accepted.status_code == 202
    assert world.logged()[0].item is None
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "item_id")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"item_id": None}, "item_id"),
        ({"item_id": ""}, "item_id"),
        ({"prediction_id": "no-such-id"}, "prediction_id"),
        ({"prediction_id": None}, "prediction_id"),
        ({"label": 1.01}, "label"),
        ({"label": -1}, "label"),
        ({"label": "yes"}, "label"),
        ({"label": None}, "label"),
        ({"occurred_at": "2026-03-01T12:00:00"}, "occurred_at"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": (NOW + timedelta(minutes=2)).isoformat()}, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-23:59"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+23:59"}, "occurred_at"),
        ({"surplus": 1}, "surplus"),
    ],
)
async def test_what_cannot_be_an_outcome_is_refused_by_its_field(world: World, changed: Any, field: str) -> None:
    async with world.client() as client:
        answer = await client.post(OUTCOMES, json=outcome(**{"prediction_id": ID, **changed}))
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["field"] == field
    assert not world.logged()


async def test_a_clients_clock_may_run_a_little_ahead(world: World) -> None:
    async with world.client() as client:
        answer = await client.post(OUTCOMES, json=outcome(ID, occurred_at=(NOW + timedelta(seconds=30)).isoformat()))
    assert answer.status_code == 202
