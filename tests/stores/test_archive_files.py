"""The archive on a disk: files that are merged, killed half way, in the way, or too many."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from contracts.errors import InvalidInput, Unavailable
from infra import archive_files, wiring
from infra.archive import ParquetArchive
from infra.breather import Breather
from infra.log_codec import decode, encode
from infra.settings import Settings
from tests.conftest import poll
from tests.stores.log_records import NOON, SHOP, outcome, prediction, same

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SINCE, UNTIL, MATURE = NOON - HOUR, NOON + HOUR, NOON + DAY


def test_the_same_batch_makes_the_same_file(tmp_path: Path) -> None:
    for _ in range(2):
        ParquetArchive(tmp_path).append([prediction("p1"), outcome("p1")])
    assert sorted(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == [
        "outcomes/system=shop/day=2026-03-02",
        "predictions/system=shop/day=2026-03-02",
    ]


def test_the_latest_prediction_is_known(tmp_path: Path) -> None:
    archive = ParquetArchive(tmp_path)
    assert archive.latest(SHOP) is None
    archive.append([prediction("p1", NOON), prediction("p2", NOON - DAY)])
    assert archive.latest(SHOP) == NOON


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A merged file's parts go as soon as it is there."""
    monkeypatch.setattr(archive_files, "KEPT_SECONDS", 0.0)


def test_the_parts_of_a_merged_file_stay_for_those_who_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = ParquetArchive(tmp_path)
    for number in range(archive_files.MANY_FILES):
        archive.append([prediction(f"p{number}")])
    assert len(list(tmp_path.rglob("*.parquet"))) == archive_files.MANY_FILES + 1
    before = archive.predictions(SHOP, SINCE, UNTIL)
    assert len(before) == 3 * archive_files.MANY_FILES
    monkeypatch.setattr(archive_files, "KEPT_SECONDS", 0.0)
    archive.append([outcome("p0")])
    assert len(list(tmp_path.rglob("*.parquet"))) == 2  # one of outcomes
    pd.testing.assert_frame_equal(archive.predictions(SHOP, SINCE, UNTIL), before)


@pytest.mark.usefixtures("at_once")
def test_many_small_files_of_a_day_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_files, "MANY_FILES", 10)
    archive = ParquetArchive(tmp_path)
    for number in range(35):
        archive.append([prediction(f"p{number}"), outcome(f"p{number}")])
    assert len(list(tmp_path.rglob("*.parquet"))) < 20
    frame = archive.labelled(SHOP, SINCE, UNTIL, MATURE)
    assert (len(frame), frame["clicked"].sum()) == (70, 35)


@pytest.mark.usefixtures("at_once")
def test_no_row_is_rewritten_more_often_than_there_are_levels(tmp_path: Path) -> None:
    archive = ParquetArchive(tmp_path)
    for number in range(archive_files.MANY_FILES**2 + archive_files.MANY_FILES + 1):
        archive.append([outcome(f"p{number}")])
    levels = Counter(path.name.split(".")[1] for path in tmp_path.rglob("*.parquet"))
    assert levels == {"2": 1, "1": 1, "0": 1}
    assert len(archive.outcomes(SHOP, SINCE, UNTIL)) == archive_files.MANY_FILES**2 + archive_files.MANY_FILES + 1


def test_a_file_that_is_large_is_not_merged_in_passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_files, "SMALL_BYTES", 1)
    archive = ParquetArchive(tmp_path)
    for number in range(20):
        archive.append([outcome(f"p{number}")])
    assert len(list(tmp_path.rglob("*.parquet"))) == 20
    assert len(archive.outcomes(SHOP, SINCE, UNTIL)) == 20


@pytest.mark.usefixtures("at_once")
def test_a_prediction_written_again_after_a_merge_is_read_once(tmp_path: Path) -> None:
    archive = ParquetArchive(tmp_path)
    for number in range(archive_files.MANY_FILES):
        archive.append([prediction(f"p{number}")])
    before = archive.predictions(SHOP, SINCE, UNTIL)
    archive.append([prediction("p3")])
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    pd.testing.assert_frame_equal(archive.predictions(SHOP, SINCE, UNTIL), before)


@pytest.mark.usefixtures("at_once")
def test_files_of_before_there_were_levels_are_read_and_merged_with_those_of_today(tmp_path: Path) -> None:
    archive = ParquetArchive(tmp_path)
    archive.append([prediction("p1"), outcome("p1")])
    for path in list(tmp_path.rglob("*.parquet")):  # as they were written: plain floats, an Arrow schema, no level
        table = pq.ParquetFile(path).read()
        pq.write_table(table, path.with_name(f"{path.name.partition('.')[0]}.parquet"), compression="zstd")
        path.unlink()
    archive.append([prediction("p2"), outcome("p2")])
    before = archive.labelled(SHOP, SINCE, UNTIL, MATURE)
    assert len(before) == 4
    archive.compact("shop", NOON.date())
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    pd.testing.assert_frame_equal(archive.labelled(SHOP, SINCE, UNTIL, MATURE), before)


@pytest.mark.parametrize("count", [3, 40])  # few rows a prediction, and many
def test_what_the_log_gives_is_what_the_archive_gives_back(tmp_path: Path, count: int) -> None:
    ads = [f"a{number}" for number in range(count)]
    columns = {"shared": np.full(count, None), "some": np.array(["a", None, *["ä"] * (count - 2)], dtype=object)}
    written = [prediction("p1", ads=ads), prediction("p2", ads=ads[:1], shown=(0,)), prediction("p3", ads=ads)]
    wanted = []
    for record in written:
        own = {name: values[: len(record.scores)] for name, values in columns.items()}
        at = {"at": record.rows["at"]}  # which the archive gives back as the last of them
        wanted.append(replace(record, rows={n: v for n, v in record.rows.items() if n != "at"} | own | at))
    archive = ParquetArchive(tmp_path)
    archive.append([decode({name.encode(): value for name, value in encode(each).items()}) for each in wanted])
    assert [each.prediction_id for each in wanted if not same(archive.prediction(each.prediction_id), each)] == []


def test_the_newest_prediction_is_known_from_the_statistics_of_a_file(tmp_path: Path) -> None:
    ParquetArchive(tmp_path).append([prediction("p1"), prediction("p2", NOON + HOUR)])
    (path,) = tmp_path.rglob("*.parquet")
    group = pq.ParquetFile(path).metadata.row_group(0)
    statistics = {group.column(i).path_in_schema: group.column(i).statistics for i in range(group.num_columns)}
    assert (statistics["at"].min, statistics["at"].max) == (NOON.timestamp(), (NOON + HOUR).timestamp())


def test_row_groups_are_small_and_stay_so_when_files_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_files, "GROUP_ROWS", 100)
    archive = ParquetArchive(tmp_path)
    for name in ("p1", "p2"):
        archive.append([prediction(name, ads=[f"a{number}" for number in range(250)])])
    assert groups_in(tmp_path) == [[100, 100, 50]] * 2
    archive.compact("shop", NOON.date())
    assert groups_in(tmp_path) == [[100] * 5]


def groups_in(folder: Path) -> list[list[int]]:
    """How many rows each row group of each file has."""
    held = [pq.ParquetFile(path).metadata for path in folder.rglob("*.parquet")]
    return [[each.row_group(number).num_rows for number in range(each.num_row_groups)] for each in held]


class Resting(Breather):
    """Whenever it might rest it does something else."""

    def __init__(self, instead: Callable[[], None]) -> None:
        super().__init__()
        self._instead = instead

    def rest(self) -> None:
        self._instead()


def test_writing_rests_after_each_record_column_and_row_group(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_files, "GROUP_ROWS", 100)
    records = [prediction(f"p{number}", ads=[f"a{place}" for place in range(20)]) for number in range(25)]
    rests: list[int] = []
    wiring.archive(settings, Resting(lambda: rests.append(1))).append(records)
    (path,) = settings.path("log").rglob("*.parquet")
    held = pq.ParquetFile(path).metadata
    passes = 4  # over the records: for their tables, their requests, their results and their features
    assert len(rests) >= passes * len(records) + held.num_columns + held.num_row_groups


def test_wherever_a_merge_has_come_to_every_row_is_there_once(tmp_path: Path) -> None:
    writer, reader = ParquetArchive(tmp_path), ParquetArchive(tmp_path)
    seen: list[tuple[int, float]] = []

    def read() -> None:
        clicked = reader.labelled(SHOP, SINCE, UNTIL, MATURE)["clicked"]
        seen.append((len(clicked), clicked.sum()))

    for number in range(archive_files.MANY_FILES - 1):
        writer.append([prediction(f"p{number}"), outcome(f"p{number}")])
    merging = ParquetArchive(tmp_path, Resting(read))
    merging.append([outcome("p0", item="a2", label=0.0)])  # one file of outcomes more: they are merged in passing
    assert len(seen) > archive_files.MANY_FILES
    merging.compact("shop", NOON.date())
    assert len(seen) > 2 * archive_files.MANY_FILES
    assert set(seen) == {(2 * (archive_files.MANY_FILES - 1), archive_files.MANY_FILES - 1)}


def test_a_listing_that_a_merge_came_into_is_not_relied_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = ParquetArchive(tmp_path)
    for number in range(5):
        archive.append([prediction(f"p{number}")])
    merges = [lambda: archive.compact("shop", NOON.date())]
    whole = Path.glob

    def torn(folder: Path, pattern: str) -> Iterator[Path]:
        """The first half of the folder before the merge, where the merged file will be; the parts' half after it."""
        before = list(whole(folder, pattern))
        while merges:
            merges.pop()()
        return (path for path in before if path.exists())

    monkeypatch.setattr(Path, "glob", torn)
    assert len(archive.predictions(SHOP, SINCE, UNTIL)) == 15
    assert merges == []


@pytest.mark.usefixtures("at_once")
def test_readers_beside_a_compaction_see_every_row_once(tmp_path: Path) -> None:
    writer, reader = ParquetArchive(tmp_path), ParquetArchive(tmp_path)
    done = threading.Event()
    seen: list[tuple[int, float]] = []

    def read() -> None:
        while not done.is_set():
            clicked = reader.labelled(SHOP, SINCE, UNTIL, MATURE)["clicked"]
            seen.append((len(clicked), clicked.sum()))

    for number in range(20):
        writer.append([prediction(f"p{number}")])
    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(12):
            before = len(seen)
            for part in range(6):
                writer.append([outcome(f"p{number}", after=timedelta(seconds=part))])
                writer.append([prediction(f"p{part}")])
            writer.compact("shop", NOON.date())
            poll(lambda before=before: len(seen) > before, 10.0, "a read that no merge came in between of")
    finally:
        done.set()
        thread.join()
    assert {rows for rows, _ in seen} == {40}
    clicks = [clicks for _, clicks in seen]
    assert clicks == sorted(clicks)  # no outcome that was there once is missing later
    assert clicks[-1] > 0


COMPACT_UNTIL_KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path, PosixPath
from infra.archive import ParquetArchive

left = int(sys.argv[2])

def unlink(self, missing_ok=False):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    Path.unlink(self, missing_ok)

PosixPath.unlink = unlink
ParquetArchive(Path(sys.argv[1])).compact("shop", date(2026, 3, 2))
"""


@pytest.mark.parametrize("deletions", [0, 1, 3])
def test_a_compaction_killed_half_way_doubles_and_loses_nothing(tmp_path: Path, deletions: int) -> None:
    archive = ParquetArchive(tmp_path)
    for number in range(5):
        archive.append([prediction(f"p{number}"), outcome(f"p{number}")])
    expected = archive.labelled(SHOP, SINCE, UNTIL, MATURE)
    killed = subprocess.run([sys.executable, "-c", COMPACT_UNTIL_KILLED, str(tmp_path), str(deletions)], check=False)
    assert killed.returncode == -9
    assert len(list(tmp_path.rglob("*.parquet"))) == 11 - deletions
    pd.testing.assert_frame_equal(archive.labelled(SHOP, SINCE, UNTIL, MATURE), expected)
    archive.compact("shop", NOON.date())
    pd.testing.assert_frame_equal(archive.labelled(SHOP, SINCE, UNTIL, MATURE), expected)


def test_a_temporary_file_is_not_read_and_an_abandoned_one_is_removed(tmp_path: Path) -> None:
    archive = ParquetArchive(tmp_path)
    archive.append([prediction("p1")])
    (folder,) = tmp_path.glob("predictions/*/*")
    for name, age in (("fresh", 60), ("abandoned", 7200)):
        path = folder / f".{name}.1.tmp"
        path.write_bytes(b"half a file")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    archive.compact("shop", NOON.date())
    assert len(archive.predictions(SHOP, SINCE, UNTIL)) == 3
    assert [path.name for path in folder.glob("*.tmp")] == [".fresh.1.tmp"]


def test_a_disk_that_fails_is_unavailable_and_nothing_half_written_stays(tmp_path: Path) -> None:
    limited = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from infra.archive import ParquetArchive; from tests.stores.log_records import prediction\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "ParquetArchive(Path(sys.argv[1])).append([prediction('p1')])\n"
    )
    run = subprocess.run([sys.executable, "-c", limited, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "contracts.errors.Unavailable: The archive in" in run.stderr
    assert "File too large." in run.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_in_the_way_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("a file")
    with pytest.raises(Unavailable, match="cannot be written"):
        ParquetArchive(tmp_path).append([prediction("p1")])


def test_a_record_that_fits_no_table_is_refused(tmp_path: Path) -> None:
    rows = {"ad_id": np.array(["a1", {"not": "text"}, "a3"], dtype=object)}
    with pytest.raises(InvalidInput, match="cannot hold"):
        ParquetArchive(tmp_path).append([replace(prediction("p1"), rows=rows)])
