"""Step 6: scored candidates become a page; and what is answered when no model is there.

The rows come from stage one (retrieval.py), the order and the rules from rerank.py. On a few pages the last place goes
to a video drawn from all that may stand there, with its exact probability beside it: without exploration the log holds
only what the model already liked, and no other policy can ever be judged on it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.system import Columns, Decision, Evidence, Floats, Serving
from systems.video_recommendation.rerank import page, value, watch_seconds
from systems.video_recommendation.task import VideoRequest, VideoResponse

EXPLORATION = 0.1  # the share of pages whose last video is drawn at random
ALSO_KEPT = 20  # candidates that were not shown and stand in the log beside those that were
KNOWN_WELL = 20.0  # impressions after which a video's rate counts for three quarters in the fallback


def respond(request: VideoRequest, evidence: Evidence, random: np.random.Generator) -> Decision:
    """The best page under the rules, the last video of which is now and then drawn from all that could stand there."""
    rows, scores = evidence.rows, evidence.scores
    best = page(rows, value(scores, rows["duration"]), request.watched, request.slots)
    last, probability = _explored(best.shown[-1], best.eligible, random)
    shown = np.array([*best.shown[:-1], last], dtype=np.int64)
    propensity = np.ones(len(shown))
    propensity[-1] = probability
    return Decision(
        result=_shown(rows, scores, shown),
        shown=shown,
        propensity=propensity,
        kept=_kept(shown, len(scores), random),
    )


def fallback(request: VideoRequest, rows: Columns, features: Columns) -> Floats:
    """Popularity: the share of a video's viewers who watched at least half, counting for less while they are few."""
    impressions = np.asarray(features["video_impressions_7d"], dtype=np.float64)
    rate = np.asarray(features["video_watch_rate_7d"], dtype=np.float64)
    scores: Floats = np.clip(rate * (0.5 + 0.5 * impressions / (impressions + KNOWN_WELL)), 0.001, 0.999)
    return scores


def _explored(best: int, eligible: Sequence[int], random: np.random.Generator) -> tuple[int, float]:
    """The row for the last place, and the probability with which it came to stand there."""
    drawn = eligible[int(random.integers(len(eligible)))] if random.random() < EXPLORATION else best
    by_chance = EXPLORATION / len(eligible)
    return drawn, by_chance + (1 - EXPLORATION if drawn == best else 0.0)


def _kept(shown: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """What was shown, and a few of the rest: what stage one finds can be judged from the log."""
    unseen = np.ones(count, dtype=np.bool_)
    unseen[shown] = False
    rest = np.flatnonzero(unseen)
    also = random.choice(rest, min(ALSO_KEPT, len(rest)), replace=False)
    return np.sort(np.concatenate([shown, also]))


def _shown(rows: Columns, scores: Floats, shown: NDArray[np.int64]) -> VideoResponse:
    """The answer, all of its videos validated in one call."""
    columns = {name: rows[name][shown] for name in COLUMNS}
    columns["probability"] = scores[shown]
    columns["watch_seconds"] = watch_seconds(scores[shown], columns["duration"])
    videos = zip(*(values.tolist() for values in columns.values()), strict=True)
    named = [dict(zip(columns, video, strict=True), place=place) for place, video in enumerate(videos)]
    return VideoResponse.model_validate({"videos": named})


COLUMNS = ("video_id", "category", "creator_id", "duration", "published_at")

SERVING = Serving(rows=None, respond=respond, fallback=fallback)
