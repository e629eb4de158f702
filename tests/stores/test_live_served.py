"""Payments through the gateway with a real Redis behind it: what was served is what history says, to the last bit."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import redis

from contracts.records import PredictionRecord
from contracts.system import AT
from infra import wiring
from infra.live_history import with_live_features
from infra.online_features import RedisFeatureReader
from infra.settings import Settings
from pipelines import materialize
from pipelines.ingest import from_log
from services.gateway.catalogue import Catalogue
from tests.conftest import settings_in
from tests.stores.live_system import CARD, HOUR, PLACE, SOURCE, columns, live, payments
from tests.stores.tiny_system import NOON
from tests.unit.gateway.conftest import World

pytestmark = pytest.mark.anyio
PREDICTIONS = "/v1/systems/payments/predictions"
like = live(CARD, PLACE)
SYSTEM = replace(
    like, requirements=replace(like.requirements, deadline=timedelta(seconds=20))
)  # others use the machine
LIVE = list(SYSTEM.features.names[:5])
HISTORY = payments(300, 2 * 3600, seed=1).assign(**{AT: lambda table: table[AT] - 600})
SERVED = payments(250, 590)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stack(tmp_path: Path, empty_redis: Settings) -> Settings:
    """History is in the event table, and in the live views as of ten minutes before noon."""
    made = settings_in(tmp_path / "state").model_copy(update={"redis_url": empty_redis.redis})
    wiring.events(made).append(SYSTEM, HISTORY)
    materialized(made, NOON - HOUR / 6)
    return made


@pytest.fixture
async def world(stack: Settings) -> AsyncIterator[World]:
    """A gateway whose model declines every third payment or so, by how much the card has spent."""
    reader = RedisFeatureReader(stack.redis, timeout=10)
    made = World(Catalogue({"payments": SYSTEM}, {}), reader=reader)
    made.scorer.champions["payments"] = ("1", lambda X: np.asarray(X[:, 2] > 100, dtype=np.float64))
    yield made
    await reader.aclose()


def materialized(stack: Settings, until: datetime) -> list[str]:
    said: list[str] = []
    materialize.run(stack, SYSTEM, until, said.append)
    return said


async def serve(world: World, client: httpx.AsyncClient, payment: dict[str, Any], key: str = "") -> httpx.Response:
    world.clock.at = datetime.fromtimestamp(payment[AT], UTC)
    body = {name: payment[name] for name in ("card_id", "merchant_id", "country", "amount", "items")}
    answer = await client.post(PREDICTIONS, json=body, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == 200
    assert answer.json()["degraded"] == []
    return answer


async def served(world: World) -> list[PredictionRecord]:
    """The records of all payments, one after the other."""
    async with world.client() as client:
        for payment in SERVED.to_dict("records"):
            await serve(world, client, payment)
    return world.logged()


def logged(stack: Settings, records: list[PredictionRecord]) -> pd.DataFrame:
    """The log as training reads it, after the recorder's work."""
    wiring.archive(stack).append(records)
    return wiring.archive(stack).predictions(SYSTEM, NOON - HOUR, NOON)


async def read(world: World, rows: pd.DataFrame) -> np.ndarray:  # type: ignore[type-arg]  # of float32
    found = await world.reader.online(SYSTEM, columns(rows), NOON)
    assert found.degraded == ()
    return np.asarray(found.matrix[:, :5])


async def test_what_was_served_is_what_history_says_to_the_last_bit(stack: Settings, world: World) -> None:
    rows = logged(stack, await served(world))
    assert len(rows) == len(SERVED)
    assert len(np.unique(rows[AT])) < len(SERVED) * 0.8
    assert (
        20 < (rows["place"] < 0).sum() < 230
    )  # declined: no outcome, no event of the source, and counted all the same
    again = with_live_features(stack, SYSTEM, rows.drop(columns=LIVE))
    assert np.array_equal(again[LIVE].to_numpy(), rows[LIVE].to_numpy(np.float32))
    assert (rows[LIVE] > 0).any().all()
    assert rows["card_1h"].max() == CARD.most


async def test_a_retried_payment_counts_once(stack: Settings, world: World) -> None:
    payment = SERVED.to_dict("records")[-1]
    async with world.client() as client:
        first = await serve(world, client, payment, "one")
        again = await serve(world, client, payment, "one")
        await serve(world, client, {**payment, AT: payment[AT] + 1.0})
    assert again.json() == first.json()
    before, after = (record.features[0, 0] for record in world.logged())
    assert after == before + 1


async def test_a_lost_redis_holds_the_same_again_after_the_next_materialisation(stack: Settings, world: World) -> None:
    rows = logged(stack, await served(world))
    before = await read(world, rows)
    assert (before > 0).any()
    with redis.Redis.from_url(stack.redis) as client:
        client.flushall()
    assert (await world.reader.online(SYSTEM, columns(rows), NOON)).degraded == ("card: missing", "place: missing")
    assert materialized(stack, NOON) == ["online: 7 × card, 9 × place"]
    assert np.array_equal(await read(world, rows), before)


async def test_what_is_filled_from_log_and_events_is_not_counted_twice(stack: Settings, world: World) -> None:
    rows = logged(stack, await served(world))
    before = await read(world, rows)
    materialized(stack, NOON)
    assert np.array_equal(await read(world, rows), before)
    mature = NOON + SYSTEM.requirements.label_delay + HOUR
    report = from_log(SYSTEM, wiring.archive(stack), wiring.events(stack), mature, lambda line: None)
    assert report.appended == (rows["place"] >= 0).sum()
    materialized(stack, NOON)
    assert np.array_equal(await read(world, rows), before)
    again = with_live_features(stack, SYSTEM, rows.drop(columns=LIVE))
    assert np.array_equal(again[LIVE].to_numpy(), rows[LIVE].to_numpy(np.float32))


async def test_what_the_gateway_could_not_tell_is_made_good_by_the_next_materialisation(
    stack: Settings, world: World
) -> None:
    wanted = await read(world, logged(stack, await served(world)))
    with redis.Redis.from_url(stack.redis) as client:
        lost = [key for key in client.scan_iter("flywheel:live:payments:*") if client.zcard(key) > 3]
        for key in lost:
            client.zremrangebyrank(key, -3, -1)
    rows = wiring.archive(stack).predictions(SYSTEM, NOON - HOUR, NOON)
    assert not np.array_equal(await read(world, rows), wanted)
    materialized(stack, NOON)
    assert np.array_equal(await read(world, rows), wanted)


async def test_history_trains_on_what_would_have_been_served(stack: Settings, world: World) -> None:
    events = wiring.events(stack).read(SYSTEM, NOON - 3 * HOUR, NOON)
    joined = wiring.feature_store(stack).historical(SYSTEM, with_live_features(stack, SYSTEM, events))
    assert list(joined)[-6:] == list(SYSTEM.features.names)
    later = HISTORY.tail(40)
    known = joined.set_index(SOURCE.id)
    for _, payment in later.iterrows():
        rows = columns(later[later[SOURCE.id] == payment[SOURCE.id]])
        found = await world.reader.online(SYSTEM, rows, datetime.fromtimestamp(payment[AT], UTC))
        assert found.matrix[0].tolist() == known.loc[payment[SOURCE.id], list(SYSTEM.features.names)].tolist()
