"""Events → features → both stores, through the materialize pipeline, with runs that are killed."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis

from contracts.errors import Unavailable
from contracts.system import FeatureView, System
from infra import wiring
from infra.live_history import with_live_features
from infra.settings import ROOT, Settings
from pipelines.aggregate import STAMP, view_states
from pipelines.materialize import run
from tests.conftest import poll, settings_in
from tests.stores.live_system import CARD, live, payments
from tests.stores.test_live_features import read as read_live
from tests.stores.test_online_features import read
from tests.stores.tiny_system import HOUR, NOON, PAIR, USER, events, tiny, without_redis

EVERYBODY = [(f"u{number}", category) for number in range(8) for category in ("cats", "dogs", "çöl")]
HISTORY = events(3_000, NOON - 100 * HOUR, 100)
LATER = events(300, NOON, 5, seed=1)

RUN_TINY = """
import sys
from datetime import datetime
from infra.settings import Settings
from pipelines.materialize import run
from tests.stores.tiny_system import tiny
run(Settings.load(), tiny(), datetime.fromisoformat(sys.argv[1]), lambda line: print(line, flush=True))
"""


@pytest.fixture
def stack(tmp_path: Path, empty_redis: Settings) -> Settings:
    return settings_in(tmp_path / "state").model_copy(update={"redis_url": empty_redis.redis})


@pytest.fixture
def clean(tmp_path: Path, redis_settings: Settings) -> Callable[..., Settings]:
    """What one clean run leaves, in a stack of its own whose Redis database is the second one."""

    def cleanly(until: datetime, *frames: pd.DataFrame, system: System | None = None) -> Settings:
        url = redis_settings.redis.removesuffix("/0") + "/1"
        other = settings_in(tmp_path / "clean").model_copy(update={"redis_url": url})
        arrive(other, *frames)
        materialize(other, until, system)
        return other

    return cleanly


def arrive(stack: Settings, *frames: pd.DataFrame) -> None:
    for frame in frames:
        wiring.events(stack).append(tiny(), frame)


def materialize(stack: Settings, until: datetime, system: System | None = None) -> list[str]:
    said: list[str] = []
    run(stack, system or tiny(), until, said.append)
    return said


def offline(stack: Settings, view: FeatureView) -> pd.DataFrame:
    parts = sorted(stack.path("features", "tiny", view.name).glob("2*.parquet"))
    return pd.read_parquet(parts).sort_values([*view.entities, STAMP], ignore_index=True)


def assert_same(stack: Settings, other: Settings, later: float = 0) -> None:
    for view in (USER, PAIR):
        pd.testing.assert_frame_equal(offline(stack, view), offline(other, view))
    found, wanted = read(stack, *EVERYBODY, later=later), read(other, *EVERYBODY, later=later)
    assert np.array_equal(found.matrix, wanted.matrix)
    assert found.degraded == wanted.degraded == ()


def test_states_reach_both_stores_and_a_second_run_has_nothing_to_do(stack: Settings) -> None:
    arrive(stack, HISTORY)
    materialize(stack, NOON)
    wanted = view_states(USER, HISTORY, None, NOON).astype({f.name: np.float32 for f in USER.features})
    pd.testing.assert_frame_equal(offline(stack, USER), wanted)
    assert materialize(stack, NOON) == ["online: 0 × user, 0 × pair"]


def test_runs_every_now_and_then_leave_what_one_run_leaves(stack: Settings, clean: Callable[..., Settings]) -> None:
    for hours in (-60, -59.5, -20, -1, 0):
        arrive(stack, HISTORY[HISTORY["at"] < (NOON + hours * HOUR).timestamp()])
        materialize(stack, NOON + hours * HOUR)
    arrive(stack, LATER)
    materialize(stack, NOON + 5 * HOUR)
    assert_same(stack, clean(NOON + 5 * HOUR, HISTORY, LATER), later=5)


@pytest.mark.parametrize("line", ["user:", "pair:"])
def test_a_killed_run_is_mended_by_running_again(stack: Settings, clean: Callable[..., Settings], line: str) -> None:
    arrive(stack, HISTORY)
    command = [sys.executable, "-c", RUN_TINY, NOON.isoformat()]
    environ = {**stack.environ(), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert any(said.startswith(line) for said in running.stdout), "the run has ended before it could be killed"
        running.kill()
    materialize(stack, NOON)
    assert_same(stack, clean(NOON, HISTORY))


def test_a_run_that_dies_before_redis_is_written_is_mended(stack: Settings, clean: Callable[..., Settings]) -> None:
    arrive(stack, HISTORY)
    materialize(stack, NOON - 5 * HOUR)
    with pytest.raises(Unavailable, match="Redis does not answer"):
        materialize(without_redis(stack), NOON)
    assert offline(stack, USER)[STAMP].max() == NOON
    materialize(stack, NOON)
    assert_same(stack, clean(NOON, HISTORY))


def test_an_emptied_redis_is_filled_by_the_next_run(stack: Settings) -> None:
    arrive(stack, HISTORY)
    materialize(stack, NOON)
    before = read(stack, *EVERYBODY).matrix
    with redis.Redis.from_url(stack.redis) as client:
        client.flushall()
    materialize(stack, NOON)
    assert np.array_equal(read(stack, *EVERYBODY).matrix, before)


def test_events_that_come_late_are_in_the_next_tick_and_leave_the_past_alone(
    stack: Settings, clean: Callable[..., Settings]
) -> None:
    late = HISTORY.iloc[-200::3]
    arrive(stack, HISTORY.drop(late.index))
    materialize(stack, NOON)
    past = offline(stack, USER)
    arrive(stack, late)
    materialize(stack, NOON + HOUR)
    now = offline(stack, USER)
    pd.testing.assert_frame_equal(now[now[STAMP] <= NOON].reset_index(drop=True), past)
    wanted = read(clean(NOON + HOUR, HISTORY), *EVERYBODY, later=1)
    assert np.array_equal(read(stack, *EVERYBODY, later=1).matrix, wanted.matrix)


def test_events_from_before_all_others_have_the_view_computed_anew(
    stack: Settings, clean: Callable[..., Settings]
) -> None:
    arrive(stack, HISTORY.iloc[1000:])
    materialize(stack, NOON)
    arrive(stack, HISTORY.iloc[:1000])
    materialize(stack, NOON)
    assert_same(stack, clean(NOON, HISTORY))


def test_a_changed_definition_has_the_view_computed_anew(stack: Settings, clean: Callable[..., Settings]) -> None:
    arrive(stack, HISTORY)
    short = replace(USER.features[0], window=timedelta(hours=1))
    materialize(stack, NOON, tiny(replace(USER, features=(short, USER.features[1])), PAIR))
    materialize(stack, NOON)
    assert_same(stack, clean(NOON, HISTORY))


def test_without_events_there_is_nothing_to_do(stack: Settings) -> None:
    assert materialize(stack, NOON)[-1] == "online: 0 × user, 0 × pair"
    assert read(stack, ("u1", "cats")).degraded == ("pair: missing", "user: missing")


def test_live_views_are_filled_from_the_events_of_their_windows(stack: Settings) -> None:
    system, happened = live(), payments(400, 5 * 3600)
    assert materialize(stack, NOON - HOUR, system) == [
        "payments has no events yet.",
        "online: 0 × usual, 0 × card, 0 × place",
    ]
    wiring.events(stack).append(system, happened)
    for _ in range(2):
        said = materialize(stack, NOON, system)
    assert said == ["online: 0 × usual, 7 × card, 9 × place"]
    rows = happened.drop_duplicates(["card_id", "merchant_id", "country"]).assign(at=NOON.timestamp())
    found = read_live(stack, rows, system=system)
    wanted = wiring.feature_store(stack).historical(system, with_live_features(stack, system, rows))
    assert found.degraded == ()
    assert np.array_equal(found.matrix, wanted[list(system.features.names)].to_numpy())
    assert (found.matrix[:, 1:] > 0).any(axis=0).all()


def test_a_system_with_live_views_alone_is_materialised(stack: Settings) -> None:
    wiring.events(stack).append(live(CARD), payments(50, 600))
    assert materialize(stack, NOON, live(CARD)) == ["online: 7 × card"]


def test_shuffling_a_feature_in_redis_changes_what_is_read(stack: Settings) -> None:
    arrive(stack, HISTORY)
    materialize(stack, NOON)
    before = read(stack, *EVERYBODY).matrix
    with redis.Redis.from_url(stack.redis) as client:
        keys = sorted(key for key in client.scan_iter(b"*flywheel") if b"category" in key)
        values = [client.hgetall(key) for key in keys]
        for key, value in zip(keys, values[1:] + values[:1], strict=True):
            client.hset(key, mapping=value)
    after = read(stack, *EVERYBODY).matrix
    assert np.array_equal(after[:, :2], before[:, :2])
    assert (after[:, 2] != before[:, 2]).mean() > 0.5


def test_two_runs_at_once_leave_what_one_leaves(stack: Settings, clean: Callable[..., Settings]) -> None:
    arrive(stack, HISTORY)
    command = [sys.executable, "-c", RUN_TINY, NOON.isoformat()]
    environ = {**stack.environ(), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL) as other:
        materialize(stack, NOON)
        assert poll(lambda: other.poll() is not None, 120.0, "the other run's end")
        assert other.returncode == 0
    assert_same(stack, clean(NOON, HISTORY))
