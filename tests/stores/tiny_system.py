"""A system with two small views, for the tests of the feature store, and a stack whose Redis runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

import systems
from contracts.system import AT, Columns, Feature, Features, FeatureView, Source, System
from infra.settings import Settings

HOUR = timedelta(hours=1)
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)

USER = FeatureView(
    name="user",
    entities=("user_id",),
    features=(
        Feature("seen_3h", "count", 3 * HOUR, default=0.0),
        Feature("rate_6h", "mean", 6 * HOUR, 0.1, "clicked", after=timedelta(minutes=30), prior=0.1, strength=5),
    ),
    every=HOUR,
    ttl=8 * HOUR,
)
PAIR = FeatureView(
    name="pair",
    entities=("user_id", "category"),  # not in the order in which Feast serialises them
    features=(Feature("spent_6h", "sum", 6 * HOUR, default=-1.0, column="bid"),),
    every=HOUR,
    ttl=8 * HOUR,
)
SOURCE = Source("events", "event_id", {"user_id": "string", "category": "string", "bid": "float", "clicked": "float"})


def _on_request(rows: Columns) -> Columns:
    return {"hour": np.asarray(rows[AT]) % 86_400 / 3600, "third": np.asarray(rows["slot"], dtype=float) / 3}


def tiny(*views: FeatureView) -> System:
    features = Features(SOURCE, views or (USER, PAIR), ("hour", "third"), _on_request)
    return replace(systems.load("ad_click"), name="tiny", features=features)


def without_redis(stack: Settings) -> Settings:
    """The same stack, but its Redis does not run."""
    return Settings.model_validate(stack.model_dump() | {"redis_url": ""})


def events(count: int, start: datetime, hours: float, seed: int = 0) -> pd.DataFrame:
    """Events of 8 users and 3 categories in the hours after `start`, in time order."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "event_id": [f"{seed}-{number}" for number in range(count)],
            AT: np.sort(start.timestamp() + random.random(count) * hours * 3600),
            "user_id": random.choice([f"u{number}" for number in range(8)], count),
            "category": random.choice(["cats", "dogs", "çöl"], count),
            "bid": random.random(count),
            "clicked": (random.random(count) < 0.3).astype(float),
        }
    )


def rows(*keys: tuple[str, str], at: datetime = NOON) -> dict[str, np.ndarray]:  # type: ignore[type-arg]  # any columns
    users, categories = zip(*keys, strict=True)
    return {
        "user_id": np.array(users, dtype=object),
        "category": np.array(categories, dtype=object),
        "slot": np.arange(len(keys)),
        AT: np.full(len(keys), at.timestamp()),
    }
