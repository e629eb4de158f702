"""Quality is judged with the stated confidence, over predictions and not over rows."""

import math

import numpy as np
import pytest

from monitoring.quality import Rows, harmed, log_losses, loss_of, lower_bound


def test_log_loss_of_a_row() -> None:
    losses = log_losses(np.array([1.0, 0.0]), np.array([0.25, 0.25]))
    assert losses == pytest.approx([-math.log(0.25), -math.log(0.75)])


def test_a_certain_and_wrong_score_costs_much_and_not_infinity() -> None:
    assert np.isfinite(log_losses(np.array([1.0]), np.array([0.0]))).all()


def drawn(rate: float, rows: int, lift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Labels with log-odds around those of `rate`, scores whose log-odds are off by `lift`, four rows a prediction."""
    random = np.random.default_rng(0)
    odds = math.log(rate / (1 - rate)) + random.normal(size=rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    return labels, 1 / (1 + np.exp(-odds - lift)), (np.arange(rows) // 4).astype(object)


def whole(labels, scores, predictions) -> Rows:  # type: ignore[no-untyped-def]
    """Rows that each stand for themselves."""
    return Rows(labels, scores, predictions, np.ones(len(labels)))


def normalised(labels: np.ndarray, scores: np.ndarray) -> float:  # type: ignore[type-arg]
    rate = labels.mean()
    return float(log_losses(labels, scores).mean() / -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate)))


def test_no_rows_are_inconclusive() -> None:
    loss = loss_of(whole(np.array([]), np.array([]), np.array([], dtype=object)), 0.9, 0.99)
    assert loss.rows == 0
    assert harmed(loss, margin=0.02, min_rows=1) is None


def test_one_prediction_alone_never_alarms() -> None:
    labels, scores, _ = drawn(0.1, 5_000, lift=3.0)
    loss = loss_of(whole(labels, scores, np.full(5_000, "p", dtype=object)), 0.9, 0.99)
    assert harmed(loss, margin=0.02, min_rows=100) is False


def test_harm_is_found_when_the_whole_interval_lies_above_the_margin() -> None:
    as_good = normalised(*drawn(0.1, 40_000)[:2])
    assert harmed(loss_of(whole(*drawn(0.1, 10_000)), as_good, 0.99), margin=0.02, min_rows=1_000) is False
    assert harmed(loss_of(whole(*drawn(0.1, 10_000, lift=1.0)), as_good, 0.99), margin=0.02, min_rows=1_000) is True


def test_a_model_that_got_worse_is_found_though_its_log_loss_fell_with_the_base_rate() -> None:
    calm = drawn(0.2, 40_000)
    worse = drawn(0.05, 10_000, lift=1.2)
    assert log_losses(*worse[:2]).mean() < log_losses(*calm[:2]).mean()
    assert harmed(loss_of(whole(*worse), normalised(*calm[:2]), 0.99), margin=0.02, min_rows=1_000) is True


def test_a_base_rate_that_rises_is_no_harm_to_a_model_that_knows_it() -> None:
    as_good = normalised(*drawn(0.05, 40_000)[:2])
    loss = loss_of(whole(*drawn(0.2, 10_000)), as_good, 0.99)
    assert loss.mean > 2 * log_losses(*drawn(0.05, 40_000)[:2]).mean()
    assert harmed(loss, margin=0.02, min_rows=1_000) is False


def test_one_label_alone_gives_no_infinity() -> None:
    loss = loss_of(whole(np.zeros(100), np.full(100, 0.01), np.arange(100).astype(object)), 0.9, 0.99)
    assert math.isfinite(loss.low)


def test_the_lower_bound_holds_as_often_as_it_says_when_rows_of_a_prediction_are_alike() -> None:
    random = np.random.default_rng(1)
    missed = missed_as_independent = 0
    for _ in range(2_000):
        shared = np.repeat(random.normal(size=300), 4)
        losses = 1.0 + shared + 0.1 * random.normal(size=1_200)
        missed += lower_bound(losses, np.repeat(np.arange(300), 4).astype(object), np.ones(1_200), 0.95) > 1.0
        missed_as_independent += lower_bound(losses, np.arange(1_200).astype(object), np.ones(1_200), 0.95) > 1.0
    # 2,000 draws of a 5% event: 3 standard errors are 1.5 points.
    assert missed / 2_000 == pytest.approx(0.05, abs=0.015)
    assert missed_as_independent / 2_000 > 0.15


def test_the_bound_holds_when_the_base_rate_is_estimated_from_the_same_rows() -> None:
    random = np.random.default_rng(2)
    population = 1 / (1 + np.exp(2.2 - random.normal(size=400_000)))
    as_good = normalised((random.random(400_000) < population).astype(float), population)
    missed = 0
    for _ in range(2_000):
        scores = random.choice(population, 1_000)
        labels = (random.random(1_000) < scores).astype(float)
        loss = loss_of(whole(labels, scores, np.arange(1_000).astype(object)), as_good, 0.95)
        missed += loss.low > loss.reference
    assert missed / 2_000 == pytest.approx(0.05, abs=0.02)  # 3 standard errors, and the population's own
