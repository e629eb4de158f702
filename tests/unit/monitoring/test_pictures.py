"""Evidently draws a window an hour, however often the monitor looks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitoring.dashboards import MOST_SNAPSHOTS
from monitoring.pictures import EVERY, drawn, due

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
LOOK = timedelta(minutes=15)


def test_the_first_window_is_drawn(tmp_path: Path) -> None:
    assert due(tmp_path / "shop", NOON)


def test_of_looks_each_quarter_of_an_hour_every_fourth_is_drawn(tmp_path: Path) -> None:
    mark, pictures = tmp_path / "shop", []
    for look in range(9):
        until = NOON + look * LOOK
        if due(mark, until):
            drawn(mark, until)
            pictures.append(look)
    assert pictures == [0, 4, 8]


def test_a_clock_that_was_set_back_and_a_damaged_mark_stop_no_picture(tmp_path: Path) -> None:
    mark = tmp_path / "shop"
    drawn(mark, NOON)
    assert due(mark, NOON - timedelta(days=1))
    mark.write_text("half a li")
    assert due(mark, NOON)


def test_the_snapshots_that_are_kept_are_those_of_thirty_days() -> None:
    kept = MOST_SNAPSHOTS * EVERY
    assert kept == timedelta(days=30)
