"""fraud_detection's own rules: what it refuses, how it decides, explores and explains, and what its model is worth."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

import systems
from contracts.system import AT, Decision, Evidence, Floats, System
from pipelines.aggregate import empty_values
from pipelines.metrics import calibration_error as by_rows
from systems.fraud_detection import costs, metrics, rules
from systems.fraud_detection.reasons import GROUPS, MOST
from systems.fraud_detection.serving import ASKED, EXPLORED, MOST_RISKED
from systems.fraud_detection.task import Payment
from tests.conformance.sample import features_of, log_loss

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def system() -> System:
    return systems.load("fraud_detection")


def payment(**changes: Any) -> dict[str, Any]:
    body = dict(systems.load("fraud_detection").task.example)
    return {**body, **changes}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount": 0.0}, "amount"),
        ({"amount": -5.0}, "amount"),
        ({"amount": math.nan}, "amount"),
        ({"amount": math.inf}, "amount"),
        ({"amount": "12"}, "amount"),
        ({"channel": "fax"}, "channel"),
        ({"card_id": ""}, "card_id"),
        ({"card_id": "line\nbreak"}, "card_id"),
        ({"device_id": 7}, "device_id"),
        ({"merchant_id": "m" * 65}, "merchant_id"),
        ({"card_age_days": -1.0}, "card_age_days"),
        ({"device_known_days": math.nan}, "device_known_days"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_payment_that_cannot_be_judged_names_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Payment.model_validate(payment(**changes))
    assert field in [str(part) for error in refused.value.errors() for part in error["loc"]]


def evidence(
    system: System,
    request: Payment,
    score: float,
    contributions: Mapping[str, float] | None = None,
    **known: float,
) -> Evidence:
    """What a decision rests on: features as of somebody unknown, but for those given."""
    assert system.serving.rows is not None
    rows = {**system.serving.rows(request), AT: np.array([NOON])}
    declared = {f.name: f.default for view in system.features.views for f in view.features}
    features = {name: np.array([value]) for name, value in {**declared, **known}.items()}
    features |= {name: values for name, values in system.features.on_request(rows).items() if name not in known}
    parts = None
    if contributions is not None:
        parts = {name: np.array([contributions.get(name, 0.0)]) for name in system.features.names}
    return Evidence(rows, features, np.array([score]), parts)


def answer(system: System, score: float, seed: int = 0, **changes: Any) -> Decision:
    request = Payment.model_validate(payment(**changes))
    found = evidence(system, request, score, {"amount_log": 1.0})
    return system.serving.respond(request, found, np.random.default_rng(seed))


def calm_seed() -> int:
    """A seed whose first draw explores nothing."""
    return next(seed for seed in range(100) if np.random.default_rng(seed).random() >= EXPLORED)


def test_the_decision_is_the_one_that_is_expected_to_cost_least(system: System) -> None:
    for score in (0.0001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.99):
        for amount in (1.0, 40.0, 400.0, 20_000.0):
            result = answer(system, score, calm_seed(), amount=amount).result.model_dump()
            by_hand = {
                "approve": score * (amount + costs.CHARGEBACK_FEE),
                "review": costs.REVIEW_COST,
                "decline": (1 - score) * (costs.MARGIN * amount + costs.ANNOYANCE),
            }
            assert result["expected_cost"] == pytest.approx(by_hand)
            assert result["decision"] == min(by_hand, key=by_hand.__getitem__)
            assert not result["explored"]


def test_all_three_decisions_are_taken(system: System) -> None:
    assert answer(system, 0.001).result.decision == "approve"  # type: ignore[attr-defined]  # a PaymentDecision
    assert answer(system, 0.2, calm_seed()).result.decision == "review"  # type: ignore[attr-defined]
    assert answer(system, 0.95, calm_seed()).result.decision == "decline"  # type: ignore[attr-defined]


def test_a_person_is_asked_about_every_uncertain_payment_and_some_of_the_declined(system: System) -> None:
    approved, uncertain = (answer(system, score, calm_seed()) for score in (0.001, 0.2))
    assert (approved.shown.tolist(), approved.propensity.tolist(), approved.review) == ([0], [1.0], False)
    assert (uncertain.shown.tolist(), uncertain.propensity.tolist(), uncertain.review) == ([0], [1.0], True)
    declined = [answer(system, 0.95, seed) for seed in range(2_000)]
    asked = [each for each in declined if each.review]
    share = (1 - EXPLORED) * ASKED["decline"]
    assert abs(len(asked) - 2_000 * share) < 4 * (2_000 * share * (1 - share)) ** 0.5
    assert all(each.result.in_review and each.shown.tolist() == [0] for each in asked)  # type: ignore[attr-defined]
    left = [each for each in declined if not each.review and not each.result.explored]  # type: ignore[attr-defined]
    assert all((each.shown.tolist(), each.propensity.tolist()) == ([], []) for each in left)


@pytest.mark.parametrize(("score", "decision"), [(0.2, "review"), (0.95, "decline")])
def test_labels_get_known_as_often_as_the_propensity_says(system: System, score: float, decision: str) -> None:
    count, random = 10_000, np.random.default_rng(3)
    request = Payment.model_validate(payment(amount=MOST_RISKED))
    found = evidence(system, request, score, {})
    decided = [system.serving.respond(request, found, random) for _ in range(count)]
    explored = [each for each in decided if each.result.explored]  # type: ignore[attr-defined]
    assert abs(len(explored) - count * EXPLORED) < 4 * (count * EXPLORED) ** 0.5
    known = [each for each in decided if len(each.shown)]
    propensity = EXPLORED + (1 - EXPLORED) * ASKED[decision]
    assert np.concatenate([each.propensity for each in known]) == pytest.approx(propensity)
    assert abs(len(known) - count * propensity) <= 4 * (count * propensity * (1 - propensity)) ** 0.5
    for each in explored:
        assert (each.result.decision, each.result.in_review, each.review) == ("approve", False, False)  # type: ignore[attr-defined]


def test_a_large_amount_is_never_risked_and_a_sure_approval_is_no_exploration(system: System) -> None:
    request = Payment.model_validate(payment(amount=MOST_RISKED + 0.01))
    random = np.random.default_rng(3)
    stopped, sure = (evidence(system, request, score, {}) for score in (0.95, 0.001))
    decided = [system.serving.respond(request, stopped, random) for _ in range(2_000)]
    assert not any(each.result.explored for each in decided)  # type: ignore[attr-defined]
    assert {each.propensity.tolist()[0] for each in decided if each.review} == {ASKED["decline"]}
    assert all(system.serving.respond(request, sure, random).propensity.tolist() == [1.0] for _ in range(500))


def test_every_feature_has_its_part_in_one_reason(system: System) -> None:
    told = Counter(name for group in GROUPS for name in group.features)
    assert told == Counter(system.features.names)


def test_the_reasons_for_stopping_a_payment_are_the_three_that_speak_most_for_fraud(system: System) -> None:
    request = Payment.model_validate(payment(amount=3.5, country="FR", card_country="DE", device_known_days=0.0))
    parts = {
        "card_payments_1m": 0.7, "card_payments_1h": 0.6, "device_known_log": 1.2, "foreign": 0.4, "amount_log": 0.3,
        "hour_sin": -3.0,
    }  # fmt: skip
    seen = {"card_payments_1m": 7.0, "card_payments_1h": 9.0, "card_payments_1d": 9.0, "card_amount_1d": 31.5}
    found = evidence(system, request, 0.9, parts, **seen)
    result = system.serving.respond(request, found, np.random.default_rng(calm_seed())).result.model_dump()
    assert [each["feature"] for each in result["reasons"]] == ["card_velocity", "device_known", "country"]
    assert [each["contribution"] for each in result["reasons"]] == pytest.approx([1.3, 1.2, 0.4])
    assert [each["words"] for each in result["reasons"]] == [
        "7 payments with this card in the last minute, 9 in the last hour, 9 in the last day, 31.50 in all.",
        "The device was first seen today.",
        "Paid from FR with a card of DE; 1.2% of the payments from there are charged back.",
    ]


def test_the_reasons_for_an_approval_are_those_that_weighed_most(system: System) -> None:
    request = Payment.model_validate(payment())
    found = evidence(system, request, 0.001, {"hour_sin": -3.0, "amount_log": 0.5, "channel_web": -0.4, "foreign": 0.1})
    reasons = system.serving.respond(request, found, np.random.default_rng(0)).result.model_dump()["reasons"]
    assert [each["feature"] for each in reasons] == ["hour", "amount", "channel"]
    assert reasons[0]["words"] == "Paid at 12:00 UTC."
    assert reasons[1]["words"] == "An amount of 249.90."


def test_every_reason_has_words_for_any_payment(system: System) -> None:
    bodies = [payment(), *systems.load("fraud_detection").world(7).requests(200, datetime.fromtimestamp(NOON, UTC), 1)]
    for group in GROUPS:
        for body in bodies:
            request = Payment.model_validate(body)
            found = evidence(system, request, 0.5, {group.features[0]: 1.0})
            result = system.serving.respond(request, found, np.random.default_rng(0)).result.model_dump()
            reason = result["reasons"][0]
            assert reason["feature"] == group.name
            assert reason["words"].endswith(".")
            assert "nan" not in reason["words"]


def test_without_a_model_the_rules_that_fired_are_the_reasons(system: System) -> None:
    request = Payment.model_validate(payment(amount=900.0, device_known_days=0.0, country="FR", card_country="DE"))
    found = evidence(system, request, 0.0, None, device_payments_1h=6.0)
    score = system.serving.fallback(request, found.rows, found.features)
    found = Evidence(found.rows, found.features, score)
    result = system.serving.respond(request, found, np.random.default_rng(0)).result.model_dump()
    assert result["decision"] == "decline"
    assert [each["feature"] for each in result["reasons"]] == ["device_burst", "new_device_abroad", "new_device_large"]
    assert len(result["reasons"]) == MOST


def test_without_a_model_an_ordinary_payment_is_approved(system: System) -> None:
    request = Payment.model_validate(payment(amount=20.0, device_known_days=300.0, country="DE", channel="app"))
    found = evidence(system, request, 0.0)
    found = Evidence(found.rows, found.features, system.serving.fallback(request, found.rows, found.features))
    result = system.serving.respond(request, found, np.random.default_rng(0)).result.model_dump()
    assert result["decision"] == "approve"
    assert result["reasons"][0]["words"] == "No rule speaks against the payment; 20.00 are at stake."


@pytest.mark.parametrize(
    ("rule", "changes", "known"),
    [
        ("device_burst", {"device_known_days": 1.0}, {"device_payments_1h": 3.0}),
        ("card_burst", {"device_known_days": 900.0}, {"card_payments_1m": 3.0}),
        ("new_device_abroad", {"device_known_days": 0.0, "amount": 5.0}, {}),
        ("new_device_large", {"device_known_days": 0.0, "country": "DE", "amount": 150.0}, {}),
        ("merchant_charged_back", {"device_known_days": 900.0}, {"merchant_chargeback_rate_60d": 0.05}),
        ("large_for_card", {"device_known_days": 900.0, "amount": 250.0}, {"card_mean_amount_30d": 50.0}),
        ("easily_resold", {"device_known_days": 900.0, "amount": 150.0, "category": "gift_cards"}, {}),
    ],
)
def test_a_rule_fires_on_what_it_is_for(
    system: System, rule: str, changes: dict[str, Any], known: dict[str, float]
) -> None:
    found = evidence(system, Payment.model_validate(payment(**changes)), 0.5, **known)
    assert rule in {each.name for each, mask in rules.fired(found.features).items() if mask[0]}
    plain = evidence(system, Payment.model_validate(payment(device_known_days=900.0, amount=20.0, country="DE")), 0.5)
    assert not any(mask.any() for mask in rules.fired(plain.features).values())


def test_a_shops_terminal_is_no_burst(system: System) -> None:
    request = Payment.model_validate(payment(channel="in_store", device_known_days=0.0, amount=30.0))
    found = evidence(system, request, 0.5, device_payments_1h=60.0)
    assert not any(mask.any() for mask in rules.fired(found.features).values())


def test_a_default_is_what_an_entity_without_events_has(system: System) -> None:
    """So that nothing jumps when a state expires."""
    for view in system.features.views:
        assert {feature.name: feature.default for feature in view.features} == empty_values(view)


def test_recall_is_what_is_caught_while_one_good_payment_in_a_hundred_is_stopped() -> None:
    labels = np.r_[np.zeros(200), np.ones(10)]
    scores = np.r_[np.linspace(0, 0.8, 200), np.linspace(0.5, 0.95, 10)]
    threshold = np.sort(scores[:200])[197]  # two of the 200 lie above it
    assert metrics.recall(labels, scores, {}, np.ones(210)) == np.mean(scores[200:] > threshold)
    twice = metrics.recall(np.r_[labels, labels[200:]], np.r_[scores, scores[200:]], {}, np.ones(220))
    weighed = metrics.recall(labels, scores, {}, np.r_[np.ones(200), np.full(10, 2.0)])
    assert twice == pytest.approx(weighed)
    assert metrics.recall(np.zeros(5), np.ones(5) / 2, {}, np.ones(5)) == 0.0


def test_the_cost_per_payment_is_what_the_decisions_cost() -> None:
    labels, scores = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.001, 0.001, 0.99, 0.99])
    rows = {"amount": np.array([100.0, 100.0, 100.0, 100.0])}
    by_hand = np.array([0.0, 120.0, 0.0, costs.MARGIN * 100 + costs.ANNOYANCE])
    assert metrics.cost_per_payment(labels, scores, rows, np.ones(4)) == pytest.approx(by_hand.mean())
    weights = np.array([1.0, 0.0, 1.0, 2.0])
    assert metrics.cost_per_payment(labels, scores, rows, weights) == pytest.approx(by_hand @ weights / 4)


def test_calibration_sees_what_is_wrong_among_the_few() -> None:
    random = np.random.default_rng(0)
    truth = random.beta(0.05, 4, 200_000)
    labels = (random.random(200_000) < truth).astype(np.float64)
    right, wrong = (metrics.calibration_error(labels, s, {}, np.ones(200_000)) for s in (truth, truth**2))
    assert right < 0.001 < 0.003 < wrong
    assert wrong == pytest.approx(by_rows(labels, truth**2), abs=0.003)


@dataclass(frozen=True)
class Judged:
    """Everybody's scores on the newest rows of a history, split by time as training does it."""

    labels: Floats
    rows: Mapping[str, Any]
    scores: Mapping[str, Floats]
    blind: Floats  # the model's scores, trained and asked without the live features
    halves: tuple[Floats, Floats]  # the scores of two models of equal quality: of even and of odd rows


@pytest.fixture(scope="module")
def judged(system: System) -> Judged:
    """100,000 payments of 60 days, whose last quarter is held out."""
    end = datetime.fromtimestamp(NOON, UTC)
    world = system.world(7)
    history = pd.concat(world.history(end - timedelta(days=60), end, 100_000), ignore_index=True)
    X, y = features_of(system, history, history), history["fraud"].to_numpy(np.float64)
    cut = int(len(y) * (1 - system.training.holdout))
    age = history[AT].max() - history[AT].to_numpy()[:cut]
    weights = 0.5 ** (age / system.training.half_life.total_seconds())
    rows = {str(name): history[name].to_numpy()[cut:] for name in history}

    def fitted(build: Callable[[int], Any], matrix: Any, older: slice = slice(cut)) -> Floats:
        with threadpool_limits(1):  # threads that wait for each other on a busy machine take ten times as long
            found = build(0).fit(matrix[older], y[older], weights[older] / weights[older].mean())
            scores: Floats = found.predict_proba(matrix[cut:])[:, 1]
        return scores

    scores = {name: fitted(build, X) for name, build in system.training.baselines.items()}
    scores |= {"model": fitted(system.model.build, X), "oracle": world.truth(rows)}
    live = {feature.name for view in system.features.views if view.live for feature in view.features}
    seen = [place for place, name in enumerate(system.features.names) if name not in live]
    halves = [fitted(system.model.build, X, slice(first, cut, 2)) for first in (0, 1)]
    return Judged(y[cut:], rows, scores, fitted(system.model.build, X[:, seen]), (halves[0], halves[1]))


def test_what_everybody_is_worth_is_reported(judged: Judged) -> None:
    """The table of README.md, with `-s`."""
    ones, table = np.ones(len(judged.labels)), {}
    base = log_loss(np.full(len(ones), judged.labels.mean()), judged.labels)
    for name, scores in {**judged.scores, "model without velocity": judged.blind}.items():
        table[name] = {
            "normalised cross-entropy": log_loss(scores, judged.labels) / base,
            "PR-AUC": average_precision_score(judged.labels, scores),
            "recall at 1% false positives": metrics.recall(judged.labels, scores, {}, ones),
            "cost per payment": metrics.cost_per_payment(judged.labels, scores, judged.rows, ones),
            "calibration error": metrics.calibration_error(judged.labels, scores, {}, ones),
        }
    print(f"\n{len(ones):,} payments held out, {judged.labels.mean():.2%} fraud")
    print(pd.DataFrame(table).T.round(4).to_string())
    assert all(np.isfinite(value) for each in table.values() for value in each.values())


def test_the_model_is_better_than_what_is_simpler_and_worse_than_the_truth(judged: Judged) -> None:
    base = log_loss(np.full(len(judged.labels), judged.labels.mean()), judged.labels)
    normalised = {name: log_loss(scores, judged.labels) / base for name, scores in judged.scores.items()}
    assert normalised["oracle"] < normalised["model"] - 0.03
    assert normalised["model"] < normalised["logistic_regression"] - 0.03
    assert normalised["logistic_regression"] < normalised["rules"] - 0.03
    assert normalised["model"] < 0.5


def test_the_model_finds_more_fraud_at_the_same_false_positives(judged: Judged) -> None:
    precision = {name: average_precision_score(judged.labels, scores) for name, scores in judged.scores.items()}
    assert precision["model"] > precision["logistic_regression"]
    assert precision["model"] > precision["rules"] + 0.15
    caught = {n: metrics.recall(judged.labels, s, {}, np.ones(len(s))) for n, s in judged.scores.items()}
    assert caught["model"] > 0.7
    assert caught["model"] > caught["rules"] + 0.15


def test_decisions_by_the_model_cost_least(judged: Judged) -> None:
    ones = np.ones(len(judged.labels))
    cost = {n: metrics.cost_per_payment(judged.labels, s, judged.rows, ones) for n, s in judged.scores.items()}
    approved = costs.incurred(judged.labels, np.zeros(len(ones), dtype=np.int64), judged.rows["amount"]).mean()
    assert cost["oracle"] < cost["model"] < min(cost["logistic_regression"], cost["rules"])
    assert cost["model"] < 0.5 * approved


def test_velocity_is_worth_its_price(judged: Judged) -> None:
    assert log_loss(judged.scores["model"], judged.labels) < 0.95 * log_loss(judged.blind, judged.labels)


def test_the_gates_margin_lets_an_equal_candidate_pass_on_the_least_rows(system: System, judged: Judged) -> None:
    """The interval of the difference between two equal models is narrower than the margin, if not by much."""
    gate = system.training.gate
    one, other = (np.clip(scores, 1e-7, 1 - 1e-7) for scores in judged.halves)
    differences = np.where(judged.labels > 0, np.log(one / other), np.log((1 - one) / (1 - other)))
    width = 1.96 * differences.std() / gate.min_rows**0.5
    assert 0.3 * gate.margin < width < gate.margin
    assert 1.96 * differences.std() / gate.min_slice_rows**0.5 < gate.slice_margin


def test_few_payments_are_stopped(judged: Judged) -> None:
    taken = costs.decisions(judged.scores["model"], judged.rows["amount"])
    shares = np.bincount(taken, minlength=3) / len(taken)
    assert shares[costs.APPROVE] > 0.94
    assert 0.002 < shares[costs.DECLINE] < 0.015
    assert judged.labels[taken == costs.DECLINE].mean() > 0.7


def test_labels_by_the_rules_are_mostly_right_and_rank(system: System, judged: Judged) -> None:
    ruled = judged.scores["rules"] >= rules.FRAUD
    assert judged.labels[ruled].mean() > 0.6
    assert judged.labels[ruled].sum() / judged.labels.sum() > 0.15
