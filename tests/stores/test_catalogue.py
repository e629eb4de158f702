"""The catalogue of published items, in memory and on Redis: one suite. Serving asks of it what the gateway did."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from contracts.errors import InvalidInput, Unavailable
from contracts.ports import Catalogue, Log
from contracts.records import ItemRecord
from infra.catalogue import RedisCatalogue
from infra.log import RedisLog
from infra.log_consumer import RedisLogConsumer
from infra.memory_log import MemoryCatalogue, MemoryLog, MemoryLogConsumer
from infra.settings import Settings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EPOCH = datetime.fromtimestamp(0, UTC)


def item(name: str, received: timedelta = timedelta(0), system: str = "kiosk", **columns: Any) -> ItemRecord:
    """A film received so long after noon, and published an hour before that."""
    at = NOON + received
    return ItemRecord(name, system, at - timedelta(hours=1), {"genre": "crime", "minutes": 90.5, **columns}, at)


@dataclass
class Store:
    log: Log
    catalogue: Catalogue
    records: Callable[[], list[Any]]

    def append(self, *items: ItemRecord) -> None:
        async def work() -> None:
            try:
                for each in items:
                    await self.log.append_item(each)
            finally:
                if isinstance(self.log, RedisLog):
                    await self.log.aclose()

        asyncio.run(work())

    def names(self, since: datetime = EPOCH, system: str = "kiosk") -> Sequence[str]:
        return [each.item for each in self.catalogue.since(system, since)]


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        memory = MemoryLog()
        return Store(memory, MemoryCatalogue(memory), lambda: _records(MemoryLogConsumer(memory)))
    url = request.getfixturevalue("empty_redis").log_redis
    return Store(
        RedisLog(url, timeout=5), RedisCatalogue(url, timeout=5), lambda: _records(RedisLogConsumer(url, "suite"))
    )


def _records(consumer: MemoryLogConsumer | RedisLogConsumer) -> list[Any]:
    return [entry.record for entry in consumer.read(10_000, 0)]


def test_an_item_is_in_the_log_and_in_the_catalogue(store: Store) -> None:
    published = item("ä\x00 film", episodes=3, minutes=1e-7)
    store.append(published)
    assert list(store.catalogue.since("kiosk", EPOCH)) == [published]
    assert store.records() == [published]
    assert isinstance(store.catalogue.since("kiosk", EPOCH)[0].columns["episodes"], int)


def test_items_come_in_the_order_of_their_receipt_from_the_moment_on(store: Store) -> None:
    store.append(item("b", 2 * MINUTE), item("c", 3 * MINUTE), item("a", MINUTE))
    assert store.names() == ["a", "b", "c"]
    assert store.names(NOON + 2 * MINUTE) == ["b", "c"]
    assert store.names(NOON + 2 * MINUTE + timedelta(microseconds=1)) == ["c"]


def test_systems_have_catalogues_of_their_own(store: Store) -> None:
    store.append(item("a"), item("b", system="other"))
    assert (store.names(), store.names(system="other"), store.names(system="third")) == (["a"], ["b"], [])


def test_an_item_that_is_published_again_is_as_it_was_received_last(store: Store) -> None:
    store.append(item("a", 2 * MINUTE, genre="sport"), item("b", 3 * MINUTE))
    store.append(item("a", MINUTE, genre="drama"))  # comes late
    assert [each.columns["genre"] for each in store.catalogue.since("kiosk", EPOCH)] == ["sport", "crime"]
    store.append(item("a", 4 * MINUTE, genre="nature"))
    assert [(each.item, each.columns["genre"]) for each in store.catalogue.since("kiosk", EPOCH)] == [
        ("b", "crime"),
        ("a", "nature"),
    ]
    assert len(store.records()) == 4, "the archive is given each"


def test_what_is_older_than_a_month_leaves_the_catalogue(store: Store) -> None:
    store.append(item("old"), item("old too", MINUTE), item("new", timedelta(days=31) + MINUTE))
    assert store.names() == ["old too", "new"]
    assert len(store.records()) == 3


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (replace(item("a"), item=""), "''"),
        (replace(item("a"), system="../etc"), "../etc"),
        (item("a", minutes=float("nan")), "minutes"),
        (item("a", genre=None), "genre"),
        (item("a", genre=["crime"]), "genre"),
        (item("a", genre=True), "genre"),
        (replace(item("a"), published_at=NOON.replace(tzinfo=None)), "time zone"),
    ],
)
def test_what_is_no_whole_item_is_refused_by_name(store: Store, wrong: ItemRecord, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        store.append(wrong)
    assert (store.names(), store.records()) == ([], [])


def test_a_catalogue_of_thousands_is_read_in_pieces(empty_redis: Settings) -> None:
    async def publish() -> None:
        log = RedisLog(empty_redis.log_redis, timeout=5)
        for start in range(0, 2_500, 50):
            each = (item(f"f{number:05d}", number * MINUTE / 60) for number in range(start, start + 50))
            await asyncio.gather(*map(log.append_item, each))
        await log.aclose()

    asyncio.run(publish())
    found = RedisCatalogue(empty_redis.log_redis, timeout=5).since("kiosk", EPOCH)
    assert [each.item for each in found] == [f"f{number:05d}" for number in range(2_500)]


def test_a_catalogue_that_cannot_be_reached_says_so_in_time(empty_redis: Settings, settings: Settings) -> None:
    gone = RedisCatalogue(settings.redis.replace(str(settings.redis_port), "1"), timeout=1)
    with pytest.raises(Unavailable, match=r"The log at 127\.0\.0\.1:1 cannot be used"):
        gone.since("kiosk", EPOCH)
    with redis.Redis.from_url(empty_redis.log_redis) as client:
        client.client_pause(1_000)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            RedisCatalogue(empty_redis.log_redis, timeout=0.2).since("kiosk", EPOCH)
        assert time.monotonic() - started < 0.8
        client.client_unpause()
