"""Where the answer decides whether there will be a label, the labelled rows still measure all that were asked for."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from contracts.records import OutcomeRecord, PredictionRecord
from contracts.system import Gate, System
from infra.importance import MOST, importance
from infra.memory_archive import MemoryArchive
from monitoring.judge import Window, measured
from monitoring.quality import harmed, log_losses, loss_of
from pipelines.gate import Rows, interval
from pipelines.metrics import calibration_error, measure
from pipelines.training_rows import assemble, decay, logged, split
from tests.stores.log_records import DELAY, NOON, SHOP, prediction

EXPLORED = 0.05  # of the declined, this share is let through
LIMIT = 0.3  # what is scored higher is declined
HOUR = timedelta(hours=1)
CENSORED: System = replace(
    SHOP,
    task=replace(SHOP.task, item=None, censored=True),
    training=replace(SHOP.training, max_rows=100, half_life=timedelta(days=365), window=HOUR),
)
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Policy:
    """A population with scores that are off where they are high, and what a policy that declines by score shows."""

    labels: Values
    scores: Values
    shown: NDArray[np.bool_]
    propensity: Values

    @property
    def weights(self) -> Values:
        return np.asarray(1 / self.propensity[self.shown])

    @classmethod
    def at_work(cls, rows: int, seed: int) -> "Policy":
        random = np.random.default_rng(seed)
        truth = 1 / (1 + np.exp(2.5 - 1.5 * random.normal(size=rows)))
        labels = (random.random(rows) < truth).astype(float)
        scores = np.where(truth < 0.2, truth, np.minimum(2 * truth, 0.98))
        propensity = np.where(scores > LIMIT, EXPLORED, 1.0)
        return cls(labels, scores, random.random(rows) < propensity, propensity)


def test_the_weighted_metrics_of_what_was_shown_are_those_of_all_that_was_asked_for() -> None:
    drawn = [Policy.at_work(4_000, seed) for seed in range(300)]
    whole = [measure(each.labels, each.scores) for each in drawn]
    plain = [measure(each.labels[each.shown], each.scores[each.shown]) for each in drawn]
    weighted = [measure(each.labels[each.shown], each.scores[each.shown], each.weights) for each in drawn]
    for name in ("log_loss", "base_rate", "normalised_cross_entropy", "roc_auc", "pr_auc"):
        gaps, naive = (
            np.array([one[name] - all_[name] for one, all_ in zip(some, whole, strict=True)])
            for some in (weighted, plain)
        )
        error = gaps.std() / np.sqrt(len(gaps))
        # A ratio of means is unbiased up to a term in one over the rows: half a percent of the value is left for it.
        assert abs(gaps.mean()) < 3 * error + 0.005 * np.mean([each[name] for each in whole]), name
        assert abs(naive.mean()) > 5 * error, f"{name}: without weights it is off"


def test_without_weights_a_metric_is_what_it_was_and_whole_numbers_count_as_rows() -> None:
    policy = Policy.at_work(2_000, 0)
    times = np.random.default_rng(1).integers(1, 4, 2_000)
    repeated = [np.repeat(each, times) for each in (policy.labels, policy.scores)]
    weighted, spelled_out = measure(policy.labels, policy.scores, times.astype(float)), measure(*repeated)
    for name in ("base_rate", "log_loss", "normalised_cross_entropy", "roc_auc", "pr_auc"):
        assert weighted[name] == pytest.approx(spelled_out[name]), name
    assert measure(policy.labels, policy.scores, np.full(2_000, 7.0)) == pytest.approx(
        measure(policy.labels, policy.scores)
    )
    one_bin = calibration_error(policy.labels, policy.scores, times.astype(float), bins=1)
    assert one_bin == pytest.approx(calibration_error(*repeated, bins=1))


def test_the_gates_interval_holds_the_populations_difference_as_often_as_it_says() -> None:
    gate = Gate(1, 0.0, 0.0, 1, confidence=0.9, resamples=200)
    big = Policy.at_work(1_000_000, 99)
    truth = float((log_losses(big.labels, big.scores) - log_losses(big.labels, np.full(10**6, 0.12))).mean())
    held = naively = 0
    for seed in range(300):
        policy = Policy.at_work(3_000, seed)
        worse = (log_losses(policy.labels, policy.scores) - log_losses(policy.labels, np.full(3_000, 0.12)))[
            policy.shown
        ]
        found, naive = interval(worse, gate, policy.weights), interval(worse, gate)
        held += found.low <= truth <= found.high
        naively += naive.low <= truth <= naive.high
    # 300 draws of a 90 % event: 3 standard errors are 5 points; bootstrap intervals of skew sums fall short by a few.
    assert held / 300 > 0.81, held
    assert naively / 300 < 0.5, naively


def test_the_monitors_bound_holds_under_weights_and_harm_among_the_declined_is_found() -> None:
    big = Policy.at_work(1_000_000, 99)
    as_good = measure(big.labels, big.scores)["normalised_cross_entropy"]
    missed = 0
    for seed in range(600):
        policy = Policy.at_work(3_000, seed)
        loss = loss_of(judged(policy), as_good, 0.95)
        missed += loss.low > loss.reference
    # 600 draws of a 5 % event: 3 standard errors are 2.7 points.
    assert missed / 600 == pytest.approx(0.05, abs=0.027)
    fresh = Policy.at_work(30_000, 7)
    turned = replace(fresh, labels=np.where(fresh.scores > LIMIT, 0.0, fresh.labels))  # the declined are good now
    assert harmed(loss_of(judged(fresh), as_good, 0.99), margin=0.02, min_rows=100) is False
    assert harmed(loss_of(judged(turned), as_good, 0.99), margin=0.02, min_rows=100) is True


def judged(policy: Policy) -> Any:
    from monitoring.quality import Rows as Window

    kept = policy.shown
    return Window(policy.labels[kept], policy.scores[kept], np.flatnonzero(kept).astype(object), policy.weights)


def payment(name: str, propensity: float | None, at: Any = NOON) -> PredictionRecord:
    """One decision: shown with a propensity, or declined."""
    made = prediction(name, at, ads=("a1",), shown=() if propensity is None else (0,))
    return replace(made, propensity=np.array([] if propensity is None else [propensity]), degraded=())


def reviewed(name: str, label: float, at: Any = NOON) -> OutcomeRecord:
    return OutcomeRecord(name, "shop", None, label, at, at, "review")


@pytest.fixture
def archive() -> MemoryArchive:
    """Matured rows of each kind, and a young one that a reviewer judged."""
    archive, young = MemoryArchive(), NOON + DELAY
    archive.append([payment("always", 1.0), payment("explored", 0.02), payment("rarest", 0.001)])
    archive.append([payment("declined", None), payment("reviewed", None), reviewed("reviewed", 1.0)])
    archive.append([payment("young", 1.0, young), reviewed("young", 1.0, young), payment("younger", 1.0, young)])
    archive.append([OutcomeRecord("explored", "shop", None, 1.0, NOON, NOON)])
    return archive


def test_rows_stand_for_one_over_their_propensity_and_a_reviewers_choice_for_nobody(archive: MemoryArchive) -> None:
    rows = logged(CENSORED, archive, NOON + DELAY + timedelta(seconds=1)).set_index("prediction_id", drop=False)
    made = dict(zip(rows["prediction_id"], importance(CENSORED, rows, np.inf), strict=True))
    assert made == {"always": 1.0, "explored": 50.0, "rarest": MOST, "reviewed": 0.0, "young": 0.0}
    assert rows["clicked"].to_dict() == {"always": 0, "explored": 1, "rarest": 0, "reviewed": 1, "young": 1}


def test_where_nothing_is_censored_every_shown_row_stands_for_itself(archive: MemoryArchive) -> None:
    open_to_all = replace(CENSORED, task=replace(CENSORED.task, censored=False))
    rows = logged(open_to_all, archive, NOON + DELAY + timedelta(seconds=1))
    made = dict(zip(rows["prediction_id"], importance(open_to_all, rows, np.inf), strict=True))
    assert made == {"always": 1.0, "explored": 1.0, "rarest": 1.0, "reviewed": 0.0, "young": 0.0}


def test_training_learns_from_reviewed_rows_and_measures_on_what_stands_for_others(archive: MemoryArchive) -> None:
    rows = assemble(CENSORED, logged(CENSORED, archive, NOON + DELAY + timedelta(seconds=1)), "log")
    assert rows.weights.mean() == pytest.approx(1.0)
    assert (rows.weights / rows.weights.min()).round(3).tolist() == [1.0, 50.0, MOST, 1.0, 1.0]
    older, newest = split(rows, 0.5)
    assert (len(older), len(newest)) == (4, 0), "the newest row is a reviewer's"
    assert older.importance.tolist() == [1.0, 50.0, MOST, 0.0]


def test_history_has_no_propensities_and_weighs_by_age_alone() -> None:
    frame = pd.DataFrame({name: [0.5, 1.5] for name in CENSORED.features.names})
    rows = assemble(CENSORED, frame.assign(at=[1e9, 1e9 + 60], clicked=[0.0, 1.0]), "history")
    assert rows.importance.tolist() == [1.0, 1.0]
    assert np.allclose(rows.weights, decay(rows.at, CENSORED.training.half_life))


def test_monitoring_judges_shown_rows_alone_by_what_they_stand_for(archive: MemoryArchive) -> None:
    now = NOON + DELAY + timedelta(seconds=1)
    labelled = archive.labelled(CENSORED, NOON - HOUR, now, now)
    assert set(labelled["prediction_id"]) >= {"reviewed", "young"}
    rows = measured(CENSORED, Window(NOON - HOUR, now, labelled, labelled))
    assert dict(zip(rows.predictions, rows.weights, strict=True)) == {"always": 1, "explored": 50, "rarest": MOST}


def test_the_gate_weighs_every_comparison() -> None:
    assert Rows(np.ones(3), {}).weights.tolist() == [1, 1, 1]
    found = interval(np.array([1.0, -1.0]), Gate(1, 0, 0, 1, resamples=50), np.array([3.0, 1.0]))
    assert found.mean == pytest.approx(0.5)
