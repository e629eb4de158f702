"""Step 3: impressions, the windowed aggregates over them, and what the request itself says.

The longest step of the design: with poor features no model helps. Counts are known at once; whatever is made of clicks
waits out the attribution window, or the label would leak into its own feature.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from contracts.system import AT, Columns, Feature, Features, FeatureView, Source
from systems.ad_click.requirements import ATTRIBUTION_WINDOW

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
PRIOR = 0.1  # the click rate that is assumed of whom nothing is known

DEVICES = ("mobile", "desktop", "tablet")
PLACEMENTS = ("top", "feed", "sidebar", "bottom")
HASHED = ("ad_id", "campaign_id", "advertiser_id", "category", "placement")
BUCKETS = 256  # as many as the trees have bins: a bucket of its own for each category, some 8 ads in each


def _count(name: str, window: timedelta) -> Feature:
    return Feature(name=name, aggregate="count", window=window, default=0.0)


def _click_rate(name: str, window: timedelta, strength: float) -> Feature:
    return Feature(
        name=name,
        aggregate="mean",
        column="clicked",
        window=window,
        after=ATTRIBUTION_WINDOW,
        prior=PRIOR,
        strength=strength,
        default=PRIOR,
    )


def _view(name: str, entities: tuple[str, ...], *features: Feature) -> FeatureView:
    """A state is written again only when it changes: it stays good until its last event has left the window."""
    return FeatureView(name=name, entities=entities, features=features, every=HOUR, ttl=WEEK + 2 * HOUR)


VIEWS = (
    _view(
        "user",
        ("user_id",),
        _count("user_impressions_7d", WEEK),
        _click_rate("user_click_rate_7d", WEEK, strength=20),
    ),
    _view(
        "ad",
        ("ad_id",),
        _count("ad_impressions_7d", WEEK),
        _click_rate("ad_click_rate_6h", 6 * HOUR, strength=50),
        _click_rate("ad_click_rate_1d", DAY, strength=50),
        _click_rate("ad_click_rate_7d", WEEK, strength=50),
    ),
    _view(
        "campaign",
        ("campaign_id",),
        _click_rate("campaign_click_rate_1d", DAY, strength=50),
        _click_rate("campaign_click_rate_7d", WEEK, strength=50),
    ),
    _view(
        "user_category",
        ("user_id", "category"),
        _count("user_category_impressions_7d", WEEK),
        _click_rate("user_category_click_rate_7d", WEEK, strength=20),
    ),
)

REQUEST_FEATURES = (
    "hour_sin",
    "hour_cos",
    *(f"device_{name}" for name in DEVICES),
    *(f"placement_{name}" for name in PLACEMENTS),
    *(f"{column}_bucket" for column in HASHED),
)


def on_request(rows: Columns) -> Mapping[str, NDArray[Any]]:
    """The features that need nothing but the request; what is outside a vocabulary is in none of its columns."""
    angle = np.asarray(rows[AT], dtype=np.float64) % 86_400 * (2 * np.pi / 86_400)
    device, placement = rows["device"], rows["placement"]
    return {
        "hour_sin": np.sin(angle),
        "hour_cos": np.cos(angle),
        **{f"device_{name}": np.asarray(device == name, dtype=np.float64) for name in DEVICES},
        **{f"placement_{name}": np.asarray(placement == name, dtype=np.float64) for name in PLACEMENTS},
        **{f"{column}_bucket": buckets(rows[column]) for column in HASHED},
    }


def buckets(values: NDArray[Any]) -> NDArray[np.float64]:
    """A stable bucket for each value (Python's own hash is salted by process), so that ids never seen get one too."""
    names = values.tolist()
    bucket = {name: crc32(str(name).encode()) % BUCKETS for name in set(names)}
    return np.fromiter(map(bucket.__getitem__, names), dtype=np.float64, count=len(names))


SOURCE = Source(
    name="impressions",
    id="impression_id",
    columns={
        "user_id": "string",
        "device": "string",
        "placement": "string",
        "ad_id": "string",
        "campaign_id": "string",
        "advertiser_id": "string",
        "category": "string",
        "bid": "float",
        "clicked": "float",
    },
    optional={
        "device": "mobile",
        "placement": "feed",
        "campaign_id": "unknown",
        "advertiser_id": "unknown",
        "category": "unknown",
        "bid": 1.0,
    },
)

FEATURES = Features(source=SOURCE, views=VIEWS, request_features=REQUEST_FEATURES, on_request=on_request)
