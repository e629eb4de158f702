"""Concept drift is found where outcomes no longer follow the scores, and not where only the base rate or mix moves."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contracts.errors import InvalidInput
from contracts.records import FEATURES_UNAVAILABLE, ModelVersion, OutcomeRecord, PredictionRecord
from contracts.system import Floats
from infra.archive import ParquetArchive
from infra.holdout_columns import LABEL, PREDICTION, SCORE, WEIGHT
from infra.memory_archive import MemoryArchive
from infra.settings import Settings
from monitoring import concept as judged
from monitoring.concept import Concept, concept, judge_concept, read_on
from monitoring.concept_drift.detector import alarm
from monitoring.concept_drift.overstatement import NORMAL, overstatements, spread_of
from monitoring.concept_drift.watch import LabelledRows, Watch, begin, follow
from monitoring.holdout import of
from monitoring.judge import Window
from tests.stores.log_records import DELAY, FEATURES, NOON, SHOP, prediction

PAGE = 5
CHAMPION = ModelVersion("shop", "3", "", "run", FEATURES, NOON, tags={"trained_at": NOON.isoformat()})
PATIENT = replace(SHOP, monitoring=replace(SHOP.monitoring, window=timedelta(hours=4), min_rows=500))
NOTHING = pd.DataFrame()


def odds_to_rate(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def rows(pages: int, seed: int, slope: float = 1.0, shift: float = 0.0, centre: float = -2.0) -> LabelledRows:
    """Pages whose labels follow the scores' log-odds with this slope about the centre, and lie `shift` higher."""
    random = np.random.default_rng(seed)
    odds = centre + random.normal(0, 0.8, pages * PAGE)
    labels = random.random(len(odds)) < odds_to_rate(centre + shift + slope * (odds - centre))
    numbers = np.repeat(np.arange(pages), PAGE)
    names = np.array([f"{seed}-{number}" for number in numbers], dtype=object)
    return LabelledRows(labels.astype(np.float64), odds_to_rate(odds), names, numbers.astype(np.float64))


def fresh() -> Watch:
    return begin(rows(2_000, 0), 100_000.0, 0.0)


def after(watch: Watch, found: LabelledRows) -> Watch:
    return follow(watch, found, 0.2, float(found.at[-1]))


@pytest.mark.parametrize("centre", [-5.0, -2.0, 0.0, 1.0])
def test_the_value_of_right_scores_is_normal_on_average_whichever_rows_are_looked_at(centre: float) -> None:
    odds = np.linspace(centre - 3, centre + 3, 50)
    scores, spread = odds_to_rate(odds), spread_of(odds_to_rate(np.random.default_rng(0).normal(centre, 1, 5_000)))
    present, absent = (overstatements(np.full(50, label), scores, spread) for label in (1.0, 0.0))
    np.testing.assert_allclose(scores * present + (1 - scores) * absent, NORMAL, atol=1e-12)
    assert min(present.min(), absent.min()) >= 0
    assert max(present.max(), absent.max()) <= 1


@pytest.mark.parametrize("centre", [-4.0, -2.0, 0.5])
def test_a_base_rate_that_rises_or_falls_moves_the_value_by_little_and_a_lost_slope_by_much(centre: float) -> None:
    odds = np.random.default_rng(1).normal(centre, 1.0, 100_000)
    scores, spread = odds_to_rate(odds), spread_of(odds_to_rate(odds))

    def expected(truth: Floats) -> float:
        present, absent = (overstatements(np.full(len(odds), label), scores, spread) for label in (1.0, 0.0))
        return float(np.mean(truth * present + (1 - truth) * absent)) - NORMAL

    lost = expected(odds_to_rate(centre + 0.3 * (odds - centre)))
    for shift in (-0.3, 0.3):
        assert abs(expected(odds_to_rate(odds + shift))) < 0.15 * lost


def test_scores_that_are_a_little_too_far_apart_are_allowed() -> None:
    odds = np.random.default_rng(2).normal(-2, 1, 100_000)
    scores, truth = odds_to_rate(odds), odds_to_rate(-2 + 0.85 * (odds + 2))
    labels = (np.random.default_rng(3).random(len(odds)) < truth).astype(np.float64)
    spread = spread_of(scores)
    assert overstatements(labels, scores, spread, 0.2).mean() < NORMAL < overstatements(labels, scores, spread).mean()


def test_calm_days_with_a_base_rate_of_their_own_give_no_alarm() -> None:
    """100,000 predictions; for each thousand the log-odds of all labels lie up to 0.4 away from the scores'."""
    watch, shifts = fresh(), np.random.default_rng(4).uniform(-0.4, 0.4, 100)
    for seed, shift in enumerate(shifts):
        watch = after(watch, rows(1_000, 100 + seed, shift=float(shift)))
    assert watch.detector.seen == 100_000
    assert not alarm(watch.detector)


def test_outcomes_that_no_longer_follow_the_scores_are_found_soon() -> None:
    delays = []
    for seed in range(20):
        calm = after(fresh(), rows(1_000, 300 + seed))
        drifted = after(calm, rows(3_000, 400 + seed, slope=-0.5)).detector
        assert drifted.alarm is not None
        delays.append(drifted.alarm.number - 1_000)
    assert min(delays) > 0
    assert np.median(delays) < 250
    assert max(delays) < 500


def test_how_the_scores_lie_is_learned_from_the_first_rows_and_then_stays() -> None:
    known = after(fresh(), rows(4_000, 5))
    later = after(known, rows(100, 6, centre=1.0))
    assert later.spread is known.spread
    assert known.spread is not None
    assert known.spread.mass.sum() > 0


def test_a_watch_is_the_same_after_it_was_kept() -> None:
    watch = after(fresh(), rows(300, 7, slope=0.0))
    again = Watch.load(watch.dump())
    assert again.dump() == watch.dump()
    assert after(again, rows(50, 8)).dump() == after(watch, rows(50, 8)).dump()
    unread = fresh()
    assert Watch.load(unread.dump()) == unread


def test_a_hold_out_that_is_too_small_says_nothing() -> None:
    with pytest.raises(InvalidInput, match="too small"):
        begin(rows(0, 0), 100_000.0, 0.0)


# Over the log.


def logged(pages: int, slope: float, hours: float = 8.0) -> list[PredictionRecord | OutcomeRecord]:
    """Answers of version 3 over the hours after noon, and their clicks a minute later."""
    found, made = rows(pages, 9, slope), list[PredictionRecord | OutcomeRecord]()
    for page in range(pages):
        mine, at = slice(page * PAGE, (page + 1) * PAGE), NOON + page * timedelta(hours=hours) / pages
        ads = [f"a{number}" for number in range(PAGE)]
        record = prediction(f"p{page}", at, ads, range(PAGE))
        made.append(replace(record, scores=found.scores[mine], propensity=np.ones(PAGE), degraded=()))
        for ad in np.array(ads)[found.labels[mine] > 0]:
            clicked = at + timedelta(minutes=1)
            made.append(OutcomeRecord(f"p{page}", "shop", str(ad), 1.0, clicked, clicked))
    return made


@pytest.fixture(scope="module")
def drifted() -> MemoryArchive:
    archive = MemoryArchive()
    archive.append(logged(400, -0.5))
    return archive


def test_every_label_is_read_once_however_often_the_monitor_runs(drifted: MemoryArchive) -> None:
    now, watch = NOON + timedelta(hours=9), begin(rows(2_000, 0), 1e5, NOON.timestamp())
    at_once = read_on(drifted, PATIENT, CHAMPION, watch, now)
    for minutes in (0, 5, 130, 130, 240, 400, 540):
        watch = read_on(drifted, PATIENT, CHAMPION, watch, NOON + timedelta(minutes=minutes))
    assert watch.detector.seen == at_once.detector.seen == 400
    assert watch.rows == at_once.rows == 400 * PAGE
    assert watch.until == at_once.until
    assert concept(PATIENT, watch).drifted is concept(PATIENT, at_once).drifted is True


def test_labels_that_may_still_change_wait(drifted: MemoryArchive) -> None:
    watch = begin(rows(2_000, 0), 1e5, NOON.timestamp())
    read = read_on(drifted, PATIENT, CHAMPION, watch, NOON + DELAY)
    assert read.detector.seen == 1
    assert concept(PATIENT, read) == Concept(None, read.detector.log_evidence, read.detector.rules.threshold, 1, None)


def test_answers_of_others_and_those_without_features_say_nothing_of_the_champion() -> None:
    archive = MemoryArchive()
    answers = [record for record in logged(30, 1.0) if isinstance(record, PredictionRecord)]
    others = [replace(record, model_version="2") for record in answers[:10]]
    blind = [replace(record, degraded=(FEATURES_UNAVAILABLE,)) for record in answers[10:15]]
    archive.append([*others, *blind, *answers[15:]])
    watch = begin(rows(2_000, 0), 1e5, NOON.timestamp())
    assert read_on(archive, PATIENT, CHAMPION, watch, NOON + timedelta(hours=9)).detector.seen == 15


def test_what_is_too_much_for_one_run_is_left_to_the_next(
    drifted: MemoryArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged, "MOST_ROWS", 100)
    now, watch = NOON + timedelta(hours=9), begin(rows(2_000, 0), 1e5, NOON.timestamp())
    first = read_on(drifted, PATIENT, CHAMPION, watch, now)
    assert first.detector.seen == 200  # the first of three windows of four hours
    assert read_on(drifted, PATIENT, CHAMPION, first, now).detector.seen == 400


def test_the_monitor_reads_on_from_what_it_kept_and_its_alarm_stands(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    ParquetArchive(tmp_path / "log").append(logged(400, -0.5))
    kept = tmp_path / "verdicts" / "concept" / "shop.3.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(begin(rows(2_000, 0), 1e5, NOON.timestamp()).dump(), encoding="utf-8")
    early, late = (
        judge_concept(settings, PATIENT, CHAMPION, Window(NOON, NOON + timedelta(hours=hours), NOTHING, NOTHING))
        for hours in (1, 9)
    )
    assert early.drifted is None
    assert 0 < early.labels < late.labels == 400
    assert late.drifted is True
    assert late.evidence >= late.threshold
    assert late.since is not None
    assert NOON <= late.since < NOON + timedelta(hours=4)
    again = judge_concept(settings, PATIENT, CHAMPION, Window(NOON, NOON + timedelta(hours=9), NOTHING, NOTHING))
    assert again == late
    assert [path.name for path in kept.parent.iterdir()] == ["shop.3.json"]


def test_a_state_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    settings.path("verdicts", "concept", "shop.3.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"shop\.3\.json does not hold .* delete it"):
        judge_concept(settings, PATIENT, CHAMPION, Window(NOON, NOON, NOTHING, NOTHING))


def test_a_hold_out_of_an_older_release_is_told_apart() -> None:
    names = [*FEATURES, PREDICTION, "at", LABEL, WEIGHT, f"{SCORE}none"]
    table = pd.DataFrame({name: [1.0, 2.0] for name in names})
    assert of(SHOP, CHAMPION, table).features.shape == (2, len(FEATURES))
    with pytest.raises(InvalidInput, match=r"no column 'prediction_id'.*train the system again"):
        of(SHOP, CHAMPION, table.drop(columns=PREDICTION))
