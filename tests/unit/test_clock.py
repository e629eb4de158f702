"""The platform's time: real, manual, or catching up with the real one."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.clock import CatchUpClock, ManualClock, SharedClock, SystemClock, pace, read_clock, write_clock


def test_the_system_clock_shows_the_machines_time_in_utc() -> None:
    before = datetime.now(UTC)
    assert before <= SystemClock().now() <= datetime.now(UTC)


def test_a_manual_clock_shows_what_it_was_set_to() -> None:
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    assert clock.advance(timedelta(days=14)) == clock.now() == datetime(2030, 1, 15, tzinfo=UTC)


def test_a_catch_up_clock_runs_as_many_times_as_fast() -> None:
    started = datetime.now(UTC) - timedelta(seconds=10)
    clock = CatchUpClock(origin=started - timedelta(days=1), started=started, speed=60.0)
    shown = clock.now() - (started - timedelta(days=1))
    assert timedelta(seconds=600) <= shown < timedelta(seconds=660)


def test_a_catch_up_clock_never_runs_ahead_of_the_machine() -> None:
    started = datetime.now(UTC) - timedelta(hours=1)
    clock = CatchUpClock(origin=started - timedelta(hours=1), started=started, speed=1000.0)
    assert clock.now() <= datetime.now(UTC)
    assert datetime.now(UTC) - clock.now() < timedelta(seconds=1)


def test_a_clock_that_has_caught_up_runs_as_fast_as_the_machines() -> None:
    started = datetime.now(UTC) - timedelta(hours=1)
    assert pace(CatchUpClock(started - timedelta(hours=3), started, speed=3.0)) == 3.0
    assert pace(CatchUpClock(started - timedelta(hours=1), started, speed=3.0)) == 1.0
    assert pace(SystemClock()) == 1.0


def test_all_processes_of_a_stack_read_the_clock_that_one_started(tmp_path: Path) -> None:
    origin = datetime.now(UTC) - timedelta(days=2)
    started, read = write_clock(tmp_path / "clock.json", origin, 240.0), read_clock(tmp_path / "clock.json")
    assert isinstance(read, SharedClock)
    assert read.current == started.current
    assert abs(started.now() - origin) < timedelta(minutes=10)
    assert pace(read) == 240.0


def test_a_leap_is_made_by_all_who_read_the_clock_at_one_moment(tmp_path: Path) -> None:
    origin = datetime.now(UTC) - timedelta(days=100)
    one, other = write_clock(tmp_path / "clock.json", origin, 60.0), read_clock(tmp_path / "clock.json")
    began = datetime.now(UTC)
    one.leap(timedelta(days=28))
    both = one.now(), other.now()
    passed = (datetime.now(UTC) - began) * 60
    assert origin + timedelta(days=28) <= both[0] <= both[1] <= origin + timedelta(days=28) + 2 * passed
    one.leap(timedelta(days=1))
    assert other.now() >= origin + timedelta(days=29)


def test_no_process_makes_a_leap_before_its_moment(tmp_path: Path) -> None:
    clock = write_clock(tmp_path / "clock.json", datetime.now(UTC) - timedelta(days=100), 1.0)
    leap = threading.Thread(target=clock.leap, args=(timedelta(days=28),))
    leap.start()
    shown = []
    while leap.is_alive():
        shown.append(read_clock(tmp_path / "clock.json").now())
    early = [at for at in shown if at < datetime.now(UTC) - timedelta(days=90)]
    assert early == shown[: len(early)]
    assert len(early) > 1


def test_a_leap_never_leads_past_the_machines_time(tmp_path: Path) -> None:
    clock = write_clock(tmp_path / "clock.json", datetime.now(UTC) - timedelta(days=1), 1.0)
    clock.leap(timedelta(days=28))
    assert clock.now() <= datetime.now(UTC)
    assert clock.pace == 1.0


def test_where_no_clock_was_started_time_is_real(tmp_path: Path) -> None:
    assert isinstance(read_clock(tmp_path / "clock.json"), SystemClock)
