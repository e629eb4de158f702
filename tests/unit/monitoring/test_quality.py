"""Quality is judged with the stated confidence, over predictions and not over rows."""

import math

import numpy as np
import pytest

from monitoring.quality import harmed, log_losses, mean_loss


def test_log_loss_of_a_row() -> None:
    losses = log_losses(np.array([1.0, 0.0]), np.array([0.25, 0.25]))
    assert losses == pytest.approx([-math.log(0.25), -math.log(0.75)])


def test_a_certain_and_wrong_score_costs_much_and_not_infinity() -> None:
    assert np.isfinite(log_losses(np.array([1.0]), np.array([0.0]))).all()


def test_no_rows_are_inconclusive() -> None:
    loss = mean_loss(np.array([]), np.array([], dtype=object), 0.99)
    assert loss.rows == 0
    assert harmed(loss, reference=0.3, margin=0.02, min_rows=1) is None


def test_one_prediction_alone_never_alarms() -> None:
    loss = mean_loss(np.full(5_000, 9.0), np.full(5_000, "p", dtype=object), 0.99)
    assert harmed(loss, reference=0.3, margin=0.02, min_rows=100) is False


def test_harm_is_found_when_the_whole_interval_lies_above_the_margin() -> None:
    random = np.random.default_rng(0)
    losses, predictions = random.exponential(0.5, 10_000), np.repeat(np.arange(2_500), 4).astype(object)
    loss = mean_loss(losses, predictions, 0.99)
    assert harmed(loss, reference=0.4, margin=0.02, min_rows=1_000) is True
    assert harmed(loss, reference=0.5, margin=0.02, min_rows=1_000) is False


def test_the_lower_bound_holds_as_often_as_it_says_when_rows_of_a_prediction_are_alike() -> None:
    random = np.random.default_rng(1)
    missed = missed_as_independent = 0
    for _ in range(2_000):
        shared = np.repeat(random.normal(size=300), 4)
        losses = 1.0 + shared + 0.1 * random.normal(size=1_200)
        missed += mean_loss(losses, np.repeat(np.arange(300), 4).astype(object), 0.95).low > 1.0
        missed_as_independent += mean_loss(losses, np.arange(1_200).astype(object), 0.95).low > 1.0
    # 2,000 draws of a 5% event: 3 standard errors are 1.5 points.
    assert missed / 2_000 == pytest.approx(0.05, abs=0.015)
    assert missed_as_independent / 2_000 > 0.15
