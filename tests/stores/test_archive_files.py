"""The archive on a disk: files that are merged, killed half way, in the way, or too many."""

import itertools
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contracts.errors import InvalidInput, Unavailable
from infra import archive_files
from infra.archive import ParquetArchive
from tests.stores.log_records import NOON, SHOP, outcome, prediction

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


def test_many_small_files_of_a_day_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_files, "MANY_FILES", 10)
    archive = ParquetArchive(tmp_path)
    for number in range(35):
        archive.append([prediction(f"p{number}"), outcome(f"p{number}")])
    assert len(list(tmp_path.rglob("*.parquet"))) < 20
    frame = archive.labelled(SHOP, SINCE, UNTIL, MATURE)
    assert (len(frame), frame["clicked"].sum()) == (70, 35)


def test_readers_beside_a_compaction_see_every_row_once(tmp_path: Path) -> None:
    writer, reader = ParquetArchive(tmp_path), ParquetArchive(tmp_path)
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            seen.append(len(reader.labelled(SHOP, SINCE, UNTIL, MATURE)))

    for number in range(20):
        writer.append([prediction(f"p{number}")])
    thread = threading.Thread(target=read)
    thread.start()
    deadline = time.monotonic() + 60
    try:
        for number in itertools.count():
            if number >= 12 and len(seen) > 3:
                break
            assert time.monotonic() < deadline, f"{len(seen)} reads in a minute"
            for part in range(6):
                writer.append([outcome(f"p{number % 20}", label=float(part % 2))])
                writer.append([prediction(f"p{part}")])
            writer.compact("shop", NOON.date())
    finally:
        done.set()
        thread.join()
    assert set(seen) == {40}


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
