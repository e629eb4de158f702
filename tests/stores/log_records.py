"""A small system and records of it, for the tests of the log, the archive and the recorder."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from contracts.records import OutcomeRecord, PredictionRecord
from contracts.system import (
    Columns,
    Decision,
    Evidence,
    Feature,
    Features,
    FeatureView,
    Gate,
    Model,
    Monitoring,
    Requirements,
    Serving,
    Source,
    System,
    Task,
    Training,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DELAY = timedelta(minutes=10)
FEATURES = ("ad_views_1d", "ad_rate_1d", "price")


class Request(BaseModel):
    user: str
    ads: list[str]


class Response(BaseModel):
    ads: list[str]


def rows(request: Request) -> Columns:
    return {
        "user": np.array([request.user] * len(request.ads), dtype=object),
        "ad_id": np.array(request.ads, dtype=object),
        "bid": np.linspace(1.0, 2.0, len(request.ads)),
        "slot": np.arange(len(request.ads)),
    }


def no_respond(request: Request, evidence: Evidence, random: np.random.Generator) -> Decision:
    raise NotImplementedError("no test of the log answers a request")


SHOP = System(
    name="shop",
    requirements=Requirements(
        goal="sell",
        users=1,
        items=1,
        requests_per_second=1.0,
        latency_p99=timedelta(milliseconds=50),
        deadline=timedelta(milliseconds=200),
        freshness=timedelta(hours=1),
        label_delay=DELAY,
        availability=0.99,
        pii=(),
        region="EU",
        max_candidates=100,
        online_metrics=(),
    ),
    task=Task("binary_classification", Request, Response, "clicked", "ad_id", {"user": "u1", "ads": ["a1", "a2"]}),
    features=Features(
        source=Source(
            "views",
            "view_id",
            {"user": "string", "ad_id": "string", "bid": "float", "slot": "integer", "clicked": "float"},
        ),
        views=(
            FeatureView(
                "ad",
                ("ad_id",),
                (
                    Feature("ad_views_1d", "count", timedelta(days=1), 0.0),
                    Feature("ad_rate_1d", "mean", timedelta(days=1), 0.1, column="clicked", after=DELAY),
                ),
                every=timedelta(hours=1),
                ttl=timedelta(days=1),
            ),
        ),
        request_features=("price",),
    ),
    model=Model("none", "there is none", lambda seed: None),  # type: ignore[arg-type,return-value]  # never trained
    training=Training(0.2, DELAY, DELAY, 1, {}, (), Gate(1, 0.0, 0.0, 1)),
    serving=Serving(rows, no_respond, lambda request, rows: np.zeros(len(rows["ad_id"]))),
    monitoring=Monitoring(DELAY, 1, 0.0, 0.95, 0.5, DELAY),
    world=lambda seed, drift=None: None,  # type: ignore[arg-type,return-value]  # never simulated
)


def prediction(
    prediction_id: str, at: datetime = NOON, ads: Sequence[str] = ("a1", "a2", "a3"), shown: Sequence[int] = (1, 0)
) -> PredictionRecord:
    """One served prediction; its numbers follow from its id and the time, so that no two are alike."""
    random = np.random.default_rng([*prediction_id.encode(), int(at.timestamp())])
    count = len(ads)
    request = Request(user=f"user of {prediction_id}", ads=list(ads))
    return PredictionRecord(
        prediction_id=prediction_id,
        system="shop",
        at=at,
        model_version="3",
        variant="champion",
        request=request.model_dump(),
        rows={**rows(request), "at": np.full(count, at.timestamp())},
        feature_names=FEATURES,
        features=random.random((count, len(FEATURES)), dtype=np.float32),
        scores=random.random(count),
        shown=np.array(shown, dtype=np.int64),
        propensity=np.linspace(1.0, 0.5, len(shown)),
        result={"ads": [ads[i] for i in shown]},
        degraded=("ad: missing", "ad: stale"),
    )


def without_rows(prediction_id: str, at: datetime = NOON) -> PredictionRecord:
    return prediction(prediction_id, at, ads=(), shown=())


def of_other_features(prediction_id: str, names: tuple[str, ...], at: datetime = NOON) -> PredictionRecord:
    """A prediction by a version of the system that had other features."""
    made = prediction(prediction_id, at)
    features = np.full((len(made.scores), len(names)), 7.0, dtype=np.float32)
    return replace(made, feature_names=names, features=features)


def outcome(
    prediction_id: str,
    item: str | None = "a1",
    label: float = 1.0,
    after: timedelta = timedelta(minutes=1),
    received: timedelta | None = None,
    source: Literal["client", "review"] = "client",
) -> OutcomeRecord:
    """An outcome `after` noon, received a second later or `received` after noon."""
    received_at = NOON + (after + timedelta(seconds=1) if received is None else received)
    return OutcomeRecord(prediction_id, "shop", item, label, NOON + after, received_at, source)


def same(left: Any, right: Any) -> bool:
    """Whether two records say the same; strings may be of another numpy type after they were stored."""
    if type(left) is not type(right) or isinstance(left, OutcomeRecord):
        return bool(left == right)
    plain = ("prediction_id", "system", "at", "model_version", "variant", "request", "result", "degraded", "review")
    arrays = ("features", "scores", "shown", "propensity")
    return (
        all(getattr(left, name) == getattr(right, name) for name in (*plain, "feature_names"))
        and all(np.array_equal(getattr(left, name), getattr(right, name)) for name in arrays)
        and left.rows.keys() == right.rows.keys()
        and all(left.rows[name].tolist() == right.rows[name].tolist() for name in left.rows)
    )
