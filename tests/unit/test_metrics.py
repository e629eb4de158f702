"""Metrics of probabilities, held against what theory says of cases with a known answer."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from contracts.errors import InvalidInput
from pipelines.metrics import by_slice, calibration_error, measure, slices_of

GENERATOR = np.random.default_rng(0)
TRUTH = GENERATOR.beta(1, 8, 50_000)
Y = (GENERATOR.random(50_000) < TRUTH).astype(np.float64)


def test_the_base_rate_has_a_normalised_cross_entropy_of_one() -> None:
    found = measure(Y, np.full(len(Y), Y.mean()))
    assert found["normalised_cross_entropy"] == pytest.approx(1.0)
    assert found["roc_auc"] == 0.5
    assert found["calibration_error"] < 1e-2


def test_the_truth_is_better_than_the_base_rate_and_calibrated() -> None:
    found = measure(Y, TRUTH)
    assert found["normalised_cross_entropy"] < 0.95
    assert found["log_loss"] == pytest.approx(log_loss(Y, TRUTH))
    assert found["calibration_error"] < 0.01
    assert found["pr_auc"] > found["base_rate"]


def test_scores_twice_too_high_are_off_by_the_base_rate() -> None:
    assert calibration_error(Y, np.minimum(2 * TRUTH, 1)) == pytest.approx(TRUTH.mean(), rel=0.1)


def test_a_certain_mistake_costs_much_but_not_infinity() -> None:
    assert 10 < measure(np.array([1.0, 0.0]), np.array([0.0, 0.5]))["log_loss"] * 2 < 20


def test_with_one_label_only_what_needs_both_is_left_out() -> None:
    found = measure(np.zeros(10), np.full(10, 0.1))
    assert set(found) == {"rows", "base_rate", "log_loss", "calibration_error"}


@pytest.mark.parametrize(
    ("y", "scores", "said"),
    [
        (np.empty(0), np.empty(0), "no rows"),
        (np.zeros(2), np.zeros(3), "3 scores for 2 labels"),
        (np.zeros(2), np.array([0.5, np.nan]), "from 0 to 1"),
        (np.zeros(2), np.array([0.5, 1.5]), "from 0 to 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(y, scores, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput, match=said):
        measure(y, scores)


def test_slices_are_measured_on_their_own_rows() -> None:
    device = np.where(np.arange(len(Y)) % 2 == 0, "mobile", "desktop")
    device[:3] = "tablet"
    found = by_slice(Y, TRUTH, {"device": device}, min_rows=100)
    assert set(found) == {"device=mobile", "device=desktop"}
    assert found["device=mobile"] == measure(Y[device == "mobile"], TRUTH[device == "mobile"])


def test_a_slice_with_too_few_rows_is_left_out() -> None:
    assert slices_of({"device": np.array(["a", "a", "b"])}, min_rows=2).keys() == {"device=a"}
