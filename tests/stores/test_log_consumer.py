"""The log as the recorder drains it, in memory and on Redis: one suite; then dead consumers and restarted servers."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
import redis

from contracts.errors import Unavailable
from contracts.ports import Log, LogConsumer
from contracts.records import LogEntry
from infra import wiring
from infra.breather import Breather
from infra.log import DEAD_STREAM, STREAM, RedisLog
from infra.log_codec import encode
from infra.log_consumer import GROUP, RedisLogConsumer
from infra.memory_log import MemoryLog, MemoryLogConsumer
from infra.settings import Settings
from tests.conftest import poll, running
from tests.stores.log_records import outcome, prediction


@dataclass
class Stage:
    """A consumer, and ways to put something into its log: records, or fields that are none."""

    consumer: LogConsumer
    append: Callable[..., None]
    add: Callable[[dict[str, bytes]], None]


@pytest.fixture(params=["memory", "redis"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "memory":
        log = MemoryLog()
        yield Stage(MemoryLogConsumer(log), lambda *records: append(log, *records), log.add)
        return
    settings = request.getfixturevalue("empty_redis")
    consumer = RedisLogConsumer(settings.log_redis, "suite")
    with redis.Redis.from_url(settings.log_redis) as client:
        yield Stage(consumer, lambda *r: append_to(settings, *r), lambda fields: client.xadd(STREAM, dict(fields)))
    consumer.close()


def append(log: Log, *names: str) -> None:
    async def work() -> None:
        for name in names:
            await (log.append_outcome(outcome(name)) if name.startswith("o") else log.append(prediction(name)))

    asyncio.run(work())


def append_to(settings: Settings, *names: str) -> None:
    async def work() -> None:
        log = RedisLog(settings.log_redis, timeout=5)
        for name in names:
            await (log.append_outcome(outcome(name)) if name.startswith("o") else log.append(prediction(name)))
        await log.aclose()

    asyncio.run(work())


def columns(name: str, held: Any) -> bytes:
    """The `meta` of a prediction whose row column of that name is something else."""
    meta = orjson.loads(encode(prediction("p1"))["meta"])
    meta["columns"] = [(each, held if each == name else had) for each, had in meta["columns"]]
    return orjson.dumps(meta)


def ids(entries: Any) -> list[str]:
    return [entry.record.prediction_id if entry.record else "poison" for entry in entries]


def test_entries_come_in_order_and_at_most_as_many_as_asked(stage: Stage) -> None:
    assert stage.consumer.read(10, 0) == []
    stage.append("p1", "o1", "p2", "o2")
    first = stage.consumer.read(3, 0)
    assert ids(first) == ["p1", "o1", "p2"]
    stage.consumer.acknowledge([entry.entry_id for entry in first])
    assert ids(stage.consumer.read(3, 0)) == ["o2"]


def test_many_entries_come_whole_and_in_order_however_large_they_are(empty_redis: Settings) -> None:
    names = [f"p{number:03d}" for number in range(90)]
    large = {name: {"user": "u" * 300_000, "ads": []} for name in names[30:60]}  # a few of them fill a round trip
    with redis.Redis.from_url(empty_redis.log_redis) as client:
        for name in names:
            record = prediction(name)
            client.xadd(STREAM, dict(encode(replace(record, request=large.get(name, record.request)))))
    consumer = RedisLogConsumer(empty_redis.log_redis, "suite")
    assert ids(consumer.read(80, 0)) == names[:80]
    assert ids(consumer.read(2000, 0)) == names[:80]  # taken and not acknowledged
    consumer.acknowledge([entry.entry_id for entry in consumer.read(2000, 0)])
    assert ids(consumer.read(2000, 0)) == names[80:]
    consumer.close()


class Counting(Breather):
    """Counts how often it might rest."""

    rests = 0

    def rest(self) -> None:
        self.rests += 1


def test_it_rests_after_each_round_trip_and_each_entry(empty_redis: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.log_consumer.CHUNK", 2)
    append_to(empty_redis, *(f"p{number}" for number in range(8)))
    breather = Counting()
    consumer = wiring.log_consumer(empty_redis, "suite", breather)
    assert isinstance(consumer, RedisLogConsumer)
    entries = consumer.read(8, 0)
    assert breather.rests >= 8 / 2 + 8
    breather.rests = 0
    consumer.acknowledge([entry.entry_id for entry in entries])
    assert breather.rests >= 8 / 2
    consumer.close()


def test_what_was_not_acknowledged_comes_again_before_what_is_new(stage: Stage) -> None:
    stage.append("p1", "p2", "p3")
    first = stage.consumer.read(3, 0)
    stage.consumer.acknowledge([first[1].entry_id])
    stage.append("p4")
    assert ids(stage.consumer.read(10, 0))[:2] == ["p1", "p3"]


def test_the_lag_is_what_is_not_acknowledged(stage: Stage) -> None:
    assert stage.consumer.lag() == 0
    stage.append("p1", "p2", "p3")
    assert stage.consumer.lag() == 3
    entries = stage.consumer.read(2, 0)
    assert stage.consumer.lag() == 3
    stage.consumer.acknowledge([entries[1].entry_id])
    stage.consumer.acknowledge([])
    assert stage.consumer.lag() == 2
    stage.consumer.acknowledge([entries[0].entry_id])
    assert stage.consumer.lag() == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": b"2"}, "format"),
        ({"kind": b"nothing"}, "nothing"),
        ({"meta": b"{"}, "unexpected end|EOF"),
        ({"meta": b"[]"}, "not a record"),
        ({"meta": b'{"id": "p"}'}, "features|system"),
        ({"scores": b"1234567"}, "buffer size"),
        ({"features": b""}, "reshape"),
        ({"shown": (99).to_bytes(8, "little")}, "shown"),
        ({"numbers": b""}, "buffer"),
        ({"meta": columns("user", ["u1", 7, "u3"])}, "'user' holds something that is not a string"),
        ({"meta": columns("user", [7])}, "'user' holds something that is not a string"),
        ({"meta": columns("user", ["u1", "u2"])}, "'user' has .* values for 3 scores"),
        ({"meta": columns("user", {"u1": 1})}, "neither a type nor a list of strings"),
    ],
)
def test_what_is_no_record_says_why(stage: Stage, change: dict[str, bytes], named: str) -> None:
    stage.add(encode(prediction("p1")) | change)
    (entry,) = stage.consumer.read(1, 0)
    assert entry.record is None
    assert entry.fault is not None
    with pytest.raises(AssertionError, match=named):
        raise AssertionError(entry.fault)


def test_poison_goes_to_the_dead_letters_and_the_stream_goes_on(stage: Stage) -> None:
    stage.append("p1")
    stage.add({"whatever": b"\xff\x00"})
    stage.append("p2")
    entries = stage.consumer.read(10, 0)
    assert ids(entries) == ["p1", "poison", "p2"]
    stage.consumer.acknowledge([entry.entry_id for entry in entries if entry.record])
    assert (stage.consumer.lag(), stage.consumer.dead_letters()) == (1, 0)
    stage.consumer.reject(entries[1], entries[1].fault or "")
    assert (stage.consumer.lag(), stage.consumer.dead_letters()) == (0, 1)
    stage.append("p3")
    assert ids(stage.consumer.read(10, 0)) == ["p3"]


def test_a_rejected_entry_is_kept_byte_for_byte_with_its_reason(empty_redis: Settings) -> None:
    consumer = RedisLogConsumer(empty_redis.log_redis, "suite")
    with redis.Redis.from_url(empty_redis.log_redis) as client:
        client.xadd(STREAM, {"whatever": b"\xff\x00"})
        (entry,) = consumer.read(1, 0)
        consumer.reject(entry, "not a record")
        ((_, fields),) = client.xrange(DEAD_STREAM)
    assert fields == {b"reason": b"not a record", b"entry_id": entry.entry_id.encode(), b"whatever": b"\xff\x00"}
    consumer.close()


def test_an_entry_that_someone_deleted_is_a_fault_and_not_a_loop(empty_redis: Settings) -> None:
    append_to(empty_redis, "p1", "p2")
    consumer = RedisLogConsumer(empty_redis.log_redis, "suite")
    first, _ = consumer.read(2, 0)
    with redis.Redis.from_url(empty_redis.log_redis) as client:
        client.xdel(STREAM, first.entry_id)
    entry, other = consumer.read(2, 0)
    assert (entry.record, entry.fault) == (None, "The entry was deleted from the stream by someone else, unread.")
    consumer.reject(entry, entry.fault or "")
    consumer.acknowledge([other.entry_id])
    assert (list(consumer.read(2, 0)), consumer.dead_letters()) == ([], 1)
    consumer.close()


def test_it_waits_for_new_entries_no_longer_than_asked(empty_redis: Settings) -> None:
    consumer = RedisLogConsumer(empty_redis.log_redis, "suite")
    started = time.monotonic()
    assert consumer.read(10, 0.2) == []
    assert 0.15 < time.monotonic() - started < 2
    assert consumer.read(10, 0) == []
    consumer.close()


def test_a_consumer_of_the_same_name_goes_on_where_the_last_one_died(empty_redis: Settings) -> None:
    append_to(empty_redis, *(f"p{i}" for i in range(5)))
    dead = RedisLogConsumer(empty_redis.log_redis, "recorder")
    dead.read(3, 0)
    dead.close()
    again = RedisLogConsumer(empty_redis.log_redis, "recorder")
    taken = list(again.read(10, 0))
    again.acknowledge([entry.entry_id for entry in taken])
    assert ids([*taken, *again.read(10, 0)]) == [f"p{i}" for i in range(5)]
    again.close()


def test_entries_of_a_consumer_that_is_gone_are_taken_over(empty_redis: Settings) -> None:
    append_to(empty_redis, "p1", "p2", "p3")
    gone = RedisLogConsumer(empty_redis.log_redis, "gone")
    gone.read(2, 0)
    gone.close()
    patient = RedisLogConsumer(empty_redis.log_redis, "patient")
    hasty = RedisLogConsumer(empty_redis.log_redis, "hasty", idle_seconds=0.05)
    assert ids(patient.read(10, 0)) == ["p3"]
    taken: list[LogEntry] = []
    poll(lambda: (taken.extend(hasty.read(10, 0)), len(taken) >= 2)[1], what="the take-over")
    assert ids(taken)[:2] == ["p1", "p2"]
    patient.close()
    hasty.close()


def test_a_batch_is_bounded_in_bytes(empty_redis: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.log_consumer.MOST_BYTES", 1000)
    monkeypatch.setattr("infra.log_consumer.CHUNK", 2)
    append_to(empty_redis, *(f"p{i}" for i in range(9)))
    consumer = RedisLogConsumer(empty_redis.log_redis, "suite")
    assert len(consumer.read(9, 0)) < 9
    consumer.close()


def test_a_group_that_is_gone_is_made_anew_and_loses_nothing(empty_redis: Settings) -> None:
    append_to(empty_redis, "p1", "p2", "p3")
    consumer = RedisLogConsumer(empty_redis.log_redis, "suite")
    first, _ = consumer.read(2, 0)
    consumer.acknowledge([first.entry_id])
    with redis.Redis.from_url(empty_redis.log_redis) as client:
        client.xgroup_destroy(STREAM, GROUP)
    assert ids(consumer.read(10, 0)) == ["p2", "p3"]
    consumer.close()


def test_it_survives_a_redis_that_goes_and_comes_back(settings: Settings) -> None:
    consumer = RedisLogConsumer(settings.redis, "suite", timeout=1)
    with running(settings):
        append_to(settings, "p1", "p2")
        (first, _) = consumer.read(2, 0)
        consumer.acknowledge([first.entry_id])
    with pytest.raises(Unavailable, match=f"127.0.0.1:{settings.redis_port}") as caught:
        consumer.read(10, 0)
    assert settings.secret("redis_password") not in str(caught.value)
    with running(settings):
        append_to(settings, "p3")
        found = list(consumer.read(10, 0))
        consumer.acknowledge([entry.entry_id for entry in found])
        assert ids([*found, *consumer.read(10, 0)]) == ["p2", "p3"]
    consumer.close()


def test_a_redis_that_lost_everything_is_a_new_beginning(empty_redis: Settings) -> None:
    append_to(empty_redis, "p1")
    consumer = RedisLogConsumer(empty_redis.log_redis, "suite")
    consumer.read(1, 0)
    with redis.Redis.from_url(empty_redis.log_redis) as client:
        client.flushall()
        client.script_flush()
    append_to(empty_redis, "p2")
    (entry,) = consumer.read(10, 0)
    consumer.acknowledge([entry.entry_id])
    assert (ids([entry]), consumer.lag()) == (["p2"], 0)
    consumer.close()


def test_what_was_deleted_unread_is_told_once_whoever_it_was_given_to(empty_redis: Settings) -> None:
    append_to(empty_redis, "p1", "p2", "p3")
    gone = RedisLogConsumer(empty_redis.log_redis, "gone")
    first, second, _ = gone.read(3, 0)
    gone.close()
    with redis.Redis.from_url(empty_redis.log_redis) as client:
        client.xdel(STREAM, first.entry_id, second.entry_id)
    heir = RedisLogConsumer(empty_redis.log_redis, "heir", idle_seconds=0)
    for deleted in (first, second):
        (entry,) = heir.read(1, 0)
        assert (entry.entry_id, entry.record) == (deleted.entry_id, None)
        heir.reject(entry, entry.fault or "")
    assert (ids(heir.read(9, 0)), heir.dead_letters()) == (["p3"], 2)
    heir.close()


@pytest.mark.parametrize("taken", ["FLUSHALL", f"XGROUP DESTROY {STREAM} {GROUP}"])
def test_what_it_waits_for_may_be_taken_away_meanwhile(empty_redis: Settings, taken: str) -> None:
    consumer = RedisLogConsumer(empty_redis.log_redis, "suite", timeout=8)
    consumer.read(1, 0)
    with redis.Redis.from_url(empty_redis.log_redis) as client, ThreadPoolExecutor() as pool:
        waiting = pool.submit(consumer.read, 1, 4)
        poll(lambda: client.info("clients")["blocked_clients"], what="a blocked read")
        client.execute_command(*taken.split())
        append_to(empty_redis, "p1")
        assert ids(waiting.result()) == ["p1"]
    consumer.close()
