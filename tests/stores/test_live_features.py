"""Live views in a real Redis: an event counts in the next read, once, and what is lost is never read as nothing."""

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import redis

from contracts.errors import InvalidInput, Unavailable
from contracts.records import FeatureRead
from contracts.system import AT, System
from infra.live_features import SPARE, LiveFeatures
from infra.live_history import live_features
from infra.online_features import RedisFeatureReader
from infra.settings import Settings
from tests.conftest import settings_in
from tests.stores.live_system import CARD, HOUR, PLACE, columns, live, payments
from tests.stores.tiny_system import NOON

SYSTEM = live(CARD, PLACE)
NAMES = list(SYSTEM.features.names[:5])
NOTHING = payments(1, 1).head(0)
MISSING = ("card: missing", "place: missing")


@pytest.fixture
def stack(tmp_path: Path, empty_redis: Settings) -> Settings:
    return settings_in(tmp_path / "state").model_copy(update={"redis_url": empty_redis.redis})


@pytest.fixture
def whole(stack: Settings) -> Settings:
    """A stack whose live views are whole, and empty."""
    fill(stack, NOTHING)
    return stack


def fill(stack: Settings, events: pd.DataFrame, system: System = SYSTEM) -> dict[str, int]:
    return dict(LiveFeatures(stack.redis).fill(system, columns(events)))


def within(stack: Settings, work: Any, timeout: float = 5.0) -> Any:
    """What `work` gives with a reader of its own."""

    async def main() -> Any:
        reader = RedisFeatureReader(stack.redis, timeout)
        try:
            return await work(reader)
        finally:
            await reader.aclose()

    return asyncio.run(main())


def read(
    stack: Settings, rows: pd.DataFrame, at: datetime = NOON, system: System = SYSTEM, timeout: float = 5.0
) -> FeatureRead:
    found = within(stack, lambda reader: reader.online(system, columns(rows), at), timeout)
    assert isinstance(found, FeatureRead)
    return found


def observe(stack: Settings, rows: pd.DataFrame, system: System = SYSTEM) -> None:
    """Each of the rows as a request of its own."""

    async def work(reader: RedisFeatureReader) -> None:
        for place in range(len(rows)):
            row = rows.iloc[[place]]
            await reader.observe(system, columns(row), row["payment_id"].item().removesuffix(":0"))

    within(stack, work)


def offline(events: pd.DataFrame, rows: pd.DataFrame, system: System = SYSTEM) -> pd.DataFrame:
    views = [view for view in system.features.views if view.live]
    return pd.concat([live_features(system, view, events, rows) for view in views], axis=1)


def everybody(events: pd.DataFrame, at: datetime = NOON) -> pd.DataFrame:
    """A row for each combination of keys."""
    keys = events[["card_id", "merchant_id", "country"]].drop_duplicates()
    return keys.assign(**{AT: at.timestamp(), "amount": 1.0, "items": 1}).reset_index(drop=True)


def assert_reads(stack: Settings, events: pd.DataFrame, at: datetime = NOON) -> None:
    """That what is read now is what the events say."""
    rows = everybody(events, at)
    found = read(stack, rows, at)
    assert found.degraded == ()
    assert np.array_equal(found.matrix[:, :5], offline(events, rows).to_numpy())


def test_an_observed_event_counts_in_the_next_read(whole: Settings) -> None:
    (first, second), rest = (payments(3, 20).iloc[[place]] for place in (0, 1)), payments(3, 20).iloc[[2]]
    assert read(whole, first).matrix[0, :5].tolist() == [0, 0, 0, 0, 0]
    observe(whole, first)
    again = read(whole, first)
    assert again.matrix[0, :3].tolist() == [1, 1, np.float32(first["amount"].item())]
    assert again.degraded == ()
    observe(whole, pd.concat([second, rest]))
    assert_reads(whole, payments(3, 20))


def test_whatever_was_observed_in_whatever_order_reads_as_history_does(whole: Settings) -> None:
    events = payments(400, 3 * 3600)
    observe(whole, events.sample(frac=1, random_state=1))
    assert_reads(whole, events)
    assert read(whole, everybody(events)).matrix[:, 1].max() == CARD.most
    assert_reads(whole, events, NOON + HOUR)
    assert_reads(whole, events, NOON + 3 * HOUR)


def test_an_event_observed_twice_counts_once(whole: Settings) -> None:
    events = payments(30, 600)
    observe(whole, events)
    observe(whole, events.sample(frac=1, random_state=2))
    fill(whole, events)
    assert_reads(whole, events)


def test_a_zero_with_a_sign_and_a_missing_value_are_the_same_event_too(whole: Settings) -> None:
    event = payments(1, 1).assign(amount=0.0)
    for amount in (0.0, -0.0, float("nan"), -float("nan")):
        observe(whole, event.assign(amount=amount))
    assert read(whole, event).matrix[0, :3].tolist() == [1, 1, 0]


def test_events_of_the_moment_itself_or_later_do_not_count(whole: Settings) -> None:
    events = payments(3, 1).assign(card_id="c", **{AT: [NOON.timestamp() + step for step in (-1e-6, 0, 1e-6)]})
    observe(whole, events)
    assert read(whole, events.iloc[[0]]).matrix[0, :2].tolist() == [1, 1]
    assert read(whole, events.iloc[[0]], NOON + timedelta(hours=1)).matrix[0, :2].tolist() == [0, 2]


def test_later_events_push_out_none_that_count(whole: Settings) -> None:
    before, after = (payments(SPARE, 50, seed).assign(card_id="c", merchant_id="m", country="") for seed in (0, 1))
    observe(whole, pd.concat([before, after.assign(at=after[AT] + 60)]))
    assert read(whole, before.head(1)).matrix[0, 1] == CARD.most
    assert_reads(whole, before)


def test_rows_of_one_prediction_are_events_of_their_own(whole: Settings) -> None:
    events = payments(8, 30)

    async def work(reader: RedisFeatureReader) -> None:
        for _ in range(2):
            await reader.observe(SYSTEM, columns(events), "p")

    within(whole, work)
    assert_reads(whole, events.assign(payment_id=[f"p:{place}" for place in range(8)]))


def test_who_paid_nothing_is_in_the_empty_state_and_nothing_is_degraded(whole: Settings) -> None:
    found = read(whole, everybody(payments(20, 60)))
    assert (found.matrix[:, :5] == 0).all()
    assert found.degraded == ()


def test_views_into_which_no_history_was_filled_are_missing_whatever_was_observed(stack: Settings) -> None:
    events = payments(30, 600)
    observe(stack, events)
    found = read(stack, everybody(events))
    assert found.degraded == MISSING
    assert (found.matrix[:, :5] == [0, -1, -2, 0, 0]).all()
    fill(stack, events)
    assert_reads(stack, events)


def test_an_emptied_redis_is_missing_until_it_is_filled_again(whole: Settings) -> None:
    events = payments(200, 3 * 3600)
    observe(whole, events)
    with redis.Redis.from_url(whole.redis) as client:
        client.flushall()
    observe(whole, events.tail(3))
    assert read(whole, everybody(events)).degraded == MISSING
    assert fill(whole, events)["card"] == events["card_id"].nunique()
    assert_reads(whole, events)


def test_a_view_defined_anew_is_missing_and_the_other_is_read(whole: Settings) -> None:
    events = payments(30, 600)
    observe(whole, events)
    longer = replace(CARD, features=(*CARD.features[:2], replace(CARD.features[2], window=2 * HOUR)))
    changed = live(longer, PLACE)
    found = read(whole, everybody(events), system=changed)
    assert found.degraded == ("card: missing",)
    assert np.array_equal(found.matrix[:, 3:5], offline(events, everybody(events))[NAMES[3:]].to_numpy())
    fill(whole, events, changed)
    assert read(whole, everybody(events), system=changed).degraded == ()


def test_what_is_filled_while_events_come_in_loses_none_of_them(stack: Settings) -> None:
    events = payments(600, 3 * 3600)
    with ThreadPoolExecutor(3) as pool:
        parts = [events.iloc[:400], events.iloc[200:500]]
        done = [pool.submit(fill, stack, part) for part in parts] + [pool.submit(observe, stack, events.iloc[300:])]
        for one in done:
            one.result()
    assert_reads(stack, events)


def test_what_redis_holds_is_bounded_and_goes_away(whole: Settings) -> None:
    many = payments(300, 3600).assign(card_id="c" * 1_000, merchant_id="m", country="")
    for events in (many.head(200), many.tail(100)):
        fill(whole, events)
    observe(whole, many.tail(30))
    with redis.Redis.from_url(whole.redis) as client:
        sets = {key: client.zcard(key) for key in client.scan_iter("flywheel:live:payments:*")}
        assert sorted(sets.values()) == [CARD.most + SPARE, PLACE.most + SPARE]
        assert all(len(key) < 100 and 0 < client.ttl(key) <= PLACE.ttl.total_seconds() for key in sets)
        observe(whole, many.tail(1).assign(at=NOON.timestamp() + 2.1 * 3600))
        sizes = [client.zcard(key) for key in sets]
    assert sorted(sizes) == [1, PLACE.most + SPARE]  # two hours on, the card's earlier ones are too old for any window


def test_a_system_without_live_views_costs_redis_nothing(stack: Settings) -> None:
    ticked = live(replace(CARD, every=HOUR, ttl=3 * HOUR))
    with redis.Redis.from_url(stack.redis) as client:
        client.config_resetstat()
        observe(stack, payments(3, 60), ticked)
        read(stack, payments(3, 60), system=ticked)
        calls = client.info("commandstats")
    assert not any("zadd" in name or "zrev" in name or "hget" in name for name in calls)


def test_a_silent_redis_is_unavailable_in_time_to_readers_and_observers(whole: Settings) -> None:
    event = payments(1, 1)

    async def work(reader: RedisFeatureReader) -> None:
        calls: list[Coroutine[Any, Any, Any]] = [
            reader.observe(SYSTEM, columns(event), "p"),
            reader.online(SYSTEM, columns(event), NOON),
        ]
        for call in calls:
            began = time.monotonic()
            with pytest.raises(Unavailable, match="gave no answer"):
                await call
            assert time.monotonic() - began < 0.3

    with redis.Redis.from_url(whole.redis) as client:
        client.client_pause(1_500)
        within(whole, work, 0.15)
        client.client_unpause()
    observe(whole, event)
    assert read(whole, event, NOON + timedelta(seconds=1)).matrix[0, 0] == 1


def test_no_redis_is_unavailable(settings: Settings) -> None:
    with pytest.raises(Unavailable, match="ConnectionError"):
        observe(settings, payments(1, 1))
    with pytest.raises(Unavailable, match="no live view was filled"):
        fill(settings, payments(1, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"card_id": None}, "lack 'card_id'"),
        ({"amount": None}, "lack 'amount'"),
        ({AT: None}, "lack 'at'"),
        ({"amount": "much"}, "sums 'amount', which must be numbers"),
        ({"amount": 1e12}, "sums 'amount', whose values must not exceed"),
        ({AT: float("nan")}, "not a number of seconds"),
    ],
)
def test_rows_that_are_no_events_are_refused(whole: Settings, change: dict[str, Any], said: str) -> None:
    absent = [name for name, value in change.items() if value is None]
    event = payments(1, 1).assign(**change).drop(columns=absent)
    with pytest.raises(InvalidInput, match=said):
        observe(whole, event)


def test_a_member_that_is_not_whole_is_refused_and_not_misread(whole: Settings) -> None:
    event = payments(1, 1)
    observe(whole, event)
    with redis.Redis.from_url(whole.redis) as client:
        [key] = client.scan_iter("flywheel:live:payments:card:*")
        client.zadd(key, {b"x" * 30: event[AT].item()})
    with pytest.raises(Unavailable, match="'card' that are not whole"):
        read(whole, event)


def test_no_two_entities_share_a_key(whole: Settings) -> None:
    keys = [("a", "bc"), ("ab", "c"), ("", "abc"), ("1:a", "b"), ("a", "1:b"), ("x:y", "z"), ("x", "y:z")]
    events = payments(len(keys), 60).assign(merchant_id=[a for a, _ in keys], country=[b for _, b in keys])
    observe(whole, events)
    later = datetime.fromtimestamp(events[AT].max() + 1, UTC)
    found = read(whole, events, later).matrix
    assert found[:, 4].tolist() == events["amount"].astype(np.float32).tolist()
