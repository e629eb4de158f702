"""Parts die or hang under load: answers stay honest, the platform heals by itself, and nothing acknowledged is lost."""

import os
import random
import signal
import time
from datetime import datetime, timedelta

import psutil
import pytest

from contracts.errors import Unavailable
from infra import wiring
from infra.settings import Settings
from infra.stack_state import ComponentStatus
from tests.conftest import poll
from tests.loop.conftest import Living, settle


def freeze(pid: int, sign: signal.Signals) -> None:
    process = psutil.Process(pid)
    for one in [process, *process.children(recursive=True)]:
        os.kill(one.pid, sign)


def recovered(living: Living) -> bool:
    try:
        return bool(living.predict(living.request())["variant"] == "champion")
    except Unavailable:
        return False


def test_a_hung_model_server_costs_quality_and_not_the_answer(living: Living) -> None:
    pid = living.pids("serving")
    freeze(pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        answer = living.predict(living.request())
        took = time.monotonic() - before
    finally:
        freeze(pid, signal.SIGCONT)
    assert answer["variant"] == "fallback"
    assert answer["model_version"] == "fallback"
    assert any(reason.startswith("model: ") for reason in answer["degraded"])
    assert took < living.system.requirements.deadline.total_seconds() + 0.25  # and the client's own connection
    poll(lambda: recovered(living), 10.0, "an answer of the champion")


def test_a_hung_redis_is_refused_in_time_and_forgotten_soon(living: Living) -> None:
    pid = living.pids("redis")
    freeze(pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        with pytest.raises(Unavailable):
            living.predict(living.request())
        took = time.monotonic() - before
    finally:
        freeze(pid, signal.SIGCONT)
    assert took < living.system.requirements.deadline.total_seconds() + 0.25
    poll(lambda: recovered(living), 10.0, "an answer of the champion")


def test_nothing_acknowledged_is_lost_or_doubled_when_processes_are_killed(living: Living) -> None:
    chance, began = random.Random(3), living.clock.now()
    with living.simulation(rate=40) as clients:
        for victim in chance.sample(["gateway", "serving", "recorder", "gateway", "recorder"], 5):
            seen = len(clients.ledger.predictions)
            os.kill(living.pids(victim), signal.SIGKILL)
            settle(clients, seen + 60)
            poll(lambda: all(one.state == "healthy" for one in states(living.settings)), 60.0, "a healthy stack")
        settle(clients, len(clients.ledger.predictions) + 100)
    ledger = clients.ledger
    poll(lambda: logged(living, began) >= ledger.predictions.keys(), 30.0, "every acknowledged prediction in the log")
    rows = wiring.archive(living.settings).predictions(living.system, began, living.clock.now())
    assert not rows.duplicated(["prediction_id", "position"]).any()
    versions = rows.drop_duplicates("prediction_id").set_index("prediction_id")["model_version"]
    assert {pid: versions[pid] for pid in ledger.predictions} == ledger.predictions
    poll(lambda: outcomes(living, began) >= ledger.outcomes, 30.0, "every acknowledged outcome in the log")
    kept = wiring.archive(living.settings).outcomes(living.system, began, living.clock.now() + timedelta(days=1))
    assert not kept.duplicated(["prediction_id", "item", "label", "occurred_at"]).any()


def outcomes(living: Living, began: datetime) -> set[tuple[str, str | None, float]]:
    kept = wiring.archive(living.settings).outcomes(living.system, began, living.clock.now() + timedelta(days=1))
    return set(kept[["prediction_id", "item", "label"]].itertuples(index=False, name=None))


def logged(living: Living, began: datetime) -> set[str]:
    rows = wiring.archive(living.settings).predictions(living.system, began, living.clock.now())
    return set(rows["prediction_id"])


def states(settings: Settings) -> tuple[ComponentStatus, ...]:
    return wiring.stack(settings).states()
