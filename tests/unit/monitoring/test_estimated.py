"""Estimated performance comes near what the labels show under covariate shift, and says when it cannot know."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from benchmarks.monitoring.estimated_figures import Found, cells, scored
from benchmarks.monitoring.estimated_performance import (
    Case,
    Size,
    ad_click,
    measured,
    rows_of,
    synthetic,
)
from contracts.errors import InvalidInput
from contracts.world import Drift
from monitoring.calibration_curve import Labelled, careful, dispersion, fitted, resampled
from monitoring.density_ratio import density_ratios, effective_predictions
from monitoring.estimated import METRICS, Estimate, Figures, Reference, Rules, ServedRows, estimate
from tests.conformance.sample import END

SMALL = Size(windows=2, holdout=8_000, window=2_000, history=20_000, resamples=60)
RULES = Rules(resamples=60)


@cache
def of(shift: float, concept: float = 0.0) -> tuple[list[Case], list[Found]]:
    """Windows with their labels, and what was estimated of them without."""
    cases = list(synthetic(shift, concept, SMALL, 3))
    return cases, [measured(case, SMALL, 1) for case in cases]


@cache
def one() -> Case:
    return next(synthetic(0.5, 0.0, replace(SMALL, windows=1), 2))


def error(found: list[Found], name: str) -> float:
    """Mean distance from the log loss that the true probabilities lead to expect: without the chance of few labels."""
    return float(np.mean([abs(f.by_name[name]["log_loss"] - f.by_name["oracle"]["log_loss"]) for f in found]))


def estimated(case: Case) -> Estimate:
    return estimate(case.reference, case.window, RULES, 1)


def refused(found: Estimate) -> str:
    assert found.metrics == {}
    assert found.refusal is not None
    return found.refusal


def test_figures_of_labels_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    scores, weights = np.round(random.random(500), 2), random.random(500)
    scores = np.clip(scores, 0.01, 0.99)
    labels = (random.random(500) < scores).astype(float)
    found = Figures(replace(rows_of(np.zeros((500, 1)), scores, np.arange(500)), weights=weights)).of(labels)
    rate = np.average(labels, weights=weights)
    assert found["log_loss"] == pytest.approx(log_loss(labels, scores, sample_weight=weights))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, scores, sample_weight=weights))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    assert found["base_rate"] == pytest.approx(rate)
    always_rate = log_loss(labels, np.full(500, rate), sample_weight=weights)
    assert found["normalised_cross_entropy"] == pytest.approx(found["log_loss"] / always_rate)


def test_probabilities_in_place_of_labels_give_the_expected_figures() -> None:
    random = np.random.default_rng(1)
    scores = random.random(300)
    figures = Figures(rows_of(np.zeros((300, 1)), scores, np.arange(300)))
    drawn = [figures.of((random.random(300) < scores).astype(float)) for _ in range(2_000)]
    for name, value in figures.of(scores).items():
        spread = float(np.std([one[name] for one in drawn]))
        assert value == pytest.approx(np.mean([one[name] for one in drawn]), abs=0.15 * spread)


def test_without_a_shift_the_estimate_is_near_and_nearly_all_of_the_hold_out_counts() -> None:
    cases, found = of(0.0)
    assert error(found, "ours") < 0.02
    predictions = len(np.unique(cases[0].reference.rows.predictions.astype(int)))
    assert found[0].ours.effective_predictions > 0.7 * predictions


def test_under_covariate_shift_it_is_nearer_than_plain_confidence_and_than_the_hold_out() -> None:
    _, found = of(1.25)
    assert error(found, "ours") < 0.5 * error(found, "as on the hold-out")
    assert error(found, "ours") < error(found, "CBPE")
    assert found[0].ours.effective_predictions < 0.5 * of(0.0)[1][0].ours.effective_predictions


def test_intervals_of_resampled_curves_hold_as_often_as_they_say_under_known_ratios() -> None:
    """200 hold-outs of 400 predictions, of which few are worth as much as the window's: the true figure is known."""
    random, score = np.random.default_rng(6), np.array([0.6])
    truth = 1 / (1 + np.exp(-(0.5 * np.log(0.6 / 0.4) - 0.4 + SHIFT * np.log(0.6 / 0.4) / 4)))
    inside = 0
    for _ in range(200):
        rows, ratios = shifted_hold_out(random)
        curve = careful(rows, np.ones(len(ratios)), ratios)
        drawn = [float(c.probabilities(score)[0]) for c in resampled(curve, random, 200)]
        low, high = np.quantile(drawn, [0.025, 0.975])
        inside += bool(low <= truth <= high)
    assert inside / 200 >= 0.90  # nominal 0.95, less three standard errors


SHIFT = 1.0


def shifted_hold_out(random: np.random.Generator) -> tuple[Labelled, np.ndarray]:  # type: ignore[type-arg]
    """Rows whose scores leave out a feature z, which the window has SHIFT higher, with the ratios that follow."""
    odds, z = np.repeat(random.normal(0, 1, (2, 400)), 3, axis=1)
    chance = 1 / (1 + np.exp(-(0.5 * odds - 0.4 + odds * z / 4)))
    labels = (random.random(1_200) < chance).astype(float)
    rows = Labelled(labels, 1 / (1 + np.exp(-odds)), np.repeat(np.arange(400), 3))
    return rows, np.exp(SHIFT * z - SHIFT**2 / 2)


def test_the_figures_of_the_labels_lie_in_the_intervals_and_those_are_narrow() -> None:
    for f in of(0.0)[1] + of(1.25)[1]:
        assert f.inside() == [True] * len(METRICS)
        assert f.ours.metrics["log_loss"].high - f.ours.metrics["log_loss"].low < 0.1


def test_it_cannot_see_concept_drift_and_says_so() -> None:
    calm, drifted = of(0.0)[1], of(0.0, concept=1.0)[1]
    realised = [float(np.mean([f.realised["log_loss"] for f in found])) for found in (calm, drifted)]
    ours = [float(np.mean([f.by_name["ours"]["log_loss"] for f in found])) for found in (calm, drifted)]
    assert realised[1] > realised[0] + 0.1
    assert ours[1] == pytest.approx(ours[0], abs=0.02)
    assert drifted[0].ours.assumption == (
        "It cannot see concept drift: it assumes that P(label | features) has not changed."
    )


def test_a_window_where_the_hold_out_never_was_is_inconclusive() -> None:
    case = next(synthetic(6.0, 0.0, replace(SMALL, windows=1), 1))
    assert "beyond what the hold-out knows" in refused(estimated(case))


def test_a_window_of_which_half_is_beyond_is_inconclusive_too() -> None:
    case = one()
    moved = case.window.features.copy()
    moved[: len(moved) // 2] += 8.0
    assert "beyond what the hold-out knows" in refused(
        estimated(replace(case, window=replace(case.window, features=moved)))
    )


def test_too_few_labels_of_the_rarer_kind_are_inconclusive() -> None:
    case = one()
    no_positives = replace(case.reference, labels=np.zeros_like(case.reference.labels))
    assert "labels of the rarer kind" in refused(estimated(replace(case, reference=no_positives)))
    assert "take a longer window" in refused(estimated(replace(case, window=unlikely(case.window))))
    assert "has 0 predictions" in refused(estimated(replace(case, window=first(case.window, 0))))
    assert "has 3 predictions" in refused(estimated(replace(case, window=first(case.window, 12))))


def first(rows: ServedRows, count: int) -> ServedRows:
    return ServedRows(rows.features[:count], rows.scores[:count], rows.predictions[:count], rows.weights[:count])


def unlikely(rows: ServedRows) -> ServedRows:
    """The same rows with scores that leave hardly a positive."""
    return replace(rows, scores=rows.scores * 1e-4)


def test_other_features_than_the_hold_out_has_are_refused() -> None:
    case = one()
    fewer = replace(case.window, features=case.window.features[:, 1:])
    with pytest.raises(InvalidInput, match="The window has 9 features and the hold-out 10"):
        estimate(case.reference, fewer, RULES, 1)


def test_scores_that_are_no_probabilities_are_refused() -> None:
    case = one()
    odd = replace(case.window, scores=np.full_like(case.window.scores, np.nan))
    with pytest.raises(InvalidInput, match="The scores of the window must be probabilities"):
        estimate(case.reference, odd, RULES, 1)


def test_the_same_seed_gives_the_same_estimate() -> None:
    assert estimated(one()) == estimated(one())


def test_missing_features_are_values_like_others() -> None:
    case = one()
    holes = [rows.features.copy() for rows in (case.reference.rows, case.window)]
    for features in holes:
        features[::7, 3] = np.nan
    reference = Reference(replace(case.reference.rows, features=holes[0]), case.reference.labels)
    found = estimate(reference, replace(case.window, features=holes[1]), RULES, 1)
    assert found.metrics["log_loss"].value == pytest.approx(estimated(case).metrics["log_loss"].value, abs=0.01)


def test_rows_that_a_prediction_repeats_make_no_interval_narrower() -> None:
    case = one()
    size = len(case.labels) // 4
    single = rows_of(case.window.features, case.window.scores, np.arange(len(case.labels)))
    held = rows_of(case.reference.rows.features, case.reference.rows.scores, np.arange(len(case.reference.labels)))
    alone = estimate(Reference(held, case.reference.labels), first(single, size), RULES, 1)
    again = estimate(
        Reference(repeated(held), np.repeat(case.reference.labels, 4)), repeated(first(single, size)), RULES, 1
    )
    for name in METRICS:
        wide = [f.metrics[name].high - f.metrics[name].low for f in (alone, again)]
        assert wide[1] == pytest.approx(wide[0], rel=0.35)  # as independent, they would be half as wide


def repeated(rows: ServedRows) -> ServedRows:
    """Each row four times, as rows of one prediction."""
    return ServedRows(
        *(np.repeat(part, 4, axis=0) for part in (rows.features, rows.scores, rows.predictions)),
        np.ones(4 * len(rows.scores)),
    )  # type: ignore[arg-type]


def test_the_ratio_of_densities_is_found_where_it_is_known() -> None:
    random = np.random.default_rng(3)
    reference, window = random.normal(0, 1, (8_000, 2)), random.normal([0.8, 0], 1, (8_000, 2))
    groups = np.arange(8_000)
    ratios = density_ratios(reference, window, (groups, groups), 1)
    truth = np.exp(0.8 * reference[:, 0] - 0.32)
    assert np.corrcoef(np.log(ratios[0]), np.log(truth))[0, 1] > 0.9
    # Kish's size of the true ratios: n / exp(δ²)
    assert effective_predictions(ratios, (groups, groups)) == pytest.approx(8_000 / np.exp(0.64), rel=0.25)


def test_a_curve_finds_how_the_scores_are_wrong() -> None:
    random = np.random.default_rng(4)
    odds = random.normal(-1, 1.2, 60_000)
    labels = (random.random(60_000) < 1 / (1 + np.exp(-(0.4 + 0.7 * odds)))).astype(float)
    rows = Labelled(labels, 1 / (1 + np.exp(-odds)), np.arange(60_000))
    curve = fitted(rows, np.ones(60_000))
    assert curve.coefficients == pytest.approx([0.4, 0.7, 0.0], abs=0.1)
    assert dispersion(curve, rows, np.ones(60_000)) < 1.05


def test_resampled_curves_stray_as_curves_of_other_hold_outs_do() -> None:
    random = np.random.default_rng(5)

    def hold_out() -> Labelled:
        odds = np.repeat(random.normal(-1, 1, 500), 4)  # four rows a prediction, that share their label
        labels = np.repeat(random.random(500) < 1 / (1 + np.exp(-odds[::4])), 4).astype(float)
        return Labelled(labels, 1 / (1 + np.exp(-odds)), np.repeat(np.arange(500), 4))

    weights = np.ones(2_000)
    score = np.array([0.3])
    others = [float(fitted(hold_out(), weights).probabilities(score)[0]) for _ in range(150)]
    curve = fitted(hold_out(), weights)
    drawn = [float(other.probabilities(score)[0]) for other in resampled(curve, random, 400)]
    assert np.std(drawn) == pytest.approx(np.std(others), rel=0.25)


def test_a_window_of_ad_click_is_estimated_from_its_champions_own_hold_out() -> None:
    size = replace(SMALL, windows=1, window=2_000, history=20_000)
    case = next(ad_click(Drift("data", END, 0.0), size, 7))
    found = estimated(case)
    realised = Figures(case.window).of(case.labels)["log_loss"]
    assert found.metrics["log_loss"].low <= realised <= found.metrics["log_loss"].high


@pytest.mark.parametrize("scenario", [partial(synthetic, 0.5, 0.0), partial(synthetic, 6.0, 0.0)])
def test_the_benchmark_fills_every_column_whether_or_not_it_is_conclusive(scenario) -> None:  # type: ignore[no-untyped-def]
    size = replace(SMALL, windows=1)
    assert len(cells(scored([measured(case, size, 1) for case in scenario(size, 1)]))) == 10
