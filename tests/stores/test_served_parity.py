"""Served equals recomputed, with real Feast, Redis and archive: served through the gateway's reader, hour by hour."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import redis
from feast.protos.feast.types.Value_pb2 import Value

from contracts.records import PredictionRecord
from contracts.system import AT, Columns, System
from infra import wiring
from infra.feast_layout import entity_key, field
from infra.live_history import with_live_features
from infra.online_features import RedisFeatureReader
from infra.settings import Settings
from monitoring.parity import Parity, Stores, ViewParity, check
from pipelines import materialize
from tests.conftest import settings_in
from tests.stores.live_system import CARD, PLACE, SOURCE, columns, live, payments
from tests.stores.tiny_system import HOUR, NOON, events, tiny

MINUTE = timedelta(minutes=1)
LATE = 6 * MINUTE  # after each full hour until it is materialised
USERS, CATEGORIES = [f"u{number}" for number in range(9)], ["cats", "dogs", "çöl"]  # nobody has seen u8


@pytest.fixture
def stack(tmp_path: Path, empty_redis: Settings) -> Settings:
    return settings_in(tmp_path / "state").model_copy(update={"redis_url": empty_redis.redis})


def materialized(stack: Settings, system: System, until: datetime) -> None:
    materialize.run(stack, system, until, lambda line: None)


def record(system: System, number: int, at: datetime, rows: Columns, read: object) -> PredictionRecord:
    """A served prediction with the features that were read for it; nothing was shown."""
    count = len(rows[AT])
    return PredictionRecord(
        prediction_id=f"{at:%H%M%S%f}-{number}",
        system=system.name,
        at=at,
        model_version="1",
        variant="champion",
        request={},
        rows=rows,
        feature_names=system.features.names,
        features=read.matrix,  # type: ignore[attr-defined]
        scores=np.full(count, 0.5),
        shown=np.empty(0, np.int64),
        propensity=np.empty(0),
        result={},
        degraded=read.degraded,  # type: ignore[attr-defined]
    )


async def an_hour(stack: Settings, start: datetime, seed: int) -> list[PredictionRecord]:
    """Forty requests of three rows in the hour after `start`, whose tick is materialised LATE after it began."""
    random, system, done, found = np.random.default_rng(seed), tiny(), False, []
    reader = RedisFeatureReader(stack.redis, timeout=10)
    try:
        for number, minutes in enumerate(np.sort(random.random(40)) * 60):
            at = start + minutes * MINUTE
            if at >= start + LATE and not done:
                materialized(stack, system, start + LATE)
                done = True
            rows = {
                "user_id": np.full(3, random.choice(USERS), dtype=object),
                "category": np.array(CATEGORIES, dtype=object),
                "slot": np.arange(3),
                AT: np.full(3, at.timestamp()),
            }
            found.append(record(system, number, at, rows, await reader.online(system, rows, at)))
        return found
    finally:
        await reader.aclose()


def served(stack: Settings, hours: range) -> None:
    """Traffic of some hours after noon. Events come in hour by hour, every tenth of them an hour late."""
    happened = events(1_200, NOON - 9 * HOUR, 14)
    late = np.arange(len(happened)) % 10 == 0
    known_at = happened[AT] + 3600 * late
    for hour in hours:
        start = NOON + hour * HOUR
        wiring.events(stack).append(tiny(), happened[known_at < start.timestamp()])
        wiring.archive(stack).append(asyncio.run(an_hour(stack, start, hour)))


def compared(stack: Settings, system: System, since: datetime, until: datetime) -> Parity:
    live_ones = partial(with_live_features, stack, system)
    stores = Stores(wiring.archive(stack), wiring.feature_store(stack), live_ones)
    return check(system, stores, (since, until))


def view(found: Parity, name: str) -> ViewParity:
    return next(each for each in found.views if each.name == name)


def scaled_in_redis(stack: Settings, feature: str, factor: float) -> int:
    """Scale a feature of the view `pair` in the online store alone: of how many entities."""
    name, count = field("tiny__pair", feature), 0
    with redis.Redis.from_url(stack.redis) as client:
        for user in USERS:
            for category in CATEGORIES:
                key = entity_key(("category", "user_id"), (category, user))
                if (stored := client.hget(key, name)) is not None:
                    value = Value.FromString(stored).float_val  # type: ignore[arg-type]
                    client.hset(key, name, Value(float_val=value * factor).SerializeToString())  # type: ignore[arg-type]
                    count += 1
    return count


def test_what_was_served_hour_by_hour_is_what_is_recomputed(stack: Settings) -> None:
    served(stack, range(3))
    found = compared(stack, tiny(), NOON + HOUR, NOON + 3 * HOUR)
    assert (found.equal, sum(each.differing for each in found.features)) == (True, 0)
    assert found.rows == 2 * 40 * 3
    user = view(found, "user")
    assert 0 < user.behind < 40
    assert timedelta(0) < user.behind_for < LATE
    assert 0 < user.degraded < 100
    assert user.compared == found.rows - user.degraded


def test_a_feature_scaled_by_1000_in_the_online_store_is_named(stack: Settings) -> None:
    served(stack, range(1))
    planted = NOON + HOUR - timedelta(microseconds=1)
    assert scaled_in_redis(stack, "spent_6h", 1000.0) > 10
    # No tick is materialised in what follows, so that the scaled values stay where they are.
    wiring.archive(stack).append(asyncio.run(by_everybody(stack, planted)))
    before = compared(stack, tiny(), NOON, planted)
    after = compared(stack, tiny(), planted, NOON + HOUR + LATE)
    assert before.equal is True
    assert (after.equal, after.skewed) == (False, ("spent_6h",))
    assert "value is 1000 times the recomputed one" in after.features[0].words
    assert after.features[0].ratio == pytest.approx(1000, rel=1e-4)
    assert after.features[0].differing == after.features[0].compared > 30


async def by_everybody(stack: Settings, at: datetime) -> list[PredictionRecord]:
    """One request by each user, at one moment."""
    reader, found = RedisFeatureReader(stack.redis, timeout=10), []
    for number, user in enumerate(USERS[:-1]):
        rows = {
            "user_id": np.full(6, user, dtype=object),
            "category": np.array(CATEGORIES * 2, dtype=object),
            "slot": np.arange(6),
            AT: np.full(6, at.timestamp()),
        }
        found.append(record(tiny(), number, at, rows, await reader.online(tiny(), rows, at)))
    await reader.aclose()
    return found


def test_a_store_that_is_no_longer_materialised_is_stale(stack: Settings) -> None:
    served(stack, range(1))
    materialized_but_not_online(stack, NOON + 3 * HOUR + LATE)
    wiring.archive(stack).append(asyncio.run(by_everybody(stack, NOON + 3 * HOUR + LATE)))
    found = compared(stack, tiny(), NOON + 3 * HOUR, NOON + 4 * HOUR)
    assert set(found.skewed) == {"seen_3h", "rate_6h", "spent_6h"}
    assert all("as it was 3 ticks before (stale)" in each.words for each in found.features if each.differing)


def materialized_but_not_online(stack: Settings, until: datetime) -> None:
    """The pipeline's first half alone: events come in and states are computed, and none gets to Redis."""
    wiring.events(stack).append(tiny(), events(1_200, NOON - 9 * HOUR, 14))
    materialize.compute(stack, tiny(), wiring.feature_store(stack), until, lambda line: None)


PAYING = live(CARD, PLACE)
HISTORY = payments(300, 2 * 3600, seed=1).assign(**{AT: lambda table: table[AT] - 600})
SERVED = payments(120, 590)


async def paid(stack: Settings, unit: float) -> list[PredictionRecord]:
    """Payments through the reader, each an event of the live views once it was answered, with its amount in `unit`."""
    reader, found = RedisFeatureReader(stack.redis, timeout=10), []
    for number, moment in enumerate(SERVED[AT]):
        one = columns(SERVED.iloc[[number]].drop(columns=[SOURCE.id, "fraud"]))
        at = datetime.fromtimestamp(moment, UTC)
        read = await reader.online(PAYING, one, at)
        found.append(replace(record(PAYING, number, at, one, read), prediction_id=f"p0-{number}"))
        await reader.observe(PAYING, {**one, "amount": one["amount"] * unit}, f"p0-{number}")
    await reader.aclose()
    return found


def live_parity(stack: Settings, unit: float) -> Parity:
    wiring.events(stack).append(PAYING, HISTORY)
    materialized(stack, PAYING, NOON - HOUR / 6)
    wiring.archive(stack).append(asyncio.run(paid(stack, unit)))
    return compared(stack, PAYING, NOON - HOUR / 6, NOON)


def test_live_views_are_what_is_recomputed_from_the_log(stack: Settings) -> None:
    found = live_parity(stack, unit=1.0)
    assert (found.equal, sum(each.differing for each in found.features)) == (True, 0)
    assert view(found, "card").compared + view(found, "card").under_way == found.rows == len(SERVED)
    assert view(found, "card").compared > 60


def test_amounts_that_the_gateway_told_in_cents_are_found_in_the_sums_of_amounts_alone(stack: Settings) -> None:
    found = live_parity(stack, unit=100.0)
    assert set(found.skewed) == {"card_amount_1h", "place_amount_2h"}
    assert all(each.difference > 0 for each in found.features if each.differing)
    assert [line.split(":")[0] for line in found.sentences()[-2:]] == [each.name for each in found.features[:2]]


def test_the_log_is_not_compared_with_itself(stack: Settings) -> None:
    """A store without states recomputes defaults, whatever was logged."""
    served(stack, range(1))
    other = settings_in(stack.state_dir / "other").model_copy(update={"redis_url": stack.redis})
    live_ones = partial(with_live_features, other, tiny())
    found = check(tiny(), Stores(wiring.archive(stack), wiring.feature_store(other), live_ones), (NOON, NOON + HOUR))
    assert set(found.skewed) == {"seen_3h", "rate_6h", "spent_6h"}
