"""What the monitor says of a window before its labels are in, and of those of its rows whose labels are."""

import math
import time
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from contracts.system import Floats
from monitoring import estimate as module
from monitoring.calibration_bins import calibration_bins, wilson
from monitoring.estimate import Estimated, estimated, served
from monitoring.holdout import HeldOut
from monitoring.judge import Window
from monitoring.quality import Rows, log_losses
from tests.stores.log_records import FEATURES, NOON, SHOP

PAGE = 4


def scored(count: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Features, the scores that follow from them, and labels that follow the scores."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, len(FEATURES)))
    scores = 1 / (1 + np.exp(1.5 - features[:, 0]))
    return features, scores, (random.random(count) < scores).astype(np.float64)


def held(count: int = 6_000) -> HeldOut:
    features, scores, labels = scored(count, 1)
    pages = np.array([f"h{number // PAGE}" for number in range(count)], dtype=object)
    return HeldOut(features.astype(np.float32), scores, labels, pages, np.arange(count, dtype=float), np.ones(count))


def window(count: int, seed: int = 2) -> Window:
    """A window's rows, one in five of which was not shown."""
    features, scores, labels = scored(count, seed)
    rows = pd.DataFrame(features.astype(np.float32), columns=list(FEATURES)).assign(
        prediction_id=[f"w{number // PAGE}" for number in range(count)],
        at=NOON.timestamp() + np.arange(count) / count,
        place=np.where(np.arange(count) % 5 == 0, -1, 0),
        propensity=1.0,
        score=scores,
        clicked=labels,
    )
    return Window(NOON, NOON + timedelta(hours=1), rows, rows)


def test_a_calm_window_is_estimated_near_what_its_labels_show() -> None:
    rows = window(4_000)
    found, shown = estimated(SHOP, held(), rows), rows.labelled[rows.labelled["place"] >= 0]
    realised = float(np.mean(log_losses(shown["clicked"].to_numpy(), shown["score"].to_numpy())))
    assert found.refusal == ""
    assert found.low < realised < found.high
    assert abs(found.loss - realised) < 0.03
    assert len(found.calibration) == 10
    assert sum(each.rows for each in found.calibration) == len(shown)


def test_a_window_that_is_too_small_is_refused_in_a_sentence_and_its_labels_are_shown_still() -> None:
    found = estimated(SHOP, held(), window(40))
    assert math.isnan(found.loss)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.refusal == "The window has 10 predictions, where 50 are needed; take a longer one."
    assert found.calibration


def test_a_window_without_rows_is_refused() -> None:
    found = estimated(SHOP, held(), window(0))
    assert found.refusal
    assert found.calibration == ()


def test_of_a_large_window_whole_predictions_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 400)
    kept = served(replace(SHOP), window(4_000).served)
    _, counts = np.unique(kept.predictions.astype(str), return_counts=True)
    assert 380 <= len(kept.scores) <= 420
    assert set(counts) <= {3, 4}  # a page of four rows, one of which may not have been shown


def test_a_full_window_takes_a_few_seconds() -> None:
    started = time.process_time()
    found = estimated(SHOP, held(40_000), window(40_000))
    assert isinstance(found, Estimated)
    assert found.refusal == ""
    assert time.process_time() - started < 5


def of(labels: Floats, scores: Floats, predictions: list[str] | None = None, weights: Floats | None = None) -> Rows:
    names = [str(number) for number in range(len(labels))] if predictions is None else predictions
    return Rows(labels, scores, np.array(names, dtype=object), np.ones(len(labels)) if weights is None else weights)


def test_bins_of_right_scores_hold_what_was_predicted_as_often_as_they_say() -> None:
    inside = []
    for seed in range(40):
        _, scores, labels = scored(2_000, 100 + seed)
        bins = calibration_bins(of(labels, scores))
        assert [each.rows for each in bins] == [200] * 10
        assert all(one.predicted < other.predicted for one, other in pairwise(bins))
        inside += [each.low <= each.predicted <= each.high for each in bins]
    assert 0.92 < np.mean(inside) < 0.98


def test_rows_that_repeat_within_predictions_make_no_interval_narrower() -> None:
    _, scores, labels = scored(500, 3)
    alone = calibration_bins(of(labels, scores))
    repeated = calibration_bins(
        of(np.repeat(labels, 6), np.repeat(scores, 6), [str(number) for number in np.repeat(np.arange(500), 6)])
    )
    for one, many in zip(alone, repeated, strict=True):
        assert many.predicted == pytest.approx(one.predicted)
        assert many.observed == pytest.approx(one.observed)
        assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.05)


def test_scores_that_are_tied_share_a_bin_and_weights_count() -> None:
    labels, weights = np.array([1.0, 0.0] * 50), np.array([3.0, 1.0] * 50)
    (only,) = calibration_bins(of(labels, np.full(100, 0.4), weights=weights))
    assert only.predicted == pytest.approx(0.4)
    assert (only.observed, only.rows) == (0.75, 100)
    assert only.low < 0.75 < only.high


def test_an_interval_of_no_events_begins_at_zero() -> None:
    low, high = wilson(0.0, 100.0)
    assert low == 0.0
    assert high == pytest.approx(0.0370, abs=1e-4)  # the published value of Wilson's interval for 0 of 100
