"""The event table: appended once whatever happens, read in time order, small in files, whole after a crash."""

import multiprocessing
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import systems
from contracts.errors import InvalidInput
from contracts.system import Source, System
from infra import day_parts
from infra.events import EventTable, columns

START = datetime(2025, 3, 1, tzinfo=UTC)
LATER = START + timedelta(days=30)
SOURCE = Source(
    "views",
    "view_id",
    {"user_id": "string", "bid": "float", "slot": "integer", "clicked": "float"},
    optional={"slot": 1},
)


def system_with(source: Source = SOURCE) -> System:
    base = systems.load("ad_click")
    return replace(base, name="views", features=replace(base.features, source=source))


def made(count: int, days: float = 3.0, first: int = 0, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "view_id": [f"v-{number:09d}" for number in range(first, first + count)],
            "at": np.sort(START.timestamp() + random.random(count) * days * 86_400),
            "user_id": [f"u{number}" for number in random.integers(0, 5_000, count)],
            "bid": random.random(count),
            "slot": random.integers(0, 4, count),
            "clicked": (random.random(count) < 0.1).astype(float),
        }
    )


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def test_what_is_appended_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(1_000)
    assert table.append(system, events.sample(frac=1, random_state=1)) == 1_000
    pd.testing.assert_frame_equal(table.read(system, START, LATER), events)
    assert tuple(events.columns) == columns(system)


def test_events_of_one_moment_are_ordered_by_id(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(100)
    events["at"] = START.timestamp()
    table.append(system, events.sample(frac=1, random_state=1))
    assert list(table.read(system, START, LATER)["view_id"]) == list(events["view_id"])


def test_the_same_events_twice_change_nothing(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(1_000)
    assert table.append(system, events[:600]) == 600
    assert table.append(system, events[400:]) == 400  # other frames, some of the same events
    files = [(path, path.stat().st_mtime_ns) for path in parts(tmp_path)]
    assert table.append(system, events) == 0
    assert [(path, path.stat().st_mtime_ns) for path in parts(tmp_path)] == files
    pd.testing.assert_frame_equal(table.read(system, START, LATER), events)


def test_an_id_that_comes_twice_in_a_frame_counts_once(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(10)
    again = events.assign(bid=99.0)
    assert table.append(system, pd.concat([events, again])) == 10
    assert table.read(system, START, LATER)["bid"].max() < 1.0


def test_an_interval_holds_its_beginning_and_not_its_end(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(3)
    events["at"] = START.timestamp() + np.array([0.0, 86_400.0, 2 * 86_400.0])
    table.append(system, events)
    found = table.read(system, START + timedelta(days=1), START + timedelta(days=2))
    assert list(found["view_id"]) == ["v-000000001"]


def test_an_empty_table_says_so(tmp_path: Path) -> None:
    table, system = EventTable(tmp_path), system_with()
    assert table.span(system) is None
    assert table.count(system) == 0
    assert table.append(system, made(0)) == 0
    found = table.read(system, START, LATER)
    assert len(found) == 0
    assert tuple(found.columns) == columns(system)


def test_span_and_count(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(500, days=5)
    table.append(system, events)
    first, last = events["at"].iloc[[0, -1]]
    assert table.span(system) == (datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC))
    assert table.count(system) == 500


def test_systems_do_not_mix(tmp_path: Path) -> None:
    table, one, other = EventTable(tmp_path), system_with(), replace(system_with(), name="others")
    table.append(one, made(10))
    assert table.append(other, made(10)) == 10
    assert (table.count(one), table.count(other)) == (10, 10)


def test_a_watermark_is_remembered(tmp_path: Path) -> None:
    table, system = EventTable(tmp_path), system_with()
    assert table.watermark(system, "log") is None
    table.set_watermark(system, "log", START)
    table.set_watermark(system, "other", LATER)
    assert EventTable(tmp_path).watermark(system, "log") == START


def test_events_that_do_not_fit_the_source_are_refused(tmp_path: Path) -> None:
    table, system = EventTable(tmp_path), system_with()
    with pytest.raises(InvalidInput, match=r"Events of views lack bid, slot\."):
        table.append(system, made(5).drop(columns=["bid", "slot"]))
    with pytest.raises(InvalidInput, match="user_id"):
        table.append(system, made(5).assign(user_id=7))
    with pytest.raises(InvalidInput, match="`at` that is not a number of seconds"):
        table.append(system, made(5).assign(at=np.nan))
    assert table.count(system) == 0


def test_a_column_that_older_events_lack_takes_its_optional_value(tmp_path: Path) -> None:
    older = replace(
        SOURCE, columns={name: kind for name, kind in SOURCE.columns.items() if name != "slot"}, optional={}
    )
    table = EventTable(tmp_path)
    table.append(system_with(older), made(50))
    assert set(table.read(system_with(), START, LATER)["slot"]) == {1}
    table.append(system_with(), made(5, first=50).assign(slot=3))  # and where both kinds stand in one part
    assert set(table.read(system_with(), START, LATER)["slot"]) == {1, 3}


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path / "it's [a] *day=2*"), system_with(), made(100)
    table.append(system, events[:50])
    table.append(system, events[50:])
    pd.testing.assert_frame_equal(table.read(system, START, LATER), events)


def test_many_small_appends_leave_few_files(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(600, days=1)
    for start in range(0, 600, 10):
        table.append(system, events[start : start + 10])
    assert len(parts(tmp_path)) <= 8
    pd.testing.assert_frame_equal(table.read(system, START, LATER), events)


def test_what_a_crash_left_is_not_read_and_is_swept_away(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(100, days=0.9)
    table.append(system, events[:60])
    day = parts(tmp_path)[0].parent
    (day / "00000001-00000001.part").write_bytes(b"half of a file")  # killed while writing
    merged = day / "00000000-00000005.parquet"  # killed between a merge and the end of the old parts
    merged.write_bytes(parts(tmp_path)[0].read_bytes())
    assert [part.path for part in day_parts.live(day)] == [merged]
    assert table.count(system) == 60
    assert table.append(system, events) == 40
    assert not list(day.glob("*.part"))
    assert all(part.path in parts(tmp_path) for part in day_parts.live(day))
    pd.testing.assert_frame_equal(table.read(system, START, LATER), events)


def _append(folder: Path, events: pd.DataFrame) -> None:
    for start in range(0, len(events), 500):
        EventTable(folder).append(system_with(), events[start : start + 500])


def test_processes_that_append_the_same_events_at_once_append_them_once(tmp_path: Path) -> None:
    events = made(3_000)
    spawned = multiprocessing.get_context("spawn")
    writers = [spawned.Process(target=_append, args=(tmp_path, events)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    pd.testing.assert_frame_equal(EventTable(tmp_path).read(system_with(), START, LATER), events)


def test_a_million_events_are_appended_within_twenty_seconds(tmp_path: Path) -> None:
    table, system, events = EventTable(tmp_path), system_with(), made(1_000_000, days=14)
    started = time.process_time()  # this process's own, whatever else the machine does
    for start in range(0, 1_000_000, 100_000):
        table.append(system, events[start : start + 100_000])
    assert time.process_time() - started < 20
    assert table.count(system) == 1_000_000
    assert len(parts(tmp_path)) <= 14 * 4
