"""A user's file goes in row by row: good rows become events, bad ones a line, a reason and what stood there."""

import csv
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import systems
from contracts.errors import InvalidInput
from contracts.system import System
from infra.events import EventTable
from pipelines import chunk, csv_rows, ingest
from pipelines.event_file import open_event_file
from pipelines.mapping import Mapping

AD_CLICK = systems.load("ad_click")
NOW = datetime(2025, 3, 2, tzinfo=UTC)
LONG_AGO, FAR = datetime(1980, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
MAPPING = {
    "id": "id",
    "time": {"column": "t"},
    "columns": {"user_id": "user", "ad_id": "ad", "clicked": "click", "bid": "bid"},
}
HEADER = "id,t,user,ad,click,bid\n"
GOOD = "1,2025-03-01T10:00:00,u1,a1,0,1.5\n"


def silent(line: str) -> None:
    """Nobody listens."""


class Desk:
    """A folder with one user's file, the event table and the reject files."""

    def __init__(self, folder: Path, system: System = AD_CLICK) -> None:
        self.folder, self.system, self.table = folder, system, EventTable(folder / "events")

    def take(self, content: str | bytes | Path, **mapping: object) -> ingest.Report:
        path = content if isinstance(content, Path) else self.folder / "log.csv"
        if isinstance(content, str | bytes):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        file = open_event_file(path, Mapping.model_validate({**MAPPING, **mapping}))
        return ingest.from_file(self.system, file, self.table, self.folder / "rejects", NOW, silent)

    def events(self) -> pd.DataFrame:
        return self.table.read(self.system, LONG_AGO, FAR)

    def rejects(self, report: ingest.Report) -> list[tuple[int, str, str]]:
        assert report.reject_file is not None
        with Path(report.reject_file).open(newline="") as file:
            return [(int(row["line"]), row["reason"], row["raw"]) for row in csv.DictReader(file)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_rows_become_events(desk: Desk) -> None:
    report = desk.take(HEADER + GOOD + "2,2025-03-01T10:00:01.25Z,u2,a2,1,2\n")
    assert (report.read, report.appended, report.already_there, report.rejected) == (2, 2, 0, {})
    assert report.reject_file is None
    first, second = desk.events().to_dict("records")
    assert first["at"] == datetime(2025, 3, 1, 10, tzinfo=UTC).timestamp()
    assert second["at"] - first["at"] == 1.25
    assert (second["impression_id"], second["user_id"], second["ad_id"]) == ("2", "u2", "a2")
    assert (second["bid"], second["clicked"]) == (2.0, 1.0)
    assert second["device"] == AD_CLICK.features.source.optional["device"]  # not mapped: its optional value


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("9,2025-03-01T10:00:00,,a1,0,1", "missing user_id"),
        ("9,2025-03-01T10:00:00,u1,a1,,1", "missing clicked"),
        ("9,2025-03-01T10:00:00,u1,a1,2,1", "clicked is not 0 or 1"),
        ("9,2025-03-01T10:00:00,u1,a1,yes,1", "clicked is not 0 or 1"),
        ("9,2025-03-01T10:00:00,u1,a1,nan,1", "clicked is not 0 or 1"),
        ("9,2025-03-01T10:00:00,u1,a1,1,NaN", "bid is NaN"),
        ("9,2025-03-01T10:00:00,u1,a1,1,dear", "bid is not a number"),
        ("9,2025-03-01T10:00:00,u1,a1,1,inf", "bid is infinite"),
        ("9,01.03.2025,u1,a1,1,1", "timestamp cannot be read as iso8601"),
        ("9,,u1,a1,1,1", "missing timestamp"),
        ("9,2025-03-03T00:00:00,u1,a1,1,1", "timestamp is in the future"),
        ("9,1970-01-20T00:00:00,u1,a1,1,1", "timestamp lies before 1980"),
        (f"9,2025-03-01T10:00:00,{'u' * 257},a1,1,1", "user_id is too long"),
        (f"{'9' * 257},2025-03-01T10:00:00,u1,a1,1,1", "id is too long"),
        (",2025-03-01T10:00:00,u1,a1,1,1", "missing id"),
        ("1,2025-03-01T11:00:00,u7,a7,1,1", "duplicate id within the file"),
        ("9,2025-03-01T10:00:00,u1,a1,1", "wrong number of fields"),
        ("9,2025-03-01T10:00:00,u1,a1,1,1,1", "wrong number of fields"),
        ('9,2025-03-01T10:00:00,"u"1,a1,1,1', "quotes do not match, or a field is too long"),
        ('9,2025-03-01T10:00:00,"u1,a1,1,1', "quotes do not match, or a field is too long"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_line_and_reason(desk: Desk, row: str, reason: str) -> None:
    last = GOOD.replace("1,2025", "3,2025")
    report = desk.take(HEADER + GOOD + row + "\n" + last)
    assert desk.rejects(report) == [(3, reason, row)]
    assert report.rejected == {reason: 1}
    assert list(desk.events()["impression_id"]) == ["1", "3"]


def test_a_rejected_row_does_not_take_its_id_with_it(desk: Desk) -> None:
    report = desk.take(HEADER + GOOD.replace("u1", "") + GOOD)
    assert report.rejected == {"missing user_id": 1}
    assert len(desk.events()) == 1


def test_a_duplicate_is_found_across_chunks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "ROWS", 2)
    rows = [GOOD.replace("1,2025", f"{number},2025") for number in (1, 2, 3, 4, 2, 5, 1, 6, 6)]
    report = desk.take(HEADER + "".join(rows))
    assert [line for line, _, _ in desk.rejects(report)] == [6, 8, 10]
    assert report.appended == 6


def test_lines_are_right_after_blank_lines_and_values_of_several_lines(desk: Desk) -> None:
    rows = '1,2025-03-01T10:00:00,"u\n""one""",a1,0,1\n\n\r\n2,bad,u1,a1,0,1\n3,2025-03-01T10:00:00,"open,a1,0,1\n'
    report = desk.take(HEADER + rows + GOOD.replace("1,2025", "4,2025"))
    assert [(line, reason.split()[0]) for line, reason, _ in desk.rejects(report)] == [(6, "timestamp"), (7, "quotes")]
    assert list(desk.events()["user_id"]) == ['u\n"one"', "u1"]


def test_quotes_make_no_difference(desk: Desk, tmp_path: Path) -> None:
    """Lines with quotes are split by the csv module and others by Arrow: the same table comes of both."""
    rows = ["1,2025-03-01T10:00:00,ü ,a1,0,1", "2,x,u,a,0,1", "3,2025-03-01T10:00:00, u,NULL,1,", "4", "1,2025,u,a,0,1"]
    plain = desk.take(HEADER + "\r\n".join(rows))
    quoted = Desk(tmp_path / "quoted")
    quoted.folder.mkdir()
    other = quoted.take("\ufeff" + HEADER + "\n".join(",".join(f'"{v}"' for v in row.split(",")) for row in rows))
    assert plain.rejected == other.rejected == {"timestamp cannot be read as iso8601": 1, **plain.rejected}
    pd.testing.assert_frame_equal(desk.events(), quoted.events())


def test_the_same_file_twice_changes_nothing(desk: Desk) -> None:
    content = HEADER + GOOD + "2,bad,u1,a1,0,1\n"
    first = desk.take(content)
    rejected = desk.rejects(first)
    second = desk.take(content)
    assert (second.read, second.appended, second.already_there) == (2, 0, 1)
    assert desk.rejects(second) == rejected
    assert len(list((desk.folder / "rejects").iterdir())) == 1
    assert len(desk.events()) == 1


def test_events_of_another_file_that_are_there_are_not_doubled(desk: Desk) -> None:
    desk.take(HEADER + GOOD)
    report = desk.take(HEADER + GOOD + GOOD.replace("1,2025", "2,2025"))
    assert (report.appended, report.already_there) == (1, 1)


def test_rejects_of_a_mended_mapping_go_away(desk: Desk) -> None:
    content = HEADER.replace("t,", "t,") + "1,01.03.2025 10,u1,a1,0,1\n"
    assert desk.take(content).rejected
    assert not desk.take(content, time={"column": "t", "format": "%d.%m.%Y %H"}).rejected
    assert list((desk.folder / "rejects").iterdir()) == []


def test_an_event_without_an_id_is_known_by_its_line(desk: Desk) -> None:
    desk.take(HEADER + GOOD + GOOD, id=None)
    ids = desk.events()["impression_id"]
    assert [one.rpartition("-")[2] for one in ids] == ["2", "3"]
    assert desk.take(HEADER + GOOD + GOOD, id=None).appended == 0


def test_an_id_may_be_made_of_several_columns(desk: Desk) -> None:
    rows = ["a:,2025-03-01T10:00:00,b,a1,0,1\n", "a,2025-03-01T10:00:00,:b,a1,0,1\n"]
    desk.take(HEADER + "".join(rows), id=["id", "user"])
    assert set(desk.events()["impression_id"]) == {"a%3A:b", "a:%3Ab"}


@pytest.mark.parametrize(
    ("given", "format", "timezone", "expected"),
    [
        ("25030110", "%y%m%d%H", "UTC", "2025-03-01T10:00:00+00:00"),
        ("25030110", "%y%m%d%H", "Asia/Kolkata", "2025-03-01T04:30:00+00:00"),
        ("1740823200.5", "epoch_seconds", "UTC", "2025-03-01T10:00:00.5+00:00"),
        ("1740823200500", "epoch_milliseconds", "UTC", "2025-03-01T10:00:00.5+00:00"),
        ("2025-03-01 10:00", "iso8601", "Europe/Berlin", "2025-03-01T09:00:00+00:00"),
        ("2025-03-01T10:00:00+02:00", "iso8601", "Europe/Berlin", "2025-03-01T08:00:00+00:00"),
        ("2025-03-01T10:00Z", "iso8601", "Europe/Berlin", "2025-03-01T10:00:00+00:00"),
        ("01/Mar/2025 10 -0500", "%d/%b/%Y %H %z", "UTC", "2025-03-01T15:00:00+00:00"),
        ("2024-10-27T02:30", "iso8601", "Europe/Berlin", "2024-10-27T00:30:00+00:00"),  # that hour came twice
        ("2024-03-31T02:30", "iso8601", "Europe/Berlin", "2024-03-31T01:00:00+00:00"),  # and that one never
    ],
)
def test_times(desk: Desk, given: str, format: str, timezone: str, expected: str) -> None:
    time = {"column": "t", "format": format, "timezone": timezone}
    assert desk.take(HEADER + GOOD.replace("2025-03-01T10:00:00", given), time=time).rejected == {}
    assert desk.events()["at"].tolist() == [datetime.fromisoformat(expected).timestamp()]


def test_values_are_translated(desk: Desk) -> None:
    device = {"column": "user", "values": {"1": "mobile", "2": "desktop"}}
    rows = "".join(GOOD.replace("1,2025", f"{i},2025").replace("u1", str(i)) for i in (1, 2, 3))
    report = desk.take(HEADER + rows, columns={**MAPPING["columns"], "device": device})  # type: ignore[dict-item]  # a dict
    assert report.rejected == {"no value of device is given for what stands there": 1}
    assert list(desk.events()["device"]) == ["mobile", "desktop"]


def test_a_default_stands_for_what_is_missing_or_unknown(desk: Desk) -> None:
    device = {"column": "user", "values": {"1": "mobile"}, "default": "desktop"}
    bid = {"column": "bid", "default": 7}
    rows = "1,2025-03-01T10:00:00,1,a1,0,\n2,2025-03-01T10:00:00,x,a1,0,3\n"
    assert not desk.take(HEADER + rows, columns={**MAPPING["columns"], "device": device, "bid": bid}).rejected  # type: ignore[dict-item]
    assert list(desk.events()["device"]) == ["mobile", "desktop"]
    assert list(desk.events()["bid"]) == [7.0, 3.0]


def test_columns_are_gathered_from_several(desk: Desk) -> None:
    columns = {
        **MAPPING["columns"],  # type: ignore[dict-item]  # a dict
        "category": {"first_of": ["user", "ad"], "unless": ["none"]},
        "placement": {"join": ["user", "ad"]},
        "bid": {"value": 2},
    }
    rows = "1,2025-03-01T10:00:00,none,a1,0,x\n2,2025-03-01T10:00:00,u/2,a2,0,x\n"
    assert not desk.take(HEADER + rows, columns=columns).rejected
    assert list(desk.events()["category"]) == ["a1", "u/2"]
    assert list(desk.events()["placement"]) == ["none/a1", "u%2F2/a2"]
    assert list(desk.events()["bid"]) == [2.0, 2.0]


def test_whole_numbers(tmp_path: Path) -> None:
    source = replace(AD_CLICK.features.source, columns={**AD_CLICK.features.source.columns, "slot": "integer"})
    desk = Desk(tmp_path, replace(AD_CLICK, features=replace(AD_CLICK.features, source=source)))
    rows = GOOD.replace("1.5", "2") + GOOD.replace("1,2025", "2,2025")
    report = desk.take(HEADER + rows, columns={**MAPPING["columns"], "slot": "bid"})  # type: ignore[dict-item]  # a dict
    assert report.rejected == {"slot is not a whole number": 1}
    assert desk.events()["slot"].tolist() == [2]


def test_a_header_may_be_given_by_the_mapping(desk: Desk) -> None:
    names = HEADER.strip().split(",")
    assert desk.take(GOOD, header=names).appended == 1
    report = desk.take(HEADER + GOOD, header=names)  # where the file has it after all, it is no row
    assert (report.read, report.already_there) == (1, 1)


def test_another_delimiter(desk: Desk) -> None:
    assert desk.take((HEADER + GOOD).replace(",", "\t"), delimiter="\t").appended == 1


def test_parquet_goes_the_same_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "ROWS", 2)
    table = {
        "id": pa.array([10, 11, 12, 12]),
        "t": pa.array([1_740_823_200_000_000 + n for n in range(4)], pa.timestamp("us", "UTC")),
        "user": pa.array(["u1", None, "u3", "u4"]).dictionary_encode(),
        "ad": pa.array([1.0, 2.0, 3.5, 4.0]),
        "click": pa.array([True, False, True, True]),
        "bid": pa.array([0.1, 0.2, None, 0.4]),
    }
    path = desk.folder / "log.parquet"
    pq.write_table(pa.table(table), path)
    report = desk.take(path)
    assert report.rejected == {"missing user_id": 1, "duplicate id within the file": 1}
    assert [line for line, _, _ in desk.rejects(report)] == [2, 4]
    events = desk.events()
    assert list(events["ad_id"]) == ["1", "3.5"]
    assert list(events["clicked"]) == [1.0, 1.0]
    assert list(events["bid"]) == [0.1, AD_CLICK.features.source.optional["bid"]]
    assert events["at"].tolist() == [1_740_823_200.0, 1_740_823_200.000002]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (HEADER.encode(), "has a header and no rows"),
        (b"\x1f\x8b\x08rest", "neither CSV nor Parquet"),
        (b"a,b\x00c\n", "neither CSV nor Parquet"),
        (b"PAR1 and no more", "a Parquet file that is not whole"),
        (HEADER.encode() + GOOD.encode() + "é".encode("latin-1"), "not UTF-8 at line 3"),
        (HEADER.replace("user", "usr").encode() + GOOD.encode(), r"names column 'user', .* Known: id, t, usr, ad"),
        (HEADER.replace("user", "id").encode() + GOOD.encode(), "names column 'id' twice"),
        (b'"id,t\n', "no header line that could be read"),
    ],
)
def test_a_file_that_cannot_be_used_as_a_whole(desk: Desk, content: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        desk.take(content)
    assert "\n" not in str(refused.value)
    assert desk.table.count(AD_CLICK) == 0


def test_a_file_that_is_not_there(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere.csv' cannot be read: No such file or directory\."):
        desk.take(desk.folder / "nowhere.csv")


def test_a_nested_column_cannot_be_mapped(desk: Desk) -> None:
    path = desk.folder / "log.parquet"
    table = {name: pa.array(["1"]) for name in HEADER.strip().split(",")} | {"user": pa.array([["u"]])}
    pq.write_table(pa.table(table), path)
    with pytest.raises(InvalidInput, match=r"Column 'user' of .* holds list<.*>; a mapped column holds plain values"):
        desk.take(path)


def test_every_row_is_accounted_for(desk: Desk) -> None:
    rows = [GOOD.replace("1,2025", f"{n % 400},2025").replace("u1", "" if n % 7 == 0 else "u") for n in range(1_000)]
    report = desk.take(HEADER + "".join(rows))
    assert report.read == 1_000 == report.appended + report.already_there + sum(report.rejected.values())
    assert Counter(reason for _, reason, _ in desk.rejects(report)) == report.rejected
