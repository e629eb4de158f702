"""The recorder as a real process between a real Redis and real files, killed and cut off while records come in."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import redis

from contracts.errors import Unavailable
from infra.archive import ParquetArchive
from infra.log import STREAM, RedisLog
from infra.log_consumer import RedisLogConsumer
from infra.settings import ROOT, Settings
from tests.conftest import poll, running
from tests.stores.log_records import DELAY, NOON, SHOP, outcome, prediction

HOUR = timedelta(hours=1)
INTERVAL = NOON - HOUR, NOON + HOUR


@pytest.fixture
def with_redis(settings: Settings) -> Iterator[Settings]:
    with running(settings):
        yield settings


@contextmanager
def recording(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A recorder that reads from the log; gone when the block ends."""
    environ = os.environ | settings.environ() | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-m", "services.recorder"], cwd=ROOT, env=environ) as recorder:
        try:
            poll(lambda: status(settings) is not None, 60, "the recorder's endpoint")
            yield recorder
        finally:
            recorder.kill()


def status(settings: Settings) -> int | None:
    try:
        return httpx.get(f"http://{settings.host}:{settings.recorder_port}/healthz", timeout=5).status_code
    except httpx.TransportError:
        return None


def metric(settings: Settings, name: str) -> float:
    text = httpx.get(f"http://{settings.host}:{settings.recorder_port}/metrics", timeout=5).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"flywheel_recorder_{name}"))


def archived(settings: Settings) -> ParquetArchive:
    return ParquetArchive(settings.path("log", "predictions").parent)


def lag(settings: Settings) -> int:
    consumer = RedisLogConsumer(settings.log_redis, "observer")
    try:
        return consumer.lag()
    finally:
        consumer.close()


class Writer:
    """Appends predictions and outcomes until it is stopped; the ledger holds what the log has taken, and no more."""

    def __init__(self, settings: Settings) -> None:
        self.ledger: list[str] = []
        self.failures = 0
        self._url = settings.log_redis
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write()))

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(30)

    async def _write(self) -> None:
        log = RedisLog(self._url, timeout=2)
        number = 0
        while not self._stop.is_set():
            name = f"p{number}"
            number += 1
            try:
                await log.append(prediction(name))
                self.ledger.append(name)
                await log.append_outcome(outcome(name, "a1"))
                self.ledger.append(f"outcome of {name}")
            except Unavailable:
                self.failures += 1
            await asyncio.sleep(0.005)
        await log.aclose()


def check_against(ledger: list[str], settings: Settings) -> None:
    """Each record of the ledger is in the archive, once: rows, outcomes and the table that joins them."""
    archive = archived(settings)
    rows = Counter(archive.predictions(SHOP, *INTERVAL)["prediction_id"])
    outcomes = Counter(archive.outcomes(SHOP, *INTERVAL)["prediction_id"])
    labelled = archive.labelled(SHOP, *INTERVAL, NOON + 2 * DELAY)
    predictions = [name for name in ledger if not name.startswith("outcome")]
    clicked = [name.removeprefix("outcome of ") for name in ledger if name.startswith("outcome")]
    assert [name for name in predictions if rows[name] != 3] == []
    assert [name for name in clicked if outcomes[name] != 1] == []
    assert Counter(labelled["prediction_id"]) == dict.fromkeys(rows, 2)
    assert set(labelled[labelled["clicked"] == 1.0]["prediction_id"]) >= set(clicked)
    assert labelled["clicked"].sum() == len(set(outcomes) & set(rows))


def test_killed_at_random_moments_under_load_it_loses_and_doubles_nothing(with_redis: Settings) -> None:
    settings, chance = with_redis, random.Random(8)
    with Writer(settings) as writer:
        for _ in range(6):
            with recording(settings) as recorder:
                poll(lambda: status(settings) == 200, 60, "a healthy recorder")
                time.sleep(chance.uniform(0.0, 1.5))
                recorder.kill()
                recorder.wait()
    assert len(writer.ledger) > 500
    with recording(settings):
        poll(lambda: lag(settings) == 0, 60, "an empty log")
    check_against(writer.ledger, settings)
    assert writer.failures == 0


def test_redis_goes_and_comes_back_while_records_come_in(settings: Settings) -> None:
    with Writer(settings) as writer, running(settings), recording(settings) as recorder:
        poll(lambda: len(writer.ledger) > 100 and status(settings) == 200, 60, "the first records")
        with redis.Redis.from_url(settings.redis) as client:
            client.shutdown(nosave=False)
        poll(lambda: status(settings) == 503, 30, "the failure in its health")
        with running(settings):
            back = time.monotonic()
            poll(lambda: status(settings) == 200, 30, "the recovery")
            assert time.monotonic() - back < 12
            before = len(writer.ledger)
            poll(lambda: len(writer.ledger) > before + 100, 30, "records after the outage")
            writer.stop()
            poll(lambda: lag(settings) == 0, 60, "an empty log")
            recorder.kill()
    check_against(writer.ledger, settings)


def test_a_record_is_in_the_archive_soon_and_poison_stops_nothing(with_redis: Settings) -> None:
    settings = with_redis

    async def append(*names: str) -> None:
        log = RedisLog(settings.log_redis, timeout=5)
        for name in names:
            await log.append(prediction(name))
        await log.aclose()

    with recording(settings):
        poll(lambda: status(settings) == 200, 60, "a healthy recorder")
        asyncio.run(append("p1"))
        with redis.Redis.from_url(settings.log_redis) as client:
            client.xadd(STREAM, {"format": b"1", "kind": b"prediction", "meta": b"\x00"})
        started = time.monotonic()
        asyncio.run(append("p2"))
        archive = archived(settings)
        poll(lambda: archive.prediction("p2"), 10, "the record")
        assert time.monotonic() - started < 5
        assert archive.prediction("p1") is not None
        poll(lambda: metric(settings, "dead_letters") == 1, 10, "the dead letter")
        assert metric(settings, "records_total") == 2
        assert status(settings) == 200


def test_sigterm_writes_what_is_left_and_ends_well(with_redis: Settings) -> None:
    settings = with_redis
    with recording(settings) as recorder:
        poll(lambda: status(settings) == 200, 60, "a healthy recorder")
        with Writer(settings) as writer:
            poll(lambda: len(writer.ledger) > 100, 30, "some records")
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(20) == 0
    assert lag(settings) == 0
    check_against(writer.ledger, settings)


def test_a_setting_that_cannot_be_used_ends_it_with_one_sentence(tmp_path: Path) -> None:
    environ = os.environ | {"FLYWHEEL_STATE_DIR": str(tmp_path), "FLYWHEEL_RECORDER_PORT": "many"}
    run = subprocess.run(
        [sys.executable, "-m", "services.recorder"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "FLYWHEEL_RECORDER_PORT='many' cannot be used" in run.stderr
    assert "Traceback" not in run.stderr
