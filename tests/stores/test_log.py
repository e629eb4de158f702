"""The log, in memory and on Redis: one suite; then what only a server over a network can do wrong."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import redis

from contracts.errors import InvalidInput, Unavailable
from contracts.ports import Log
from contracts.records import KeptAnswer
from infra.log import STREAM, RedisLog
from infra.log_consumer import RedisLogConsumer
from infra.memory_log import MemoryLog, MemoryLogConsumer
from infra.settings import Settings
from tests.conftest import running
from tests.stores.log_records import of_other_features, outcome, prediction, same, without_rows


@dataclass
class Store:
    """A log, all that is in it, and a way to run what is asynchronous."""

    log: Log
    records: Callable[[], list[Any]]
    close: Callable[[], Awaitable[None]]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def closing() -> Any:
            try:
                return await work
            finally:
                await self.close()

        return asyncio.run(closing())


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        memory = MemoryLog()

        async def nothing() -> None: ...

        return Store(memory, lambda: _records(MemoryLogConsumer(memory)), nothing)
    url = request.getfixturevalue("empty_redis").log_redis
    log = RedisLog(url, timeout=5)
    return Store(log, lambda: _records(RedisLogConsumer(url, "suite")), log.aclose)


def _records(consumer: MemoryLogConsumer | RedisLogConsumer) -> list[Any]:
    return [entry.record for entry in consumer.read(1000, 0)]


@pytest.mark.parametrize(
    "record",
    [
        prediction("p1"),
        without_rows("p2"),
        prediction("p3", ads=("ä\x00\n", "a" * 300), shown=()),
        of_other_features("p4", ()),
        replace(prediction("p5"), variant="fallback", model_version="fallback", degraded=()),
        outcome("p6"),
        outcome("p7", item=None, label=0.0),
    ],
    ids=lambda record: record.prediction_id,
)
def test_a_record_comes_out_as_it_went_in(store: Store, record: Any) -> None:
    store.run(_append(store.log, record))
    (found,) = store.records()
    assert same(found, record)


def test_records_of_both_kinds_stay_in_order(store: Store) -> None:
    records = [outcome("p2"), prediction("p1"), outcome("p1"), prediction("p2"), outcome("p1", label=0.0)]
    store.run(_append(store.log, *records))
    assert [type(found) for found in store.records()] == [type(record) for record in records]


def test_row_columns_keep_their_types(store: Store) -> None:
    rows = {
        "text": np.array(["x", None], dtype=object),
        "fixed": np.array(["abc", "d"]),
        "small": np.array([1, 2], dtype=np.int32),
        "big_endian": np.array([1.5, np.nan], dtype=">f8"),
        "flag": np.array([True, False]),
        "at": np.array([1.0, 2.0]),
    }
    store.run(_append(store.log, replace(prediction("p1", ads=("a", "b")), rows=rows)))
    found = store.records()[0].rows
    assert {name: found[name].dtype.kind for name in found} == {
        **dict.fromkeys(("text", "fixed"), "O"),
        "small": "i",
    } | {
        "big_endian": "f",
        "flag": "b",
        "at": "f",
    }
    assert found["text"].tolist() == ["x", None]
    assert np.array_equal(found["big_endian"], [1.5, np.nan], equal_nan=True)


def test_an_answer_is_kept_with_its_record_and_the_first_one_stays(store: Store) -> None:
    first, second = KeptAnswer("key", "digest 1", b'{"a":\n1}\x00'), KeptAnswer("key", "digest 2", b"other")

    async def work() -> list[Any]:
        return [
            await store.log.recall("shop", "key"),
            await store.log.append(prediction("p1"), first),
            await store.log.append(prediction("p2"), second),
            await store.log.recall("shop", "key"),
            await store.log.recall("other_system", "key"),
            await store.log.append(prediction("p3")),
        ]

    assert store.run(work()) == [None, first, first, first, None, None]
    assert [record.prediction_id for record in store.records()] == ["p1", "p3"]


def test_of_many_at_once_under_one_key_one_is_appended_and_all_get_its_answer(store: Store) -> None:
    async def work() -> set[KeptAnswer | None]:
        keeps = [KeptAnswer("key", "digest", str(i).encode()) for i in range(50)]
        calls = (store.log.append(prediction(f"p{keep.answer.decode()}"), keep) for keep in keeps)
        return set(await asyncio.gather(*calls))

    (answer,) = store.run(work())
    assert [record.prediction_id for record in store.records()] == [f"p{answer.answer.decode()}"]


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (replace(prediction("p1"), scores=np.zeros(2)), "features"),
        (replace(prediction("p1"), shown=np.array([0, 3])), "shown"),
        (replace(prediction("p1"), shown=np.array([0, 0])), "shown"),
        (replace(prediction("p1"), propensity=np.ones(1)), "propensities"),
        (replace(prediction("p1"), rows={"bid": np.zeros(2)}), "bid"),
        (replace(prediction("p1"), rows={"bid": np.array([{}, {}, {}])}), "bid"),
        (replace(prediction("p1"), system="../etc"), "../etc"),
        (replace(prediction("p1"), at=prediction("p1").at.replace(tzinfo=None)), "time zone"),
        (replace(prediction("p1"), request={"x": object()}), "object"),
        (outcome("p1", label=float("nan")), "nan"),
        (replace(outcome("p1"), item=7), "7"),
        (outcome(""), "''"),
    ],
)
def test_what_is_no_whole_record_is_refused_by_name(store: Store, record: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        store.run(_append(store.log, record))
    assert store.records() == []


async def _append(log: Log, *records: Any) -> None:
    for record in records:
        await (log.append(record) if hasattr(record, "scores") else log.append_outcome(record))


def test_a_kept_answer_expires(empty_redis: Settings) -> None:
    async def work() -> None:
        log = RedisLog(empty_redis.log_redis, timeout=5, keep_for=timedelta(milliseconds=80))
        await log.append(prediction("p1"), KeptAnswer("key", "digest", b"answer"))
        deadline = time.monotonic() + 10
        while await log.recall("shop", "key"):
            assert time.monotonic() < deadline
        await log.aclose()

    asyncio.run(work())


@asynccontextmanager
async def slow_redis(url: str, delay: float) -> AsyncIterator[str]:
    """A URL of the same Redis whose every reply is `delay` seconds late."""
    real = urlsplit(url)
    tasks: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait: float) -> None:
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(wait)
                writer.write(data)
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_redis, from_redis = await asyncio.open_connection(real.hostname, real.port)
        for work in (forward(reader, from_redis, 0.0), forward(to_redis, writer, delay)):
            tasks.add(asyncio.create_task(work))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            credentials, _, _ = real.netloc.rpartition("@")
            yield real._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def test_a_cancelled_call_never_leaves_its_reply_to_the_next_caller(empty_redis: Settings) -> None:
    """CVE-2023-28858 and 28859: whatever the moment, a connection that was given up on is not used again."""

    async def work(url: str) -> None:
        direct, slow = RedisLog(empty_redis.log_redis, timeout=5), RedisLog(url, timeout=5)
        for name in ("a", "b"):
            await direct.append(prediction(name), KeptAnswer(name, name, name.encode()))
        for moment in (0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.065):
            cancelled = asyncio.create_task(slow.recall("shop", "a"))
            await asyncio.sleep(moment)
            cancelled.cancel()
            found = await asyncio.gather(
                *(slow.recall("shop", "b") for _ in range(3)), cancelled, return_exceptions=True
            )
            assert [answer.answer for answer in found[:3]] == [b"b"] * 3, f"cancelled after {moment} s"
        await direct.aclose()
        await slow.aclose()

    async def through_proxy() -> None:
        async with slow_redis(empty_redis.log_redis, 0.03) as url:
            await work(url)

    asyncio.run(through_proxy())


def test_a_call_that_times_out_is_unavailable_and_leaves_no_reply_behind(empty_redis: Settings) -> None:
    async def work() -> None:
        async with slow_redis(empty_redis.log_redis, 0.3) as url:
            slow = RedisLog(url, timeout=0.1)
            started = time.monotonic()
            with pytest.raises(Unavailable, match=r"did not answer in time\.$"):
                await slow.recall("shop", "a")
            assert time.monotonic() - started < 1
            await slow.aclose()

    asyncio.run(work())


def test_without_redis_it_says_so_in_a_sentence_without_the_password_and_recovers(settings: Settings) -> None:
    async def unavailable(log: RedisLog) -> None:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{settings.redis_port}") as caught:
            await log.append(prediction("p1"))
        assert settings.secret("redis_password") not in str(caught.value)
        assert str(caught.value).endswith(".")

    async def work() -> None:
        log = RedisLog(settings.redis, timeout=1)
        await unavailable(log)
        for _ in range(2):
            with running(settings) as server:
                await log.append(prediction("p2"))
                await log.append(prediction("p3"), KeptAnswer(f"key of {server.pid}", "digest", b"answer"))
            await unavailable(log)
        await log.aclose()

    asyncio.run(work())


def test_a_full_redis_is_unavailable_and_keeps_neither_record_nor_answer(empty_redis: Settings) -> None:
    async def work(client: Any) -> None:
        log = RedisLog(empty_redis.log_redis, timeout=5)
        client.config_set("maxmemory", "1")
        try:
            for keep in (None, KeptAnswer("key", "digest", b"answer")):
                with pytest.raises(Unavailable, match="maxmemory"):
                    await log.append(prediction("p1"), keep)
        finally:
            client.config_set("maxmemory", "0")
        assert await log.recall("shop", "key") is None
        assert client.xlen(STREAM) == 0
        await log.aclose()

    with redis.Redis.from_url(empty_redis.log_redis) as client:
        asyncio.run(work(client))
