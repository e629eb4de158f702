"""How good are the pages, by the world's own truth: what no log can say, for it knows only what was shown.

Ways to fill a page are held against each other on the same requests: nDCG@20 with the true probability as the gain and
the best of the whole catalogue as the ideal, true expected watch time, how much of the catalogue is shown, and how
different the videos of one page are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.system import AT, Columns, Floats, Retriever
from contracts.world import PublishingWorld
from systems.video_recommendation.rerank import page, value, watch_seconds

SHOWN = 20
YEAR = timedelta(days=365)  # for which a video is up

Request = Mapping[str, Any]
Policy = Callable[[Request, float], Columns]  # a request and its time → the rows to show, best first
Score = Callable[[Columns], Floats]  # rows with `at` → probabilities


@dataclass(frozen=True)
class Quality:
    """Means over requests, of the videos shown; `coverage` is over all of them together."""

    ndcg_at_20: float
    probability: float  # true, that at least half is watched
    watch_minutes: float  # true and expected, of a whole page
    coverage: float  # the share of the catalogue that anybody is shown
    diversity: float  # the share of pairs of videos on a page that are of different categories


def measure(
    world: PublishingWorld, policies: Mapping[str, Policy], requests: Sequence[Request], at: datetime
) -> dict[str, Quality]:
    """The quality of each way to fill pages, all on the same requests."""
    catalogue = _catalogue(world, at)
    ideals = [_ideal(world, catalogue, request) for request in requests]
    return {name: _quality(world, policy, requests, ideals, catalogue) for name, policy in policies.items()}


def stage_one(retriever: Retriever) -> Policy:
    """The first candidates as they come."""
    return lambda request, at: _first(_candidates(retriever, request, at), np.arange(SHOWN))


def two_stages(retriever: Retriever, score: Score) -> Policy:
    """The candidates in the order of the model's probabilities."""
    return lambda request, at: _best(_candidates(retriever, request, at), score)


def served(retriever: Retriever, score: Score) -> Policy:
    """The page as it is served: by value, and under the rules."""

    def policy(request: Request, at: float) -> Columns:
        rows = _candidates(retriever, request, at)
        values = value(score(rows), rows["duration"])
        return _first(rows, np.array(page(rows, values, request["watched"], SHOWN).shown))

    return policy


def popular(retriever: Retriever, score: Score) -> Policy:
    """The same for everybody: what stage one finds for who has no history, by a score of popularity."""
    return lambda request, at: _best(_candidates(retriever, {**request, "watched": []}, at), score)


def at_random(world: PublishingWorld, at: datetime, seed: int) -> Policy:
    """Any videos of the catalogue."""
    catalogue, random = _catalogue(world, at), np.random.default_rng(seed)
    return lambda request, _: _asked(_first(catalogue, random.integers(0, len(catalogue[AT]), SHOWN)), request)


def _quality(
    world: PublishingWorld,
    policy: Policy,
    requests: Sequence[Request],
    ideals: Sequence[float],
    catalogue: Columns,
) -> Quality:
    pages = [policy(request, float(catalogue[AT][0])) for request in requests]
    truths = [world.truth(rows) for rows in pages]
    seconds = [watch_seconds(truth, rows["duration"]).sum() for truth, rows in zip(truths, pages, strict=True)]
    return Quality(
        ndcg_at_20=float(np.mean([_gain(truth) / ideal for truth, ideal in zip(truths, ideals, strict=True)])),
        probability=float(np.mean(np.concatenate(truths))),
        watch_minutes=float(np.mean(seconds) / 60),
        coverage=len({video for rows in pages for video in rows["video_id"].tolist()}) / len(catalogue[AT]),
        diversity=float(np.mean([diversity(rows["category"]) for rows in pages])),
    )


def diversity(categories: NDArray[Any]) -> float:
    """The share of pairs that are of different categories; 0 for a single one."""
    counts, pairs = np.unique(categories.astype(str), return_counts=True)[1], len(categories) * (len(categories) - 1)
    return 1 - float((counts * (counts - 1)).sum() / pairs) if pairs else 0.0


def _ideal(world: PublishingWorld, catalogue: Columns, request: Request) -> float:
    truth = world.truth(_asked(catalogue, request))
    return _gain(np.sort(truth)[::-1][:SHOWN])


def _gain(probabilities: Floats) -> float:
    """Discounted cumulative gain of a page in its order."""
    return float((probabilities / np.log2(np.arange(len(probabilities)) + 2.0)).sum())


def _catalogue(world: PublishingWorld, at: datetime) -> Columns:
    """All that is up at the moment, as rows of nobody."""
    items = world.items(at - YEAR, at)
    columns = {str(name): items[name].to_numpy() for name in items}
    return {**columns, "published_at": columns[AT], AT: np.full(len(items), at.timestamp())}


def _asked(rows: Columns, request: Request) -> Columns:
    repeated = {name: np.full(len(rows[AT]), request[name], dtype=object) for name in ("user_id", "device")}
    return {**rows, **repeated}


def _candidates(retriever: Retriever, request: Request, at: float) -> Columns:
    rows = retriever.candidates(request, at)
    return {**rows, AT: np.full(len(rows["video_id"]), at)}


def _best(rows: Columns, score: Score) -> Columns:
    return _first(rows, np.argsort(-score(rows), kind="stable")[:SHOWN])


def _first(rows: Columns, positions: NDArray[np.int64]) -> Columns:
    return {name: values[positions] for name, values in rows.items()}
