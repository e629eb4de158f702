"""What is kept of a comparison of served and recomputed features, and how far back it may look on a fast clock."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from contracts.system import AT, System
from infra.clock import CatchUpClock, ManualClock, pace_since
from infra.memory_archive import MemoryArchive
from monitoring.parity import Stores, check
from monitoring.parity_window import MATERIALIZED, finding, freshness
from monitoring.recomputed import recomputed
from pipelines.deployments import MATERIALIZE
from tests.stores.tiny_system import HOUR, NOON, tiny

TINY = tiny()
NAMES = list(TINY.features.names)
INTERVAL = NOON, NOON + HOUR


class Ticking:
    """A feature store whose ticked features tell the hour as of which they are; it counts the rows it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def historical(self, system: System, rows: pd.DataFrame) -> pd.DataFrame:
        self.asked.append(len(rows))
        return rows.assign(**features(rows[AT].to_numpy()))


def features(at: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]  # of floats
    """Each of the tiny system's features at some moments; the last ones are the request's."""
    ticks = (at // 3600 % 1_000).astype(np.float32)
    requested = TINY.features.request_features
    return {name: np.ones_like(ticks) if name in requested else ticks + n for n, name in enumerate(NAMES)}


def served(behind: int, rows: int = 50) -> pd.DataFrame:
    """Rows logged within an hour, as of so many ticks before theirs."""
    at = NOON.timestamp() + np.arange(rows) * 60.0
    ids = [f"p{number}" for number in range(rows)]
    logged = pd.DataFrame({AT: at, "prediction_id": ids, "degraded": ""})
    return logged.assign(**features(at - 3600 * behind))


class Logged(MemoryArchive):
    """An archive that holds these rows."""

    def __init__(self, rows: pd.DataFrame) -> None:
        super().__init__()
        self.rows = rows

    def predictions(self, *_: object) -> pd.DataFrame:
        return self.rows


def compared(rows: pd.DataFrame, age: timedelta | None = None):  # type: ignore[no-untyped-def]  # ParityFinding
    stores = Stores(Logged(rows), Ticking(), lambda bare: bare)  # type: ignore[arg-type]  # they have what is asked
    return finding(TINY, check(TINY, stores, INTERVAL, freshness=age), INTERVAL)


def test_equal_features_are_said_to_be_and_nothing_differs() -> None:
    found = compared(served(behind=0))
    assert (found.rows, found.features, found.differing) == (50, len(NAMES), ())
    assert found.words.startswith("What was served is what is recomputed. 0 of ")
    assert (found.since, found.at) == INTERVAL


def test_a_planted_factor_of_1000_is_named() -> None:
    rows = served(behind=0)
    found = compared(rows.assign(spent_6h=rows["spent_6h"] * 1000))
    assert [column.name for column in found.differing] == ["spent_6h"]
    assert found.differing[0].rows == 50
    assert "1000 times the recomputed one" in found.differing[0].words
    assert found.words.startswith(f"1 of {len(NAMES)} features were served with other values")


def test_a_few_rows_are_told_and_are_no_difference_to_act_on() -> None:
    rows = served(behind=0, rows=400)
    rows.loc[:1, "spent_6h"] = np.float32(0.5)
    found = compared(rows)
    assert found.differing == ()
    assert found.words.startswith("What was served is what is recomputed, but for less than 1%")
    assert "spent_6h: " in found.words


def test_no_row_is_no_agreement() -> None:
    found = compared(served(behind=0)[:0])
    assert (found.rows, found.differing) == (0, ())
    assert "nothing to compare" in found.words


def test_features_that_a_fast_clock_lets_grow_old_are_no_skew() -> None:
    assert {column.name for column in compared(served(behind=7)).differing} == set(NAMES) - {*requested()}
    assert compared(served(behind=7), age=20 * HOUR).differing == ()


def requested() -> Iterator[str]:
    yield from TINY.features.request_features


def test_what_was_served_is_skewed_however_old_it_may_be() -> None:
    rows = served(behind=7)
    found = compared(rows.assign(spent_6h=rows["spent_6h"] * 1000), age=20 * HOUR)
    assert "spent_6h" in [column.name for column in found.differing]


@pytest.mark.parametrize(("behind", "joins"), [(0, [50]), (1, [50, 50]), (2, [50, 50, 250])])
def test_ticks_are_asked_for_while_a_row_is_not_explained(behind: int, joins: list[int]) -> None:
    store = Ticking()
    recomputed(TINY, store, lambda bare: bare, served(behind))  # type: ignore[arg-type]  # it has what is asked
    assert store.asked == joins


def test_materialised_features_may_be_as_old_as_the_schedule_lets_them_grow() -> None:
    assert MATERIALIZE.least == MATERIALIZED
    assert freshness(TINY, 1.0, 3) == TINY.requirements.freshness
    assert freshness(TINY, 240.0, 3) == 2 * timedelta(hours=120)
    slow = replace(TINY, requirements=replace(TINY.requirements, freshness=timedelta(days=30)))
    assert freshness(slow, 240.0, 3) == timedelta(days=30)


def test_the_pace_since_a_moment_is_the_clocks_until_it_caught_up() -> None:
    now = datetime.now(UTC)
    clock = CatchUpClock(origin=now - timedelta(hours=10), started=now - timedelta(hours=1), speed=4.0)
    caught_up = now + timedelta(hours=2)  # nine hours behind, it gains three an hour
    assert clock.caught_up == caught_up
    assert pace_since(clock, caught_up - timedelta(seconds=1)) == 4.0
    assert pace_since(clock, caught_up) == 1.0
    assert pace_since(ManualClock(NOON), NOON) == 1.0
