"""Events from a world, from the log, and from a file whose first run was killed: each once, whoever asks again."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import systems
from contracts.errors import InvalidInput, SetupError
from contracts.system import Source, System
from infra import wiring
from infra.archive import ParquetArchive
from infra.events import EventTable
from infra.settings import ROOT, Settings
from pipelines import commands, ingest
from pipelines.event_file import open_event_file
from pipelines.mapping import Mapping
from tests.conftest import poll
from tests.stores.log_records import DELAY, NOON, SHOP, outcome, prediction

AD_CLICK = systems.load("ad_click")
MINUTE = timedelta(minutes=1)
SOON = NOON + DELAY + MINUTE / 2  # what was served at noon has matured, and what a minute later has not
BEGINNING = datetime(1980, 1, 1, tzinfo=UTC)
MAPPING = Mapping.model_validate(
    {
        "id": "id",
        "time": {"column": "t", "format": "epoch_seconds"},
        "columns": {"user_id": "u", "ad_id": "a", "clicked": "c"},
    }
)


def silent(line: str) -> None:
    """Nobody listens."""


def shop() -> System:
    source = Source("views", "view_id", {"ad_id": "string", "bid": "float", "slot": "integer", "clicked": "float"})
    return replace(SHOP, features=replace(SHOP.features, source=source))


def test_a_worlds_history_is_taken_in_once(tmp_path: Path) -> None:
    table, wanted = EventTable(tmp_path), ingest.History(seed=3, days=2, rows=3_000)
    first = ingest.from_world(AD_CLICK, wanted, table, NOON, silent)
    assert first.appended == first.read == table.count(AD_CLICK) > 0
    later = ingest.from_world(AD_CLICK, wanted, table, NOON + timedelta(days=1), silent)
    assert (later.read, later.appended) == (first.read, 0)
    span = table.span(AD_CLICK)
    assert span is not None
    assert NOON - timedelta(days=2) <= span[0] < span[1] <= NOON


def test_matured_rows_of_the_log_become_events(tmp_path: Path) -> None:
    system, table, archive = shop(), EventTable(tmp_path / "events"), ParquetArchive(tmp_path / "log")
    archive.append([prediction("p1"), outcome("p1", "a1"), prediction("p2", NOON + MINUTE)])
    report = ingest.from_log(system, archive, table, SOON, silent)
    assert (report.read, report.appended) == (2, 2)  # those of p2 may still be clicked
    events = table.read(system, BEGINNING, SOON)
    assert dict(zip(events["view_id"], events["clicked"], strict=True)) == {"p1:0": 1.0, "p1:1": 0.0}
    assert list(events["ad_id"]) == ["a1", "a2"]
    assert events["at"].unique().tolist() == [NOON.timestamp()]
    assert events["bid"].tolist() == [1.0, 1.5]


def test_the_log_is_continued_from_where_it_was_left(tmp_path: Path) -> None:
    system, table, archive = shop(), EventTable(tmp_path / "events"), ParquetArchive(tmp_path / "log")
    archive.append([prediction("p1")])
    ingest.from_log(system, archive, table, SOON, silent)
    assert table.watermark(system, ingest.LOG) == SOON - DELAY
    archive.append([prediction("late", NOON - 20 * MINUTE), prediction("p2", NOON + MINUTE)])
    report = ingest.from_log(system, archive, table, SOON + MINUTE, silent)
    assert (report.appended, report.already_there) == (4, 2)  # a late record is found, within the overlap
    assert table.watermark(system, ingest.LOG) == SOON - DELAY + MINUTE


def test_the_watermark_stays_where_the_append_failed(tmp_path: Path) -> None:
    system, archive = shop(), ParquetArchive(tmp_path / "log")
    archive.append([prediction("p1")])
    table = EventTable(tmp_path / "events")
    (tmp_path / "events" / "shop").mkdir(parents=True)
    (tmp_path / "events" / "shop" / f"day={NOON:%Y-%m-%d}").write_text("in the way")
    with pytest.raises(OSError, match="day="):
        ingest.from_log(system, archive, table, SOON, silent)
    assert table.watermark(system, ingest.LOG) is None


def test_a_log_that_lacks_a_column_of_the_source_is_refused(tmp_path: Path) -> None:
    system, archive = shop(), ParquetArchive(tmp_path / "log")
    archive.append([prediction("p1")])
    source = replace(system.features.source, columns={"age": "float"})
    older = replace(system, features=replace(system.features, source=source))
    with pytest.raises(InvalidInput, match="The log of shop lacks 'age', which its source needs"):
        ingest.from_log(older, archive, EventTable(tmp_path / "events"), SOON, silent)


def test_the_parameters_say_which_source_is_meant() -> None:
    assert ingest.source(None, None, None) is None
    assert ingest.source(None, None, {"seed": 5}) == ingest.History(seed=5)
    assert ingest.source("log.csv", "m.toml", None) == ingest.UserFile(Path("log.csv"), Path("m.toml"))
    with pytest.raises(InvalidInput, match="not both"):
        ingest.source("log.csv", "m.toml", {"seed": 5})
    with pytest.raises(InvalidInput, match="give both"):
        ingest.source("log.csv", None, None)
    with pytest.raises(InvalidInput, match=r"world\.row cannot be used"):
        ingest.source(None, None, {"row": 5})


def test_a_run_takes_its_stores_from_the_settings(settings: Settings) -> None:
    report = ingest.run(settings, AD_CLICK, ingest.History(days=1, rows=500), silent)
    assert wiring.events(settings).count(AD_CLICK) == report.appended > 0


def write(path: Path, rows: int) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"e{number % (rows - 1_000)}" for number in range(rows)],  # the last thousand are duplicates
            "t": np.sort(NOON.timestamp() - random.random(rows) * 3 * 86_400),
            "u": random.integers(0, 1_000, rows),
            "a": random.integers(0, 100, rows),
            "c": random.choice([0, 1, 2], rows, p=[0.89, 0.1, 0.01]),
        }
    )
    frame.to_csv(path, index=False)


def take(folder: Path, path: Path) -> ingest.Report:
    file = open_event_file(path, MAPPING)
    return ingest.from_file(AD_CLICK, file, EventTable(folder / "events"), folder / "rejects", NOON, silent)


def test_a_killed_run_is_mended_by_running_again(tmp_path: Path) -> None:
    path, rows = tmp_path / "log.csv", 160_000
    write(path, rows)
    child = "import sys, tests.unit.ingest.test_ingest_sources as here; here.take(*map(here.Path, sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", child, str(tmp_path), str(path)], cwd=ROOT) as process:
        table = EventTable(tmp_path / "events")
        poll(lambda: table.count(AD_CLICK), 120, "the first events")
        os.kill(process.pid, signal.SIGKILL)
    there = table.count(AD_CLICK)
    assert 0 < there < rows * 0.95, "the run was over before it was killed"
    again, clean = take(tmp_path, path), take(tmp_path / "clean", path)
    assert (again.already_there, again.appended) == (there, clean.appended - there)
    assert again.rejected == clean.rejected
    read = [EventTable(at / "events").read(AD_CLICK, BEGINNING, NOON) for at in (tmp_path, tmp_path / "clean")]
    pd.testing.assert_frame_equal(*read)
    rejects = [
        (at / "rejects" / Path(str(again.reject_file)).name).read_bytes() for at in (tmp_path, tmp_path / "clean")
    ]
    assert rejects[0] == rejects[1]


def invoke(settings: Settings, *arguments: object) -> BaseException | None:
    app = typer.Typer()
    app.command()(commands.ingest)
    return CliRunner().invoke(app, [str(each) for each in arguments], env=settings.environ()).exception


def test_the_command_refuses_a_bad_file_before_it_asks_the_stack(settings: Settings, tmp_path: Path) -> None:
    avazu = ROOT / "systems" / "ad_click" / "mappings" / "avazu.toml"
    error = invoke(settings, "ad_click", tmp_path / "nowhere.csv", "--mapping", avazu)
    assert isinstance(error, InvalidInput)
    assert "cannot be read" in str(error)


def test_the_command_says_that_the_stack_must_be_up(settings: Settings, tmp_path: Path) -> None:
    avazu = ROOT / "systems" / "ad_click" / "mappings" / "avazu.toml"
    (tmp_path / "log.csv").write_text(",".join(map(str, range(24))) + "\n")
    error = invoke(settings, "ad_click", tmp_path / "log.csv", "--mapping", avazu)
    assert isinstance(error, SetupError)
    assert "start it with `flywheel up`" in str(error)
