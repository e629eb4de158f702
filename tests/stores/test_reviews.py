"""Predictions that wait for a person's label, and what that label is worth: in memory, on Redis and as Parquet."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from contracts.errors import InvalidInput, Unavailable
from contracts.ports import Archive, Log
from contracts.records import KeptAnswer, PredictionRecord, ReviewCase
from infra import archive_files, archive_tables, review_cases
from infra.archive import ParquetArchive
from infra.breather import Breather
from infra.log import STREAM, RedisLog
from infra.log_codec import decode, encode
from infra.memory_archive import MemoryArchive
from infra.memory_log import MemoryLog
from infra.settings import Settings
from tests.stores.log_records import DELAY, NOON, SHOP, outcome, prediction, same

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(params=["memory", "redis"])
def log(request: pytest.FixtureRequest) -> Log:
    if request.param == "memory":
        return MemoryLog()
    return RedisLog(request.getfixturevalue("empty_redis").log_redis, timeout=5)


@pytest.fixture(params=["memory", "parquet"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    return MemoryArchive() if request.param == "memory" else ParquetArchive(tmp_path)


def run(log: Log, *work: Any) -> list[Any]:
    """Await calls one after the other."""

    async def all_of_them() -> list[Any]:
        try:
            return [await each() for each in work]
        finally:
            if isinstance(log, RedisLog):
                await log.aclose()

    return asyncio.run(all_of_them())


def doubtful(prediction_id: str, minutes: float = 0.0) -> PredictionRecord:
    return replace(prediction(prediction_id, NOON + minutes * MINUTE), review=True)


def ids(cases: list[ReviewCase]) -> list[str]:
    return [case.prediction_id for case in cases]


def test_what_a_person_shall_look_at_is_listed_newest_first(log: Log) -> None:
    asked = [doubtful("p2", 2), prediction("p9"), doubtful("p1", 1), replace(doubtful("q1", 9), system="other")]
    asked.append(doubtful("p3", 3))
    *_, all_cases, two, others, none = run(
        log,
        *(lambda record=record: log.append(record) for record in asked),
        lambda: log.reviews("shop", 50),
        lambda: log.reviews("shop", 2),
        lambda: log.reviews("other", 50),
        lambda: log.reviews("unheard_of", 50),
    )
    assert (ids(all_cases), ids(two), ids(others), ids(none)) == (["p3", "p2", "p1"], ["p3", "p2"], ["q1"], [])
    assert all_cases[2] == review_cases.case_of(asked[2])
    assert all_cases[2].request == asked[2].request


def test_with_an_idempotency_key_a_case_is_listed_once(log: Log) -> None:
    keep, again = KeptAnswer("key", "digest", b"answer"), KeptAnswer("key", "digest", b"another")
    first, second, listed = run(
        log,
        lambda: log.append(doubtful("p1"), keep),
        lambda: log.append(doubtful("p2"), again),
        lambda: log.reviews("shop", 50),
    )
    assert first == second == keep
    assert ids(listed) == ["p1"]


def test_a_reviewers_outcome_takes_its_case_off_the_list_and_a_clients_does_not(log: Log) -> None:
    *_, before, _, after = run(
        log,
        lambda: log.append(doubtful("p1")),
        lambda: log.append(doubtful("p2", 1)),
        lambda: log.append_outcome(outcome("p1")),
        lambda: log.append_outcome(replace(outcome("p2", source="review"), system="other")),
        lambda: log.reviews("shop", 50),
        lambda: log.append_outcome(outcome("p1", label=0.0, source="review")),
        lambda: log.reviews("shop", 50),
    )
    assert (ids(before), ids(after)) == (["p2", "p1"], ["p2"])


def test_the_list_holds_the_newest_only(empty_redis: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_cases, "MOST_CASES", 3)
    log = RedisLog(empty_redis.log_redis, timeout=5)
    *_, listed = run(
        log, *(lambda i=i: log.append(doubtful(f"p{i}", i)) for i in (5, 1, 2, 4, 3)), lambda: log.reviews("shop", 50)
    )
    assert ids(listed) == ["p5", "p4", "p3"]
    with redis.Redis.from_url(empty_redis.log_redis) as client:
        known, cases = review_cases.keys("shop")
        assert client.zcard(known) == client.hlen(cases) == 3
        assert client.xlen(STREAM) == 5


def test_a_full_redis_lists_no_case_whose_record_it_refused(empty_redis: Settings) -> None:
    log = RedisLog(empty_redis.log_redis, timeout=5)

    async def work(client: Any) -> None:
        client.config_set("maxmemory", "1")
        try:
            for keep in (None, KeptAnswer("key", "digest", b"answer")):
                with pytest.raises(Unavailable, match="maxmemory"):
                    await log.append(doubtful("p1"), keep)
        finally:
            client.config_set("maxmemory", "0")
        assert await log.reviews("shop", 50) == []
        await log.aclose()

    with redis.Redis.from_url(empty_redis.log_redis) as client:
        asyncio.run(work(client))
        assert client.xlen(STREAM) == 0


@pytest.mark.parametrize("record", [doubtful("p1"), prediction("p2"), outcome("p3", source="review"), outcome("p4")])
def test_entries_say_who_judged_and_older_ones_say_nothing(record: Any) -> None:
    fields = {name.encode(): value for name, value in encode(record).items()}
    assert same(decode(fields), record)
    older = orjson.loads(fields[b"meta"])
    older.pop("review", None), older.pop("source", None)
    found = decode({**fields, b"meta": orjson.dumps(older)})
    default = replace(record, **({"review": False} if isinstance(record, PredictionRecord) else {"source": "client"}))
    assert same(found, default)


def test_an_outcome_of_nobody_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'nobody' is none of client, review"):
        encode(replace(outcome("p1"), source="nobody"))  # type: ignore[arg-type]  # what an old client might send


def labels(archive: Archive, now: Any = NOON + HOUR) -> dict[tuple[str, str], tuple[float, bool]]:
    frame = archive.labelled(SHOP, NOON - HOUR, NOON + HOUR, now)
    assert frame["reviewed"].dtype == bool
    return {(row.prediction_id, row.item): (row.clicked, row.reviewed) for row in frame.itertuples()}


def test_a_reviewers_label_is_known_at_once_and_whether_or_not_the_row_was_shown(archive: Archive) -> None:
    judged = [outcome("p1", "a1", 1.0, MINUTE, source="review"), outcome("p1", "a3", 0.0, MINUTE, source="review")]
    archive.append([prediction("p1", shown=(1, 0)), *judged])
    assert labels(archive, NOON + MINUTE) == {}, "received a second later"
    assert labels(archive, NOON + 2 * MINUTE) == {("p1", "a1"): (1.0, True), ("p1", "a3"): (0.0, True)}
    assert labels(archive)["p1", "a2"] == (0.0, False)


def test_a_reviewers_label_beats_a_clients_and_the_latest_one_holds(archive: Archive) -> None:
    archive.append(
        [
            prediction("p1"),
            outcome("p1", "a1", 1.0, 5 * MINUTE),
            outcome("p1", "a1", 1.0, 3 * MINUTE, source="review"),
            outcome("p1", "a1", 0.0, 4 * MINUTE, source="review"),
            outcome("p1", "a2", 1.0, MINUTE),
        ]
    )
    assert labels(archive) == {("p1", "a1"): (0.0, True), ("p1", "a2"): (1.0, False)}


def test_a_reviewer_may_take_longer_than_the_label_delay(archive: Archive) -> None:
    archive.append([prediction("p1"), outcome("p1", "a1", 1.0, 3 * DELAY), outcome("p1", "a1", 1.0, HOUR * 50)])
    assert labels(archive)["p1", "a1"] == (0.0, False)
    archive.append([outcome("p1", "a1", 1.0, timedelta(days=5), source="review")])
    assert labels(archive)["p1", "a1"] == (0.0, False), "not known yet"
    assert labels(archive, NOON + timedelta(days=6))["p1", "a1"] == (1.0, True)


def test_an_archive_written_before_there_were_reviewers_is_read(tmp_path: Path) -> None:
    archive = ParquetArchive(tmp_path)
    for part in archive_tables.parts([prediction("p1"), outcome("p1", "a1")]):
        before = part.table.drop_columns([n for n in ("source", "review") if n in part.table.column_names])
        archive_files.write(tmp_path, replace(part, table=before), archive_files.Retired(), Breather())
    assert labels(archive) == {("p1", "a1"): (1.0, False), ("p1", "a2"): (0.0, False)}
    assert archive.outcomes(SHOP, NOON, NOON + HOUR)["source"].tolist() == ["client"]
    assert same(archive.prediction("p1"), prediction("p1"))
    archive.append([doubtful("p2"), outcome("p2", "a1", 1.0, source="review"), outcome("p1", "a2", source="review")])
    archive.compact("shop", NOON.date())
    assert labels(archive)["p1", "a2"] == labels(archive)["p2", "a1"] == (1.0, True)
    assert same(archive.prediction("p2"), doubtful("p2"))
