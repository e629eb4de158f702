"""Online features: our own read of Redis held against Feast's, and against what is stored offline."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import feast
import numpy as np
import pandas as pd
import pytest
import redis
from feast.infra.online_stores.helpers import _mmh3, _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from contracts.errors import InvalidInput, Unavailable
from contracts.records import FeatureRead
from contracts.system import System
from infra.feast_layout import entity_key, field, watermark_key
from infra.feature_store import FeastFeatureStore, view_name
from infra.online_features import MARKS_AGE, RedisFeatureReader
from infra.settings import Settings
from pipelines.aggregate import STAMP, view_states
from tests.conftest import settings_in
from tests.stores.tiny_system import HOUR, NOON, PAIR, USER, events, rows, tiny

Read = Callable[..., FeatureRead]
EVERYBODY = [(f"u{number}", category) for number in range(9) for category in ("cats", "dogs", "çöl")]  # u8 is unknown


@pytest.fixture
def stack(tmp_path: Path, empty_redis: Settings) -> Settings:
    return settings_in(tmp_path / "state").model_copy(update={"redis_url": empty_redis.redis})


@pytest.fixture
def filled(stack: Settings) -> Settings:
    """A stack with the features of 300 events of the ten hours before noon, materialised at noon."""
    store, happened = FeastFeatureStore(stack), events(300, NOON - 10 * HOUR, 10)
    for view in (USER, PAIR):
        store.write(tiny(), view.name, view_states(view, happened, None, NOON))
    store.materialize(tiny(), NOON)
    return stack


def read(stack: Settings, *keys: tuple[str, str], system: System | None = None, later: float = 0) -> FeatureRead:
    moment = NOON + later * HOUR

    async def once(reader: RedisFeatureReader) -> FeatureRead:
        return await reader.online(system or tiny(), rows(*keys, at=moment), moment)

    return within(stack, once)


class Standing:
    """A monotonic clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def within(
    stack: Settings,
    work: Callable[[RedisFeatureReader], Coroutine[Any, Any, FeatureRead]],
    clock: Callable[[], float] = time.monotonic,
) -> FeatureRead:
    async def main() -> FeatureRead:
        reader = RedisFeatureReader(stack.redis, time=clock)
        try:
            return await work(reader)
        finally:
            await reader.aclose()

    return asyncio.run(main())


def test_online_equals_offline_at_the_same_moment(filled: Settings) -> None:
    offline = FeastFeatureStore(filled).historical(tiny(), pd.DataFrame(rows(*EVERYBODY)))
    found = read(filled, *EVERYBODY)
    assert found.matrix.dtype == np.float32
    assert np.array_equal(found.matrix, offline[list(tiny().features.names)].to_numpy())
    assert len(np.unique(found.matrix[:, :3], axis=0)) > 10
    assert found.degraded == ("pair: missing", "user: missing")


def test_our_read_equals_feasts(filled: Settings) -> None:
    names = {view: [feature.name for feature in view.features] for view in (USER, PAIR)}
    found = feast.FeatureStore(fs_yaml_file=filled.path("feast", "feature_store.yaml")).get_online_features(
        [f"{view_name(tiny(), view)}:{name}" for view in names for name in names[view]],
        [{"user_id": user, "category": category} for user, category in EVERYBODY],
    )
    values = found.to_df()[[name for view in names for name in names[view]]]
    defaults = {feature.name: feature.default for view in names for feature in view.features}
    assert np.array_equal(read(filled, *EVERYBODY).matrix[:, :3], values.fillna(defaults).to_numpy(np.float32))


@pytest.mark.parametrize("values", [("u1",), ("u1", "x"), ("", "çöl"), ("a" * 300, "b")])
def test_the_layout_is_feasts(values: tuple[str, ...]) -> None:
    keys = ("category", "user_id")[: len(values)]
    proto = EntityKey(join_keys=keys, entity_values=[Value(string_val=value) for value in values])
    assert entity_key(keys, values) == _redis_key("flywheel", proto, 3)
    assert field("tiny__user", "seen_3h") == _mmh3("tiny__user:seen_3h")


def test_nothing_there_is_all_defaults_and_says_so(stack: Settings) -> None:
    found = read(stack, ("u1", "cats"), ("u1", "dogs"))
    assert found.matrix[:, :3].tolist() == [[0, np.float32(0.1), -1]] * 2
    assert found.degraded == ("pair: missing", "user: missing")


def test_what_is_older_than_the_ttl_is_stale(filled: Settings) -> None:
    assert read(filled, ("u1", "cats"), later=1).degraded == ()
    found = read(filled, ("u1", "cats"), later=9)
    assert found.matrix[0, :3].tolist() == [0, np.float32(0.1), -1]
    assert found.degraded == ("pair: stale", "user: stale")


def test_a_feature_that_was_never_materialised_is_missing_and_the_others_are_read(filled: Settings) -> None:
    more = replace(USER, features=(*USER.features, replace(USER.features[0], name="seen_9h", default=4.0)))
    found = read(filled, ("u1", "cats"), system=tiny(more))
    assert found.matrix[0, :2].tolist() == read(filled, ("u1", "cats")).matrix[0, :2].tolist()
    assert found.matrix[0, 2] == 4.0
    assert found.degraded == ("user: missing",)


def test_a_value_changed_in_redis_is_read(filled: Settings) -> None:
    before = read(filled, ("u1", "cats"), ("u2", "cats")).matrix
    first, second = entity_key(("user_id",), ("u1",)), entity_key(("user_id",), ("u2",))
    with redis.Redis.from_url(filled.redis) as client:
        one, other = client.hgetall(first), client.hgetall(second)
        client.hset(first, mapping=other)
        client.hset(second, mapping=one)
    after = read(filled, ("u1", "cats"), ("u2", "cats")).matrix
    assert not np.array_equal(before[0, :2], before[1, :2])
    assert np.array_equal(after[:, :2], before[::-1, :2])
    assert np.array_equal(after[:, 2], before[:, 2])


def test_an_entity_is_read_once_however_many_rows_have_it(filled: Settings) -> None:
    with redis.Redis.from_url(filled.redis) as client:
        client.config_resetstat()
        read(filled, *[("u1", category) for category in ("cats", "dogs", "çöl")] * 5)
        assert client.info("commandstats")["cmdstat_hmget"]["calls"] == 1 + 1 + 3  # with the watermarks


def calls(stack: Settings) -> int:
    """How often an entity's states were asked for, or the watermarks."""
    with redis.Redis.from_url(stack.redis) as client:
        return int(client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"])


def materialised_an_hour_later(stack: Settings) -> None:
    store, happened = FeastFeatureStore(stack), events(300, NOON - 9 * HOUR, 10, seed=1)
    store.write(tiny(), USER.name, view_states(USER, happened, None, NOON + HOUR))
    store.materialize(tiny(), NOON + HOUR)


def test_what_was_read_is_kept_until_the_next_materialisation(filled: Settings) -> None:
    system, clock = tiny(), Standing()

    async def work(reader: RedisFeatureReader) -> FeatureRead:
        first = await reader.online(system, rows(("u1", "cats"), ("u2", "dogs")), NOON)
        before = calls(filled)
        again = await reader.online(system, rows(("u2", "dogs"), ("u1", "cats")), NOON)
        assert calls(filled) == before
        assert np.array_equal(again.matrix[::-1, :3], first.matrix[:, :3])
        await reader.online(system, rows(("u2", "cats"), ("u1", "cats")), NOON)
        assert calls(filled) == before + 2  # the watermarks, and u2's cats, which nobody had asked for
        materialised_an_hour_later(filled)
        clock.now += MARKS_AGE / 2
        old = await reader.online(system, rows(("u1", "cats"), ("u2", "dogs")), NOON)
        assert np.array_equal(old.matrix, first.matrix)
        clock.now += MARKS_AGE
        new = await reader.online(system, rows(("u1", "cats"), ("u2", "dogs")), NOON + HOUR)
        assert not np.array_equal(new.matrix[:, :2], first.matrix[:, :2])
        return new

    found, fresh = within(filled, work, clock), read(filled, ("u1", "cats"), ("u2", "dogs"), later=1)
    assert np.array_equal(found.matrix[:, :3], fresh.matrix[:, :3])


def test_kept_states_are_asked_for_again_when_the_watermarks_were_read_a_while_ago(filled: Settings) -> None:
    system, clock = tiny(), Standing()

    async def work(reader: RedisFeatureReader) -> FeatureRead:
        first = await reader.online(system, rows(("u1", "cats")), NOON)
        before = calls(filled)
        clock.now += MARKS_AGE
        again = await reader.online(system, rows(("u1", "cats")), NOON)
        assert calls(filled) == before + 1  # the watermarks alone
        await reader.online(system, rows(("u1", "cats")), NOON)
        assert calls(filled) == before + 1
        assert np.array_equal(again.matrix, first.matrix)
        return again

    within(filled, work, clock)


def test_what_one_request_found_materialised_no_other_passes_over(filled: Settings) -> None:
    """While one reads the new states, the watermarks are young, and what is kept is by older ones."""
    system, clock = tiny(), Standing()
    asked = rows(("u1", "cats"))

    async def work(reader: RedisFeatureReader) -> FeatureRead:
        first = await reader.online(system, asked, NOON)
        materialised_an_hour_later(filled)
        clock.now += MARKS_AGE
        beside = list[FeatureRead]()
        exchange = reader._link.exchange

        async def interrupted(commands: bytes, replies: int) -> list[Any]:
            if replies > 1:  # the second exchange, for states; the first was for the watermarks
                reader._link.exchange = exchange  # type: ignore[method-assign]
                beside.append(await reader.online(system, asked, NOON + HOUR))
            return await exchange(commands, replies)

        reader._link.exchange = interrupted  # type: ignore[method-assign]
        new = await reader.online(system, asked, NOON + HOUR)
        assert not np.array_equal(new.matrix[:, :2], first.matrix[:, :2])
        assert np.array_equal(beside[0].matrix, new.matrix)
        return new

    within(filled, work, clock)


def test_a_view_that_moved_on_while_another_was_read_again_is_asked_for(filled: Settings) -> None:
    """Its watermark was read with the other's states, by a request that had no use for it."""
    system, clock = tiny(), Standing()
    asked = rows(("u1", "cats"))

    async def work(reader: RedisFeatureReader) -> FeatureRead:
        first = await reader.online(system, asked, NOON)
        with redis.Redis.from_url(filled.redis) as client:
            client.hset(watermark_key(system), "pair", "1")
        clock.now += MARKS_AGE
        exchange = reader._link.exchange

        async def interrupted(commands: bytes, replies: int) -> list[Any]:
            if replies > 1:  # the second exchange, for the state of the pair; the first was for the watermarks
                reader._link.exchange = exchange  # type: ignore[method-assign]
                materialised_an_hour_later(filled)
            return await exchange(commands, replies)

        reader._link.exchange = interrupted  # type: ignore[method-assign]
        old = await reader.online(system, asked, NOON)
        assert np.array_equal(old.matrix[:, :2], first.matrix[:, :2])
        new = await reader.online(system, asked, NOON + HOUR)
        assert not np.array_equal(new.matrix[:, :2], first.matrix[:, :2])
        return new

    within(filled, work, clock)


def test_what_was_read_is_not_kept_when_redis_is_emptied(filled: Settings) -> None:
    system = tiny()

    async def work(reader: RedisFeatureReader) -> FeatureRead:
        await reader.online(system, rows(("u1", "cats")), NOON)
        with redis.Redis.from_url(filled.redis) as client:
            client.flushdb()
        return await reader.online(system, rows(("u1", "cats"), ("u2", "dogs")), NOON)

    found = within(filled, work)
    assert found.matrix[:, :3].tolist() == [[0, np.float32(0.1), -1]] * 2
    assert found.degraded == ("pair: missing", "user: missing")


def test_what_was_read_goes_stale_like_any_other(filled: Settings) -> None:
    system = tiny()

    async def work(reader: RedisFeatureReader) -> FeatureRead:
        assert (await reader.online(system, rows(("u1", "cats")), NOON)).degraded == ()
        return await reader.online(system, rows(("u1", "cats")), NOON + 9 * HOUR)

    assert within(filled, work).degraded == ("pair: stale", "user: stale")


def test_a_silent_redis_is_unavailable_in_time_and_its_late_replies_reach_nobody(filled: Settings) -> None:
    async def work(reader: RedisFeatureReader) -> FeatureRead:
        before = await reader.online(tiny(), rows(("u2", "dogs")), NOON)
        with redis.Redis.from_url(filled.redis) as client:
            client.client_pause(600)
            began = time.monotonic()
            with pytest.raises(Unavailable, match="gave no answer"):
                await reader.online(tiny(), rows(("u1", "cats")), NOON)
            assert time.monotonic() - began < 0.3
            client.client_unpause()
        after = await reader.online(tiny(), rows(("u2", "dogs")), NOON)
        assert np.array_equal(after.matrix, before.matrix)
        return after

    assert within(filled, work).degraded == ()


def test_a_cancelled_read_leaves_nothing_for_the_next(filled: Settings) -> None:
    async def work(reader: RedisFeatureReader) -> FeatureRead:
        before = await reader.online(tiny(), rows(("u2", "dogs")), NOON)
        with redis.Redis.from_url(filled.redis) as client:
            client.client_pause(600)
            reading = asyncio.create_task(reader.online(tiny(), rows(("u1", "cats")), NOON))
            await asyncio.sleep(0.03)  # it has sent its question by now
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            client.client_unpause()
        after = await reader.online(tiny(), rows(("u2", "dogs")), NOON)
        assert np.array_equal(after.matrix, before.matrix)
        return after

    assert within(filled, work).degraded == ()


def test_no_redis_is_unavailable(settings: Settings) -> None:
    with pytest.raises(Unavailable, match="ConnectionError"):
        read(settings, ("u1", "cats"))


def test_rows_without_an_entity_are_refused(filled: Settings) -> None:
    async def work(reader: RedisFeatureReader) -> FeatureRead:
        return await reader.online(tiny(), {"user_id": np.array(["u1"])}, NOON)

    with pytest.raises(InvalidInput, match="lack 'category'"):
        within(filled, work)


def test_a_state_that_changed_after_the_moment_of_materialisation_waits_for_the_next(filled: Settings) -> None:
    later = pd.DataFrame({"user_id": ["u1"], STAMP: [NOON + HOUR], "seen_3h": [99.0], "rate_6h": [0.9]})
    before = read(filled, ("u1", "cats")).matrix
    store = FeastFeatureStore(filled)
    store.write(tiny(), "user", later)
    assert np.array_equal(read(filled, ("u1", "cats")).matrix, before)
    store.materialize(tiny(), NOON + HOUR)
    assert read(filled, ("u1", "cats"), later=1).matrix[0, 0] == 99.0
