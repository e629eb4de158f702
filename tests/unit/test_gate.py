"""The gate lets through what is surely good, and nothing else."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from contracts.errors import InvalidInput
from contracts.system import Gate
from pipelines.gate import Judgement, Rows, interval, judge

GATE = Gate(min_rows=2_000, margin=0.002, slice_margin=0.01, min_slice_rows=500)
NO_SLICES: dict[str, Any] = {}


class Case:
    """Hold-out rows with a known truth, and models of a known quality."""

    def __init__(self, rows: int = 20_000, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.logit = generator.normal(-2, 1, rows)
        self.truth = 1 / (1 + np.exp(-self.logit))
        self.y = (generator.random(rows) < self.truth).astype(np.float64)
        self.noise = generator.normal(size=rows)
        self.baselines = {"base_rate": np.full(rows, self.y.mean())}

    def model(self, noise: float) -> np.ndarray[Any, Any]:
        return 1 / (1 + np.exp(-(self.logit + noise * self.noise)))

    def judge(self, candidate, champion=None, slices=NO_SLICES, gate: Gate = GATE) -> Judgement:  # type: ignore[no-untyped-def]
        return judge(gate, Rows(self.y, slices), candidate, champion, self.baselines)


def test_a_first_model_that_beats_its_baselines_passes() -> None:
    found = Case().judge(Case().model(0.1))
    assert found.passed
    assert found.intervals["base_rate"].high < 0
    assert "beats the baseline base_rate" in found.reasons[0]


def test_a_model_that_learned_shuffled_labels_is_refused() -> None:
    case = Case()
    generator = np.random.default_rng(1)
    X = case.logit.reshape(-1, 1)
    regression = LogisticRegression().fit(X, generator.permutation(case.y))
    found = case.judge(regression.predict_proba(X)[:, 1])
    assert not found.passed
    assert "does not surely beat the baseline base_rate" in found.reasons[0]


def test_a_candidate_that_equals_the_champion_passes() -> None:
    case = Case()
    assert case.judge(case.model(0.1), case.model(0.1)).passed


def test_a_worse_candidate_is_refused() -> None:
    case = Case()
    found = case.judge(case.model(0.6), case.model(0.0))
    assert not found.passed
    assert "may be worse than the champion" in found.reasons[0]


def test_a_point_estimate_never_promotes() -> None:
    """Better on these rows by chance: the mean speaks for it, the interval does not."""
    case = Case(rows=2_000, seed=5)
    champion = case.model(0.3)
    generator = np.random.default_rng(8)
    candidates = (1 / (1 + np.exp(-(case.logit + 0.3 * generator.normal(size=2_000)))) for _ in range(100))
    found = next(
        each
        for each in (case.judge(one, champion, gate=replace(GATE, margin=0.0)) for one in candidates)
        if "champion" in each.intervals and each.intervals["champion"].mean < 0 < each.intervals["champion"].high
    )
    assert not found.passed


def test_when_the_world_changed_the_candidate_wins_over_the_old_champion() -> None:
    case = Case()
    found = case.judge(case.model(0.2), 1 / (1 + np.exp(case.logit + 4)))
    assert found.passed
    assert found.intervals["champion"].high < 0


def test_one_slice_that_fell_refuses_a_candidate_that_is_better_overall() -> None:
    case = Case()
    device = np.where(np.arange(20_000) % 10 == 0, "tablet", "mobile")
    candidate = np.where(device == "tablet", case.model(1.0), case.model(0.0))
    found = case.judge(candidate, case.model(0.5), {"device": device})
    assert found.intervals["champion"].high < 0
    assert not found.passed
    assert "worse than the champion on device=tablet" in found.reasons[0]


def test_a_slice_of_few_rows_has_no_say() -> None:
    case = Case()
    device = np.where(np.arange(20_000) < 400, "tablet", "mobile")
    candidate = np.where(device == "tablet", case.model(1.0), case.model(0.0))
    assert case.judge(candidate, case.model(0.5), {"device": device}).passed


def test_too_few_rows_are_refused_whatever_they_say() -> None:
    case = Case(rows=1_999)
    found = case.judge(case.model(0.0))
    assert (found.passed, found.reasons) == (
        False,
        ("The hold-out has 1,999 rows, and the gate asks for at least 2,000.",),
    )


def test_labels_that_are_all_the_same_are_refused() -> None:
    case = Case()
    case.y[:] = 0
    assert "All 20,000 labels" in case.judge(case.model(0.0)).reasons[0]


def test_scores_that_are_no_probabilities_are_an_error() -> None:
    case = Case()
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        case.judge(case.logit)


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        found = interval(generator.exponential(1.0, 500), replace(GATE, resamples=200))
        covered += found.low <= 1.0 <= found.high
    assert 0.9 <= covered / 200 <= 0.99


def test_sixty_thousand_rows_are_judged_in_seconds() -> None:
    case = Case(rows=60_000)
    device = np.arange(60_000) % 4
    started = time.process_time()
    case.judge(case.model(0.1), case.model(0.1), {"device": device})
    assert time.process_time() - started < 4
