"""video_recommendation's own rules: what it refuses, how a page is made, what its metrics say, what two stages give.

What the pages are worth is held against the world's own truth, on both stages fitted as training fits them.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import systems
from contracts.system import AT, Columns, Decision, Evidence, Floats, Retriever, System
from contracts.world import Drift, PublishingWorld
from pipelines.aggregate import STAMP, empty_values, view_states
from pipelines.metrics import entropy
from systems.video_recommendation import quality, rerank
from systems.video_recommendation.features import BUCKETS, buckets
from systems.video_recommendation.ranking import average_precisions, ndcgs
from systems.video_recommendation.serving import ALSO_KEPT, EXPLORATION
from systems.video_recommendation.task import VideoRequest
from systems.video_recommendation.training import ndcg_at_20, watch_seconds_of_5
from systems.video_recommendation.world import VideoWorld
from tests.conformance.sample import END, SEED, Sample, as_of, columns_of

NOW = END.timestamp()
DAY = 86_400.0


@pytest.fixture(scope="module")
def system() -> System:
    return systems.load("video_recommendation")


def body(**changes: Any) -> dict[str, Any]:
    return {"user_id": "u1", "device": "phone", "watched": ["v1", "v2"], "slots": 5, **changes}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"device": "toaster"}, "device"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "line\nbreak"}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"slots": 0}, "slots"),
        ({"slots": 51}, "slots"),
        ({"watched": ["v"] * 21}, "watched"),
        ({"watched": ["v" * 12]}, "watched"),
        ({"watched": ["two ids"]}, "watched"),
        ({"watched": [""]}, "watched"),
        ({"watched": "v1 v2"}, "watched"),
        ({"country": "de"}, "country"),
    ],
)
def test_a_request_that_cannot_be_served_names_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        VideoRequest.model_validate(body(**changes))
    assert field in [str(part) for error in refused.value.errors() for part in error["loc"]]


def test_the_longest_history_fits_into_its_column() -> None:
    request = VideoRequest.model_validate(body(watched=["v" * 11] * 20))
    assert len(" ".join(request.watched)) <= 256


def candidates(count: int, **changes: Any) -> dict[str, Any]:
    """Videos of ten categories and as many creators as there are videos, none of them new."""
    rows = {
        "video_id": np.array([f"v{i}" for i in range(count)], dtype=object),
        "category": np.array([f"k{i % 10}" for i in range(count)], dtype=object),
        "creator_id": np.array([f"c{i}" for i in range(count)], dtype=object),
        "duration": np.full(count, 300.0),
        "published_at": np.full(count, NOW - 30 * DAY),
        AT: np.full(count, NOW),
    }
    return rows | {name: np.array(values, dtype=rows[name].dtype) for name, values in changes.items()}


def answer(system: System, rows: Columns, scores: Floats, seed: int = 0, **changes: Any) -> Decision:
    request = VideoRequest.model_validate(body(**{"watched": [], **changes}))
    return system.serving.respond(request, Evidence(rows, {}, scores), np.random.default_rng(seed))


def calm_seed() -> int:
    """A seed whose first draw explores nothing."""
    return next(seed for seed in range(100) if np.random.default_rng(seed).random() >= EXPLORATION)


def test_a_page_is_ordered_by_probability_and_a_little_by_length(system: System) -> None:
    rows = candidates(4, duration=[60.0, 60.0, 1200.0, 60.0])
    shown = answer(system, rows, np.array([0.5, 0.6, 0.55, 0.1]), calm_seed(), slots=4).result.model_dump()["videos"]
    assert [video["video_id"] for video in shown] == ["v2", "v1", "v0", "v3"]
    assert [video["place"] for video in shown] == [0, 1, 2, 3]
    assert [video["probability"] for video in shown] == [0.55, 0.6, 0.5, 0.1]
    assert shown[0]["watch_seconds"] == pytest.approx(1200 * (0.55 * 0.75 + 0.45 * 0.1))


def test_what_was_watched_is_left_out(system: System) -> None:
    shown = answer(system, candidates(10), np.linspace(0.9, 0.1, 10), slots=5, watched=["v0", "v2"]).shown
    assert not {0, 2} & set(shown.tolist())
    assert len(shown) == 5


def test_whoever_has_watched_everything_sees_it_again(system: System) -> None:
    assert len(answer(system, candidates(2), np.array([0.2, 0.1]), watched=["v0", "v1"]).shown) == 2


def test_a_page_does_not_belong_to_one_category_or_creator(system: System) -> None:
    scores = np.linspace(0.9, 0.1, 100)
    one = candidates(100, category=["same"] * 50 + [f"k{i}" for i in range(50)])
    other = candidates(100, creator_id=["same"] * 50 + [f"c{i}" for i in range(50)])
    for seed in range(30):
        shown = answer(system, one, scores, seed, slots=20).shown
        assert Counter(one["category"][shown])["same"] == rerank.OF_ONE_CATEGORY * 20
        assert Counter(other["creator_id"][answer(system, other, scores, seed, slots=20).shown])["same"] == 2
        assert len(shown) == 20


def test_some_places_are_for_new_videos(system: System) -> None:
    old, scores = NOW - 30 * DAY, np.linspace(0.9, 0.1, 100)
    rows = candidates(100, published_at=[old] * 90 + [NOW - DAY] * 10)
    shown = answer(system, rows, scores, calm_seed(), slots=20).shown
    assert (shown >= 90).sum() == rerank.NEW_SHARE * 20
    assert {90, 91} <= set(shown.tolist())


def test_fewer_videos_are_shown_rather_than_the_rule_broken(system: System) -> None:
    decision = answer(system, candidates(30, category=["only"] * 30), np.linspace(0.9, 0.1, 30), slots=20)
    assert len(decision.shown) == 8


def test_one_candidate_is_shown_for_sure(system: System) -> None:
    decision = answer(system, candidates(1), np.array([0.1]), slots=20)
    assert (decision.shown.tolist(), decision.propensity.tolist()) == ([0], [1.0])
    assert decision.kept is not None
    assert decision.kept.tolist() == [0]


def test_propensities_are_how_often_a_row_really_stands_in_its_place(system: System) -> None:
    """20,000 pages of one request: each video's share of the last place is within 4 standard errors of what is said."""
    rows, scores, pages = (
        candidates(12, category=["same"] * 4 + [f"k{i}" for i in range(8)]),
        np.linspace(0.4, 0.1, 12),
        20_000,
    )
    request = VideoRequest.model_validate(body(watched=["v11"], slots=4))
    said, seen, random = {}, Counter[int](), np.random.default_rng(1)
    for _ in range(pages):
        decision = system.serving.respond(request, Evidence(rows, {}, scores), random)
        assert decision.propensity[:-1].tolist() == [1.0, 1.0, 1.0]
        last = int(decision.shown[-1])
        seen[last] += 1
        assert said.setdefault(last, decision.propensity[-1]) == decision.propensity[-1]
    assert set(said) == set(range(5, 11))  # 2 and 3 would be a third of their category, 11 was watched
    assert sum(said.values()) == pytest.approx(1.0)
    for row, probability in said.items():
        error = (probability * (1 - probability) / pages) ** 0.5
        assert abs(seen[row] / pages - probability) < 4 * error


def test_the_log_keeps_what_was_shown_and_a_few_of_the_rest(system: System) -> None:
    drawn: Counter[int] = Counter()
    for seed in range(200):
        decision = answer(system, candidates(500), np.linspace(0.9, 0.1, 500), seed, slots=20)
        assert decision.kept is not None
        kept = decision.kept.tolist()
        assert kept == sorted(set(kept))
        assert set(decision.shown.tolist()) <= set(kept)
        assert len(kept) == 20 + ALSO_KEPT
        drawn.update(set(kept) - set(decision.shown.tolist()))
    assert len(drawn) > 470  # any of them, in the end


def test_without_a_model_popular_videos_come_first(system: System) -> None:
    features = {
        "video_impressions_7d": np.array([0.0, 500.0, 500.0]),
        "video_watch_rate_7d": np.array([0.35, 0.5, 0.2]),
    }
    scores = system.serving.fallback(VideoRequest.model_validate(body()), candidates(3), features)
    assert np.argsort(-scores).tolist() == [1, 2, 0]
    assert ((scores > 0) & (scores < 1)).all()


def test_buckets_are_the_same_in_every_process() -> None:
    """Pinned: a model trained yesterday reads what is hashed today."""
    found = buckets(np.array(["music", "comedy", "music", "☃"], dtype=object))
    assert found.tolist() == [BUCKET_OF_MUSIC, BUCKET_OF_COMEDY, BUCKET_OF_MUSIC, BUCKET_OF_SNOWMAN]
    assert found.max() < BUCKETS


BUCKET_OF_MUSIC, BUCKET_OF_COMEDY, BUCKET_OF_SNOWMAN = (74.0, 229.0, 84.0)


def test_a_default_is_what_an_entity_without_events_has(system: System) -> None:
    """So that nothing jumps when a state expires."""
    for view in system.features.views:
        assert {feature.name: feature.default for feature in view.features} == empty_values(view)


def test_a_weekend_is_a_saturday_and_a_sunday(system: System) -> None:
    days = np.array([NOW + day * DAY for day in range(7)])  # from Sunday, 15 March 2026, on
    strings = {name: np.full(7, "x", dtype=object) for name in ("device", "watched", "category", "creator_id")}
    numbers = {name: np.zeros(7) for name in ("duration", "published_at", "similarity", "category_share")}
    found = system.features.on_request({**strings, **numbers, AT: days})
    assert found["weekend"].tolist() == [1, 0, 0, 0, 0, 0, 1]


def test_ndcg_is_that_of_the_textbook() -> None:
    gains, page = np.array([3.0, 2.0, 3.0, 0.0, 1.0, 2.0, 0.0]), np.array([0, 0, 0, 0, 0, 0, 1])
    found = ndcgs(gains, -np.arange(7.0), page, 6)
    discount = 1 / np.log2(np.arange(2, 8))
    expected = (gains[:6] * discount).sum() / (np.sort(gains[:6])[::-1] * discount).sum()
    assert found == pytest.approx([expected])  # and the page on which there is nothing to gain does not count
    assert ndcgs(gains, gains, page, 6) == pytest.approx([1.0])


def test_average_precision_is_that_of_the_textbook() -> None:
    relevant, page = np.array([1.0, 0, 1, 0, 0, 1, 0]), np.array([0, 0, 0, 0, 0, 1, 1])
    found = average_precisions(relevant, np.array([5.0, 4, 3, 2, 1, 1, 2]), page)
    assert found == pytest.approx([(1 + 2 / 3) / 2, 1 / 2])


def test_metrics_look_within_pages_which_are_one_user_at_one_moment() -> None:
    rows = {
        "user_id": np.array(["a", "a", "b", "b"], dtype=object),
        AT: np.array([1.0, 1.0, 1.0, 1.0]),
        "duration": np.full(4, 100.0),
    }
    y, scores, weights = np.array([1.0, 0, 0, 1]), np.array([0.2, 0.1, 0.9, 0.95]), np.ones(4)
    assert ndcg_at_20(y, scores, rows, weights) == 1.0
    assert ndcg_at_20(y, scores, rows | {AT: np.array([1.0, 2.0, 3.0, 4.0])}, weights) == 1.0
    assert ndcg_at_20(y, -scores, rows, weights) == pytest.approx(1 / np.log2(3))
    assert watch_seconds_of_5(y, scores, rows, weights) == pytest.approx(75 + 10)


# Both stages, fitted on a simulated fortnight.


@pytest.fixture(scope="module")
def sample(system: System) -> Sample:
    world, start = system.world(SEED), END - timedelta(days=14)
    fitted = Sample(system, world, start, pd.concat(world.history(start, END, 200_000), ignore_index=True))
    items = cast(PublishingWorld, world).items(start, END)
    cast(Retriever, fitted.retriever).add(columns_of(items))
    return fitted


@pytest.fixture(scope="module")
def named(sample: Sample) -> Callable[[Columns], dict[str, Floats]]:
    """The features of rows at the end of the history, by name."""
    features = sample.system.features
    last = {}
    for view in features.views:
        states = view_states(view, sample.history, None, END).sort_values(STAMP)
        last[view.name] = states.drop_duplicates(list(view.entities), keep="last")

    def found(rows: Columns) -> dict[str, Floats]:
        table = pd.DataFrame(dict(rows))
        stored = {name: v for view in features.views for name, v in as_of(table, view, last[view.name]).items()}
        return {**stored, **features.on_request(rows)}

    return found


@pytest.fixture(scope="module")
def score(sample: Sample, named: Callable[[Columns], dict[str, Floats]]) -> quality.Score:
    def probabilities(rows: Columns) -> Floats:
        found = named(rows)
        X = np.column_stack([np.asarray(found[name], dtype=np.float32) for name in sample.system.features.names])
        scores: Floats = np.asarray(sample.estimator.predict_proba(X)[:, 1], dtype=np.float64)
        return scores

    return probabilities


def test_two_stages_are_clearly_better_than_one(sample: Sample, score: quality.Score) -> None:
    """By the world's truth. Popularity and chance are the measure of what one stage is worth."""
    retriever, world = cast(Retriever, sample.retriever), cast(PublishingWorld, sample.world)
    found = quality.measure(
        world,
        {
            "random": quality.at_random(world, END, 0),
            "one": quality.stage_one(retriever),
            "two": quality.two_stages(retriever, score),
            "served": quality.served(retriever, score),
        },
        world.requests(40, END, 1),
        END,
    )
    assert found["one"].ndcg_at_20 > 2 * found["random"].ndcg_at_20
    assert found["two"].ndcg_at_20 > found["one"].ndcg_at_20 + 0.05
    assert found["served"].ndcg_at_20 > found["one"].ndcg_at_20
    assert found["served"].watch_minutes > 1.1 * found["one"].watch_minutes
    assert found["served"].diversity > found["two"].diversity + 0.2
    assert all(0 < one.ndcg_at_20 <= 1 for one in found.values())


def test_the_best_page_there_is_has_an_ndcg_of_one(sample: Sample) -> None:
    world = cast(PublishingWorld, sample.world)
    items = columns_of(world.items(END - quality.YEAR, END))
    catalogue = {**items, "published_at": items[AT], AT: np.full(len(items[AT]), NOW)}

    def oracle(request: quality.Request, at: float) -> Columns:
        asked = {name: np.full(len(catalogue[AT]), request[name], dtype=object) for name in ("user_id", "device")}
        rows = {**catalogue, **asked}
        best = np.argsort(-world.truth(rows))[:20]
        return {name: values[best] for name, values in rows.items()}

    found = quality.measure(world, {"oracle": oracle}, world.requests(3, END, 1), END)
    assert found["oracle"].ndcg_at_20 == pytest.approx(1.0)


def test_a_page_ranked_by_the_model_is_better_than_by_its_baselines(sample: Sample) -> None:
    """On the later rows of the log, as training reports it."""
    cut, system = sample.cut, sample.system
    X, y, rows = sample.features[cut:], sample.labels[cut:], columns_of(sample.rows.iloc[cut:])
    found = {"model": ndcg_at_20(y, sample.estimator.predict_proba(X)[:, 1], rows, np.ones(len(y)))}
    for name, build in system.training.baselines.items():
        fitted = build(0).fit(sample.features[:cut], sample.labels[:cut], sample.weights[:cut])
        found[name] = ndcg_at_20(y, fitted.predict_proba(X)[:, 1], rows, np.ones(len(y)))
    assert max(found, key=found.__getitem__) == "model", found
    assert found["stage_one"] > found["base_rate"] + 0.03


def test_the_margin_of_an_alarm_lies_between_a_calm_world_and_one_whose_tastes_turned(
    sample: Sample, score: quality.Score
) -> None:
    """What was served, judged as monitoring does it: loss above the hold-out's, at the base rate of what was served."""
    margin = sample.system.monitoring.quality_margin
    assert excess(sample, score, VideoWorld(SEED)) < margin
    assert excess(sample, score, VideoWorld(SEED, Drift("data", END))) < margin
    assert excess(sample, score, VideoWorld(SEED, Drift("concept", END))) > 2 * margin


def excess(sample: Sample, score: quality.Score, world: VideoWorld) -> float:
    retriever, random = cast(Retriever, sample.retriever), np.random.default_rng(0)
    requests = [VideoRequest.model_validate(body) for body in world.requests(150, END, 9)]
    found = [retriever.candidates(request.model_dump(mode="json"), NOW) for request in requests]
    pages = [{**rows, AT: np.full(len(rows["video_id"]), NOW)} for rows in found]
    together = score({name: np.concatenate([rows[name] for rows in pages]) for name in pages[0]})
    said, truth = [], []
    for request, rows, scores in zip(requests, pages, np.split(together, len(pages)), strict=True):
        shown = sample.system.serving.respond(request, Evidence(rows, {}, scores), random).shown
        said.append(scores[shown])
        truth.append(world.truth({name: values[shown] for name, values in rows.items()}))
    expected, scores = np.concatenate(truth), np.concatenate(said)
    loss = float(-np.mean(expected * np.log(scores) + (1 - expected) * np.log1p(-scores)))
    return loss - sample.normalised * entropy(float(expected.mean()))
