"""The newest findings at rest."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from contracts.findings import Bar, CalibrationBin, ColumnFinding, ParityFinding, WindowDetails
from infra.findings import FindingFiles

AT = datetime(2026, 3, 15, tzinfo=UTC)


def details(version: str) -> WindowDetails:
    column = ColumnFinding("age", "shifted", "shift", -0.4, 0.001, 0.1, 0.0, (Bar("< 20", 0.25, 0.5),))
    return WindowDetails("shop", AT, version, (column,), (CalibrationBin(0.1, 0.2, 0.15, 0.25, 400),))


def test_a_finding_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    files = FindingFiles(tmp_path)
    files.keep(details("1"))
    assert files.read(WindowDetails, "shop") == details("1")


def test_the_newest_one_replaces_the_one_before(tmp_path: Path) -> None:
    files = FindingFiles(tmp_path)
    files.keep(details("1"))
    files.keep(details("2"))
    found = files.read(WindowDetails, "shop")
    assert found is not None
    assert found.model_version == "2"
    assert len(list(tmp_path.iterdir())) == 1


def test_not_a_number_comes_back_as_such(tmp_path: Path) -> None:
    files = FindingFiles(tmp_path)
    (column,) = details("1").columns
    files.keep(replace(details("1"), columns=(replace(column, p_value=math.nan, state="inconclusive"),)))
    found = files.read(WindowDetails, "shop")
    assert found is not None
    assert math.isnan(found.columns[0].p_value)


def test_kinds_and_systems_are_kept_apart(tmp_path: Path) -> None:
    files = FindingFiles(tmp_path)
    files.keep(details("1"))
    assert files.read(ParityFinding, "shop") is None
    assert files.read(WindowDetails, "other") is None
