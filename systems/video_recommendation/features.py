"""Step 3: impressions, the windowed aggregates over them, and what the request and stage one say.

Four views, for all but one are read for each of 500 candidates: the video, the viewer, the viewer with
the video's category, and the creator, who is all that is known of a video in its first hours. Counts are known at once;
whatever is made of what was watched waits an hour, or the label would leak into its own feature. What a viewer likes is
from stage one: `likeness`, `category_habit`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from contracts.system import AT, Columns, Feature, Features, FeatureView, Source
from systems.video_recommendation.requirements import LABEL_DELAY

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
PRIOR = 0.35  # the share of videos watched at least half that is assumed of whom nothing is known

DEVICES = ("phone", "tablet", "desktop", "tv")
BUCKETS = 256  # as many as the trees have bins
MOST_KNOWN = 50_000  # names of which the bucket is kept in memory


def _count(name: str, window: timedelta) -> Feature:
    return Feature(name=name, aggregate="count", window=window, default=0.0)


def _watch_rate(name: str, window: timedelta, strength: float) -> Feature:
    return Feature(
        name=name,
        aggregate="mean",
        column="watched_half",
        window=window,
        after=LABEL_DELAY,
        prior=PRIOR,
        strength=strength,
        default=PRIOR,
    )


def _view(name: str, entities: tuple[str, ...], *features: Feature) -> FeatureView:
    """A state is written again only when it changes: it stays good until its last event has left the window."""
    return FeatureView(name=name, entities=entities, features=features, every=HOUR, ttl=WEEK + 2 * HOUR)


VIEWS = (
    _view(
        "video",
        ("video_id",),
        _count("video_impressions_1d", DAY),
        _count("video_impressions_7d", WEEK),
        _watch_rate("video_watch_rate_1d", DAY, strength=10),
        _watch_rate("video_watch_rate_7d", WEEK, strength=10),
    ),
    _view(
        "viewer",
        ("user_id",),
        _count("user_impressions_7d", WEEK),
        _watch_rate("user_watch_rate_7d", WEEK, strength=10),
    ),
    _view(
        "viewer_category",
        ("user_id", "category"),
        _count("user_category_impressions_7d", WEEK),
        _watch_rate("user_category_watch_rate_7d", WEEK, strength=3),
    ),
    _view(
        "creator",
        ("creator_id",),
        _count("creator_impressions_7d", WEEK),
        _watch_rate("creator_watch_rate_7d", WEEK, strength=10),
    ),
)

REQUEST_FEATURES = (
    "likeness",
    "category_habit",
    "history_length",
    "age_hours_log",
    "duration_log",
    "hour_sin",
    "hour_cos",
    "weekend",
    *(f"device_{name}" for name in DEVICES),
    "category_bucket",
    "creator_bucket",
)


def on_request(rows: Columns) -> Mapping[str, NDArray[Any]]:
    """The features that need no store; what is outside a vocabulary is in none of its columns.

    A request's rows have the moment, the user and the device in common: what is made of those is worked out once.
    """
    count, at = len(rows[AT]), _moments(rows[AT])
    angle = at % 86_400 * (2 * np.pi / 86_400)
    age = np.maximum(at - np.asarray(rows["published_at"], dtype=np.float64), 0.0)
    device = _shared(rows["device"])
    found = {
        "likeness": np.asarray(rows["similarity"], dtype=np.float64),
        "category_habit": np.asarray(rows["category_share"], dtype=np.float64),
        "history_length": _lengths(_shared(rows["watched"])),
        "age_hours_log": np.log1p(age / 3600),
        "duration_log": np.log(np.maximum(np.asarray(rows["duration"], dtype=np.float64), 1.0)),
        "hour_sin": np.sin(angle),
        "hour_cos": np.cos(angle),
        "weekend": np.asarray((at // 86_400 + 3) % 7 >= 5, dtype=np.float64),  # the epoch began on a Thursday
        **{f"device_{name}": np.asarray(device == name, dtype=np.float64) for name in DEVICES},
        "category_bucket": buckets(rows["category"]),
        "creator_bucket": buckets(rows["creator_id"]),
    }
    return {name: values if len(values) == count else values.repeat(count) for name, values in found.items()}


def buckets(values: NDArray[Any]) -> NDArray[np.float64]:
    """A stable bucket for each value (Python's own hash is salted by process), so that ids never seen get one too."""
    return np.fromiter(map(_KNOWN.__getitem__, values.tolist()), dtype=np.float64, count=len(values))


class _Buckets(dict[Any, float]):
    """The bucket of each name, worked out when it is first asked for: most names of a request were in others."""

    def __missing__(self, name: Any) -> float:
        if len(self) >= MOST_KNOWN:
            self.clear()
        self[name] = bucket = float(crc32(str(name).encode()) % BUCKETS)
        return bucket


_KNOWN = _Buckets()


def _lengths(watched: NDArray[Any]) -> NDArray[np.float64]:
    """How many videos each string of ids joined by spaces names."""
    strings = watched.tolist()
    lengths = {names: len(str(names).split()) for names in set(strings)}
    return np.fromiter(map(lengths.__getitem__, strings), dtype=np.float64, count=len(strings))


def _moments(at: NDArray[Any]) -> NDArray[np.float64]:
    """When the rows happened; one row of it if that was at one moment."""
    moments = np.asarray(at, dtype=np.float64)
    return moments[:1] if len(moments) and (moments == moments[0]).all() else moments


def _shared(values: NDArray[Any]) -> NDArray[Any]:
    """One row of a column that is one value in memory for all of its rows; any other column as it is."""
    return values[:1] if values.strides == (0,) else values


SOURCE = Source(
    name="impressions",
    id="impression_id",
    columns={
        "user_id": "string",
        "device": "string",
        "watched": "string",
        "video_id": "string",
        "category": "string",
        "creator_id": "string",
        "duration": "float",
        "published_at": "float",
        "similarity": "float",
        "category_share": "float",
        "watched_half": "float",
    },
    optional={
        "device": "phone",
        "watched": "",
        "category": "unknown",
        "creator_id": "unknown",
        "duration": 300.0,
        "published_at": 0.0,
        "similarity": 0.0,
        "category_share": 0.0,
    },
)

FEATURES = Features(source=SOURCE, views=VIEWS, request_features=REQUEST_FEATURES, on_request=on_request)
