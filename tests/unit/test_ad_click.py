"""ad_click's own rules: what it refuses, how it ranks and explores, what its features and its model do."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.ensemble import HistGradientBoostingClassifier

import systems
from contracts.system import Evidence, System
from pipelines.aggregate import empty_values
from systems.ad_click.features import BUCKETS, buckets
from systems.ad_click.model import ForgettingTrees
from systems.ad_click.serving import EXPLORATION, MOST_OF_ONE_ADVERTISER, PLACEMENT_RATES
from systems.ad_click.task import AdRequest
from systems.ad_click.training import ScaledLogisticRegression


@pytest.fixture
def system() -> System:
    return systems.load("ad_click")


def ad(number: int, advertiser: str = "", bid: float = 1.0) -> dict[str, Any]:
    return {
        "ad_id": f"a{number}",
        "campaign_id": "c1",
        "advertiser_id": advertiser or f"v{number}",
        "category": "games",
        "bid": bid,
    }


def body(*ads: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"user_id": "u1", "device": "mobile", "placement": "feed", "slots": 3, "ads": list(ads), **changes}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"device": "toaster"}, "device"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "u" * 65}, "user_id"),
        ({"user_id": "line\nbreak"}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"slots": 0}, "slots"),
        ({"slots": 11}, "slots"),
        ({"slots": 2.5}, "slots"),
        ({"ads": []}, "ads"),
        ({"ads": [ad(i) for i in range(501)]}, "ads"),
        ({"ads": [ad(1, bid=math.nan)]}, "bid"),
        ({"ads": [ad(1, bid=math.inf)]}, "bid"),
        ({"ads": [ad(1, bid=-1.0)]}, "bid"),
        ({"ads": [ad(1) | {"colour": "red"}]}, "colour"),
    ],
)
def test_a_request_that_cannot_be_served_names_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        AdRequest.model_validate(body(ad(1)) | changes)
    assert field in [str(part) for error in refused.value.errors() for part in error["loc"]]


def test_the_same_ad_twice_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="ads holds ad_id 'a1' twice"):
        AdRequest.model_validate(body(ad(1), ad(1)))


def test_a_request_as_large_as_allowed_is_taken() -> None:
    assert len(AdRequest.model_validate(body(*(ad(i) for i in range(500)))).ads) == 500


def answer(system: System, request: AdRequest, scores: list[float], seed: int = 0) -> Any:
    rows = system.serving.rows(request)
    return system.serving.respond(request, Evidence(rows, {}, np.array(scores)), np.random.default_rng(seed))


def calm_seed() -> int:
    """A seed whose first draw explores nothing."""
    return next(seed for seed in range(100) if np.random.default_rng(seed).random() >= EXPLORATION)


def test_ads_are_ranked_by_what_they_are_expected_to_earn(system: System) -> None:
    request = AdRequest.model_validate(body(ad(1, bid=1.0), ad(2, bid=5.0), ad(3, bid=2.0)))
    shown = answer(system, request, [0.3, 0.1, 0.2], calm_seed()).result.ads
    assert [each.ad_id for each in shown] == ["a2", "a3", "a1"]
    assert [each.place for each in shown] == [0, 1, 2]
    assert [each.expected_value for each in shown] == pytest.approx([0.5, 0.4, 0.3])
    assert [each.probability for each in shown] == [0.1, 0.2, 0.3]


def test_a_page_does_not_belong_to_one_advertiser(system: System) -> None:
    ads = [ad(i, "greedy", bid=9.0) for i in range(6)] + [ad(10), ad(11)]
    request = AdRequest.model_validate(body(*ads, slots=4))
    for seed in range(50):
        shown = answer(system, request, [0.1] * 8, seed).result.ads
        assert Counter(each.advertiser_id for each in shown)["greedy"] == MOST_OF_ONE_ADVERTISER
        assert len(shown) == 4


def test_fewer_ads_are_shown_rather_than_the_rule_broken(system: System) -> None:
    request = AdRequest.model_validate(body(*(ad(i, "only") for i in range(6)), slots=4))
    decision = answer(system, request, [0.1] * 6)
    assert len(decision.shown) == MOST_OF_ONE_ADVERTISER
    assert decision.propensity.tolist() == [1.0, 1.0]


def test_one_candidate_is_shown_for_sure(system: System) -> None:
    decision = answer(system, AdRequest.model_validate(body(ad(1), slots=10)), [0.1])
    assert decision.shown.tolist() == [0]
    assert decision.propensity.tolist() == [1.0]


def test_propensities_are_how_often_a_row_really_stands_in_its_place(system: System) -> None:
    """20,000 pages of one request: each ad's share of the last place lies within 4 standard errors of what is said."""
    request = AdRequest.model_validate(body(*(ad(i, "same" if i < 3 else "") for i in range(8)), slots=3))
    pages, said, seen = 20_000, {}, Counter[int]()
    random = np.random.default_rng(1)
    rows, scores = system.serving.rows(request), np.linspace(0.4, 0.1, 8)
    for _ in range(pages):
        decision = system.serving.respond(request, Evidence(rows, {}, scores), random)
        assert decision.propensity[:-1].tolist() == [1.0, 1.0]
        last = int(decision.shown[-1])
        seen[last] += 1
        assert said.setdefault(last, decision.propensity[-1]) == decision.propensity[-1]
    assert set(said) == {3, 4, 5, 6, 7}  # 2 is the advertiser's third
    assert sum(said.values()) == pytest.approx(1.0)
    for row, probability in said.items():
        error = (probability * (1 - probability) / pages) ** 0.5
        assert abs(seen[row] / pages - probability) < 4 * error


def test_the_fallback_answers_by_placement(system: System) -> None:
    request = AdRequest.model_validate(body(ad(1), ad(2), placement="top"))
    assert system.serving.fallback(request, system.serving.rows(request), {}).tolist() == [PLACEMENT_RATES["top"]] * 2
    unknown = AdRequest.model_validate(body(ad(1), placement="a place of my own"))
    assert 0 < system.serving.fallback(unknown, system.serving.rows(unknown), {})[0] < 1


def test_buckets_are_the_same_in_every_process() -> None:
    """Pinned: a model trained yesterday reads what is hashed today."""
    found = buckets(np.array(["travel", "games", "travel", "☃"], dtype=object))
    assert found.tolist() == [BUCKET_OF_TRAVEL, BUCKET_OF_GAMES, BUCKET_OF_TRAVEL, BUCKET_OF_SNOWMAN]
    assert found.max() < BUCKETS


BUCKET_OF_TRAVEL, BUCKET_OF_GAMES, BUCKET_OF_SNOWMAN = (206.0, 49.0, 84.0)


def test_a_default_is_what_an_entity_without_events_has(system: System) -> None:
    """So that nothing jumps when a state expires."""
    for view in system.features.views:
        assert {feature.name: feature.default for feature in view.features} == empty_values(view)


def world_that_turned(rows: int, turned: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One feature that says the label, and from row `turned` on says its opposite; weights halve 4 times."""
    random = np.random.default_rng(0)
    X = random.random((rows, 2)).astype(np.float32)
    up = np.where(np.arange(rows) < turned, X[:, 0], 1 - X[:, 0])
    y = (random.random(rows) < 0.1 + 0.8 * up).astype(np.float64)
    return X, y, 0.5 ** np.linspace(4, 0, rows)


def test_the_trees_forget_a_world_that_has_turned() -> None:
    X, y, weights = world_that_turned(20_000, 16_000)
    low, high = np.array([[0.05, 0.5]], dtype=np.float32), np.array([[0.95, 0.5]], dtype=np.float32)
    trees = ForgettingTrees(0).fit(X, y, weights)
    assert isinstance(trees, HistGradientBoostingClassifier)  # what is converted to ONNX
    assert trees.predict_proba(low)[0, 1] > 0.6 > 0.4 > trees.predict_proba(high)[0, 1]


def test_the_trees_use_old_rows_while_the_world_is_calm() -> None:
    X, y, weights = world_that_turned(20_000, 20_000)
    calm = ForgettingTrees(0).fit(X, y, weights).predict_proba(X)
    plain = ForgettingTrees(0).trees.fit(X, y, sample_weight=weights / weights.mean()).predict_proba(X)
    np.testing.assert_allclose(calm, plain)


def test_the_trees_are_the_same_from_the_same_seed() -> None:
    X, y, weights = world_that_turned(2_000, 1_000)
    one, other = (ForgettingTrees(3).fit(X, y, weights).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_weights_reach_the_logistic_regression() -> None:
    X, y, _ = world_that_turned(2_000, 1_000)
    first = (np.arange(2_000) < 1_000).astype(np.float64)
    early, late = (ScaledLogisticRegression().fit(X, y, 1e-6 + w) for w in (first, 1 - first))
    probe = np.array([[0.95, 0.5]], dtype=np.float32)
    assert early.predict_proba(probe)[0, 1] > 0.6 > 0.4 > late.predict_proba(probe)[0, 1]
