"""A world's catalogue comes in with its history: once, whoever asks again, and what is newer stays."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from contracts.errors import BrokenSystem
from contracts.records import ItemRecord
from infra import wiring
from infra.archive import ParquetArchive
from infra.memory_archive import MemoryArchive
from infra.settings import Settings
from pipelines import catalogue, ingest
from tests.stores.log_records import SHOP
from tests.two_stages import DAY, KIOSK, NOON, KioskWorld


def test_a_history_brings_its_catalogue(settings: Settings) -> None:
    wiring.start_clock(settings, NOON, speed=1e-9)
    said: list[str] = []
    report = ingest.run(settings, KIOSK, ingest.History(seed=3, days=2, rows=2_000), said.append)
    items = wiring.archive(settings).items(KIOSK)
    assert report.appended == 2_000
    assert len(items) == 60 * 24 * 4
    assert f"{len(items):,} films" in said[-1]
    events = wiring.events(settings).read(KIOSK, NOON - 3 * DAY, NOON)
    assert set(events["film_id"]) <= set(items["film_id"]), "whatever was shown had been published"


def test_taken_in_twice_it_is_there_once_and_what_was_published_since_stays(tmp_path: Path) -> None:
    archive = ParquetArchive(tmp_path)
    count = catalogue.from_world(KIOSK, 3, archive, NOON, silent)
    first = archive.items(KIOSK)
    again = ItemRecord(str(first["film_id"][0]), "kiosk", NOON, {"genre": "sport", "minutes": 7.0}, NOON + DAY)
    archive.append([again])
    catalogue.from_world(KIOSK, 3, archive, NOON, silent)
    assert len(list(tmp_path.glob("items/system=kiosk/*/*.parquet"))) == 2
    found = archive.items(KIOSK)
    assert len(found) == len(first) == count
    assert found.set_index("film_id").loc[again.item, "minutes"] == 7.0


def test_the_archive_holds_what_the_world_published() -> None:
    archive = MemoryArchive()
    catalogue.from_world(KIOSK, 3, archive, NOON, silent)
    published = KioskWorld(3).items(NOON - 60 * DAY, NOON)
    pd.testing.assert_frame_equal(archive.items(KIOSK), published, check_dtype=False)


def test_a_system_of_one_stage_has_no_catalogue_to_bring() -> None:
    assert catalogue.from_world(SHOP, 3, MemoryArchive(), NOON, silent) == 0


def test_a_world_that_publishes_nothing_is_named() -> None:
    mute = replace(KIOSK, world=lambda seed, drift=None: object())  # type: ignore[arg-type,return-value]  # no world
    with pytest.raises(BrokenSystem, match="'kiosk' has a stage one; its world"):
        catalogue.from_world(mute, 3, MemoryArchive(), NOON, silent)


def test_items_are_received_when_the_history_ends(tmp_path: Path) -> None:
    archive = ParquetArchive(tmp_path)
    catalogue.from_world(KIOSK, 3, archive, NOON, silent)
    assert [path.name for path in tmp_path.glob("items/system=kiosk/*")] == [f"day={NOON:%Y-%m-%d}"]


def silent(line: str) -> None:
    """Nobody listens."""
