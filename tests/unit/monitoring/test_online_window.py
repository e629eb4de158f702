"""A system's online metrics over a week of its log, read in pieces, are those of the whole."""

from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from contracts.findings import OnlineFigure
from contracts.online_metric import OnlineMetric
from contracts.records import ModelVersion, PredictionRecord
from contracts.system import Columns, Floats, System
from infra.archive import ParquetArchive
from infra.findings import FindingFiles
from monitoring.online import gathered, measure, measured
from monitoring.online_window import OFFLINE, SPAN, figures, in_words, read
from tests.stores.log_records import DELAY, NOON, SHOP, outcome, prediction

HOUR = timedelta(hours=1)
NOW = NOON + timedelta(days=6)


def clicks(rows: Columns) -> tuple[Floats, Floats]:
    return rows["clicked"], np.ones(len(rows["clicked"]))


def shown(rows: Columns) -> tuple[Floats, Floats]:
    return np.asarray(rows["place"] >= 0, np.float64), np.ones(len(rows["place"]))


def second_ads(rows: Columns) -> tuple[Floats, Floats]:
    """Of a place that no row has: there is nothing to divide by."""
    return rows["clicked"], np.asarray(rows["place"] == 99, np.float64)


CLICK_RATE = OnlineMetric("click-through rate", "share", clicks, "higher")
SHOWN = OnlineMetric("share shown", "share", shown, "higher", over="answers")
NOTHING = OnlineMetric("clicks of the hundredth place", "share", second_ads, "higher")


def shop(*metrics: OnlineMetric) -> System:
    """The shop, judged in windows of two hours, with slices by ad."""
    return replace(
        SHOP,
        requirements=replace(SHOP.requirements, online_metrics=metrics),
        monitoring=replace(SHOP.monitoring, window=2 * HOUR),
        training=replace(SHOP.training, slices=("ad_id",)),
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> ParquetArchive:
    """Six days of answers, in every hour of which several; version 2 answers from the third day on, and earns more."""
    made, random = ParquetArchive(tmp_path_factory.mktemp("log")), np.random.default_rng(0)
    records: list[PredictionRecord] = []
    told = []
    for number in range(900):
        at = NOON + number * timedelta(days=6) / 900
        version = "1" if number < 450 else "2"
        records.append(replace(prediction(f"p{number}", at), model_version=version))
        if random.random() < (0.2 if version == "1" else 0.5):
            told.append(
                replace(outcome(f"p{number}", "a1", 1.0), occurred_at=at + DELAY / 2, received_at=at + DELAY / 2)
            )
    made.append([*records, *told])
    return made


def versions(*losses: float) -> Sequence[ModelVersion]:
    return [
        ModelVersion("shop", str(number), "", "", (), NOON, {OFFLINE: loss})
        for number, loss in enumerate(losses, start=1)
    ]


def of_all(found: Sequence[OnlineFigure], metric: str) -> dict[str, OnlineFigure]:
    return {each.version: each for each in found if (each.metric, each.slice) == (metric, "")}


def test_a_week_in_pieces_is_the_week_at_once(archive: ParquetArchive) -> None:
    system = shop(CLICK_RATE, SHOWN)
    tallies, since = read(system, archive, NOW)
    in_pieces = measured(system.requirements.online_metrics, tallies)
    at_once = measure(system.requirements.online_metrics, gathered(system, archive, (NOW - SPAN, NOW), NOW), ("ad_id",))
    assert since == NOW - SPAN
    assert len(in_pieces) > 6
    for piecewise, once in zip(in_pieces, at_once, strict=True):
        assert (piecewise.metric, piecewise.version, piecewise.slice) == (once.metric, once.version, once.slice)
        assert (piecewise.since, piecewise.until) == (once.since, once.until)
        assert astuple(piecewise.estimate) == pytest.approx(astuple(once.estimate), rel=1e-9, nan_ok=True)


def test_figures_are_by_version_and_slice_and_have_their_intervals(archive: ParquetArchive) -> None:
    found = figures(shop(CLICK_RATE, SHOWN), archive, versions(0.9, 0.7), NOW)
    rates = of_all(found.figures, "click-through rate")
    assert set(rates) == {"1", "2"}
    for version, rate in (("1", 0.1), ("2", 0.25)):  # of two shown ads one is clicked
        low, high = rates[version].low, rates[version].high
        assert low is not None
        assert high is not None
        assert low < rate < high
    assert of_all(found.figures, "share shown")["1"].value == pytest.approx(2 / 3)
    assert {each.slice for each in found.figures} == {"", "ad_id = a1", "ad_id = a2", "ad_id = a3"}


def test_agreement_with_the_hold_outs_is_a_sentence_a_metric(archive: ParquetArchive) -> None:
    alike = figures(shop(CLICK_RATE), archive, versions(0.9, 0.7), NOW).agreement
    opposite = figures(shop(CLICK_RATE), archive, versions(0.7, 0.9), NOW).agreement
    assert len(alike) == len(opposite) == 1
    assert "order 2 versions alike: Kendall's tau +1.00" in alike[0]
    assert "They answered at different times" in alike[0]
    assert "order 2 versions the other way round" in opposite[0]


def test_a_metric_without_anything_to_divide_by_is_left_out(archive: ParquetArchive, tmp_path: Path) -> None:
    found = figures(shop(CLICK_RATE, NOTHING), archive, versions(0.9, 0.7), NOW)
    assert {each.metric for each in found.figures} == {"click-through rate"}
    assert "cannot be said" in found.agreement[1]
    FindingFiles(tmp_path).keep(found)
    assert FindingFiles(tmp_path).read(type(found), "shop") == found


def test_reading_ends_with_the_piece_that_has_enough_rows(archive: ParquetArchive) -> None:
    system = shop(SHOWN)
    tallies, since = read(system, archive, NOW, most=90)  # 18.75 rows an hour: after 2 hours and 4 more
    rows = sum(found.sums.rows for cell, found in tallies.items() if cell.slice == "")
    assert since == NOW - 6 * HOUR
    assert rows == pytest.approx(6 * 900 * 3 / 144, abs=3)


def test_an_empty_log_is_said_to_be(tmp_path: Path) -> None:
    found = figures(shop(CLICK_RATE), ParquetArchive(tmp_path), [], NOW)
    assert found.figures == ()
    assert in_words(found)[0].startswith("Nothing was answered since")
