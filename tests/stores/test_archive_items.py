"""A system's catalogue at rest: the archive in memory and in Parquet, one suite; then what only files can do wrong."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from contracts.errors import InvalidInput, NotFound
from contracts.ports import Archive
from contracts.records import ItemRecord
from contracts.system import Source, System
from infra import archive_files
from infra.archive import ParquetArchive
from infra.memory_archive import MemoryArchive
from tests.stores.log_records import SHOP, outcome, prediction
from tests.two_stages import KIOSK

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(params=["memory", "parquet"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    return MemoryArchive() if request.param == "memory" else ParquetArchive(tmp_path)


def film(name: str, published: timedelta = -DAY, received: timedelta = timedelta(0), **columns: Any) -> ItemRecord:
    return ItemRecord(name, "kiosk", NOON + published, {"genre": "crime", "minutes": 90.0, **columns}, NOON + received)


def without(item: ItemRecord, name: str) -> ItemRecord:
    return replace(item, columns={each: value for each, value in item.columns.items() if each != name})


def with_items(items: Source) -> System:
    assert KIOSK.model.retrieval is not None
    return replace(KIOSK, model=replace(KIOSK.model, retrieval=replace(KIOSK.model.retrieval, items=items)))


def test_the_catalogue_comes_by_publication_with_the_columns_of_its_source(archive: Archive) -> None:
    archive.append([film("b", -DAY), film("a", -2 * DAY, minutes=30.5), film("c", -DAY, genre="sport")])
    found = archive.items(KIOSK)
    assert list(found) == ["film_id", "at", "genre", "minutes"]
    assert found["film_id"].tolist() == ["a", "b", "c"]
    assert found["at"].tolist() == [(NOON - 2 * DAY).timestamp(), *[(NOON - DAY).timestamp()] * 2]
    assert found["minutes"].tolist() == [30.5, 90.0, 90.0]
    assert [str(kind) for kind in found.dtypes] == ["object", "float64", "object", "float64"]


def test_an_empty_catalogue_has_the_same_columns_and_types(archive: Archive) -> None:
    empty = archive.items(KIOSK)
    archive.append([film("a")])
    pd.testing.assert_series_equal(empty.dtypes, archive.items(KIOSK).dtypes)
    assert len(empty) == 0


def test_each_item_is_as_it_was_received_last_and_once(archive: Archive) -> None:
    archive.append([film("a", received=2 * DAY, genre="sport"), film("b")])
    archive.append([film("a", received=DAY, genre="drama"), film("b")])
    archive.append([film("a", received=2 * DAY, genre="sport")])
    found = archive.items(KIOSK).set_index("film_id")
    assert found["genre"].to_dict() == {"a": "sport", "b": "crime"}


def test_what_a_record_lacks_takes_its_default_or_is_named(archive: Archive) -> None:
    archive.append([film("a"), without(film("b"), "minutes")])
    assert archive.items(KIOSK)["minutes"].tolist() == [90.0, 90.0]
    archive.append([without(film("c"), "genre")])
    with pytest.raises(InvalidInput, match="'c' has no genre"):
        archive.items(KIOSK)


def test_whole_numbers_and_others_of_one_column_live_together(archive: Archive) -> None:
    archive.append([film("a", minutes=90), film("b", minutes=90.5), film("c", episodes=3)])
    counted = with_items(Source("films", "film_id", {"minutes": "float", "episodes": "integer"}, {"episodes": 1}))
    found = archive.items(counted)
    assert found["minutes"].tolist() == [90.0, 90.5, 90.0]
    assert found["episodes"].tolist() == [1, 1, 3]
    assert str(found["episodes"].dtype) == "int64"


def test_a_system_without_a_stage_one_has_no_catalogue(archive: Archive) -> None:
    with pytest.raises(NotFound, match="shop has no catalogue"):
        archive.items(SHOP)


def test_items_share_a_batch_with_other_records(archive: Archive) -> None:
    archive.append([prediction("p1"), film("a"), outcome("p1"), replace(film("b"), system="other")])
    assert archive.items(KIOSK)["film_id"].tolist() == ["a"]
    assert archive.prediction("p1", "shop") is not None


def test_what_no_column_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'genre' of an item is None"):
        ParquetArchive(tmp_path).append([film("a", genre=None)])


def test_the_same_records_again_are_the_same_file_and_merging_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_files, "KEPT_SECONDS", 0.0)
    archive = ParquetArchive(tmp_path)
    for number in range(150):  # beyond the number at which small files are merged in passing
        archive.append([film(f"f{number:03d}", genre="sport"), film("again", received=timedelta(seconds=number))])
    files = list(tmp_path.glob("items/system=kiosk/day=*/*.parquet"))
    assert len(files) < 50
    before = archive.items(KIOSK)
    archive.append([film("f000", genre="sport"), film("again", received=timedelta(seconds=0))])
    archive.compact("kiosk", NOON.date())
    pd.testing.assert_frame_equal(archive.items(KIOSK), before)
    assert len(before) == 151
    assert len(list(tmp_path.glob("items/system=kiosk/day=*/*.parquet"))) == 1


def test_a_hundred_thousand_items_go_in_within_seconds(tmp_path: Path) -> None:
    records = [film(f"v{number}", -DAY * (number % 400), minutes=float(number % 90)) for number in range(100_000)]
    archive = ParquetArchive(tmp_path)
    started = time.monotonic()
    archive.append(records)
    appended = time.monotonic() - started
    found = archive.items(KIOSK)
    print(f"appended in {appended:.1f} s, read in {time.monotonic() - started - appended:.1f} s")
    assert len(found) == 100_000
    assert appended < 20, "a few seconds on an idle machine"
