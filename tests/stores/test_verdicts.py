"""Verdicts are read back as they were found, the inconclusive ones too."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.records import Verdict
from infra.verdicts import VerdictFile

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
FOUND = Verdict(
    system="ad_click", at=AT, since=AT - timedelta(hours=2), until=AT, model_version="3", labelled_rows=2_000,
    loss=0.31, loss_low=0.30, reference_loss=0.25, harmed=True, feature_rows=40_000, drifted_columns=("hour_sin",),
    drift_share=0.04, drifted=False, served_since=AT - timedelta(hours=1), concept_drifted=True, concept_evidence=12.0,
    concept_threshold=11.5, concept_since=AT - timedelta(hours=3), estimated_loss=0.26, estimated_low=0.24,
    estimated_high=0.28,
)  # fmt: skip


def test_the_latest_come_back_in_order(tmp_path: Path) -> None:
    verdicts = VerdictFile(tmp_path / "verdicts")
    for version in "123":
        verdicts.append(replace(FOUND, model_version=version))
    assert verdicts.read("ad_click", most=2) == [replace(FOUND, model_version=v) for v in "23"]


def test_the_latest_of_many_come_back_whole(tmp_path: Path) -> None:
    verdicts, effects = VerdictFile(tmp_path), {f"column_{number}": 0.1 for number in range(40)}
    written = [replace(FOUND, model_version=str(number), effects=effects) for number in range(100)]
    for each in written:
        verdicts.append(each)
    for most in (1, 7, 40, 100, 500):
        assert verdicts.read("ad_click", most) == written[-most:]


def test_an_inconclusive_one_stays_inconclusive(tmp_path: Path) -> None:
    verdicts = VerdictFile(tmp_path)
    verdicts.append(replace(FOUND, harmed=None, drifted=None, loss=math.nan))
    (found,) = verdicts.read("ad_click")
    assert found.harmed is None
    assert math.isnan(found.loss)


def test_a_line_that_a_crash_cut_off_costs_that_line_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    verdicts, path = VerdictFile(tmp_path), tmp_path / "ad_click.jsonl"
    verdicts.append(FOUND)
    path.write_bytes(path.read_bytes() + path.read_bytes()[:100])
    assert verdicts.read("ad_click") == [FOUND]
    assert "cut off" in caplog.text
    verdicts.append(replace(FOUND, model_version="4"))
    assert [each.model_version for each in verdicts.read("ad_click")] == ["3", "4"]
    assert [each.model_version for each in verdicts.read("ad_click", most=1)] == ["4"]


def test_a_system_without_verdicts_has_none(tmp_path: Path) -> None:
    assert VerdictFile(tmp_path).read("ad_click") == []
