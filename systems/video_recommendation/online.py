"""What the business counts of pages, once every video on them could have been watched to its end."""

import numpy as np

from contracts.online_metric import OnlineMetric
from contracts.system import Columns, Floats
from systems.video_recommendation.rerank import watch_seconds

MINUTE = 60.0


def watch_time(rows: Columns) -> tuple[Floats, Floats]:
    """Minutes watched, of pages. The player tells whether half was watched or it was stopped, not for how long: what is
    watched on average then stands for it, and nothing of what was never started."""
    minutes = watch_seconds(rows["watched_half"], np.asarray(rows["duration"], np.float64)) / MINUTE
    return minutes * rows["reported"], _pages(rows)


def watched_half(rows: Columns) -> tuple[Floats, Floats]:
    """Videos of which at least half was watched, of those shown."""
    return rows["watched_half"], np.ones(len(rows["place"]))


def watched_half_of_pages(rows: Columns) -> tuple[Floats, Floats]:
    """Videos of which at least half was watched, of pages."""
    return rows["watched_half"], _pages(rows)


def started(rows: Columns) -> tuple[Floats, Floats]:
    """Videos that the player told anything of, of those shown."""
    return np.asarray(rows["reported"], np.float64), np.ones(len(rows["place"]))


def _pages(rows: Columns) -> Floats:
    """One for the first row of each page."""
    return np.asarray(rows["place"] == 0, np.float64)


METRICS = (
    OnlineMetric("watch time a page", "minutes", watch_time, "higher"),
    OnlineMetric("share watched half", "share of videos shown", watched_half, "higher"),
    OnlineMetric("videos watched half a page", "videos", watched_half_of_pages, "higher"),
    OnlineMetric("click-through rate", "share of videos shown", started, "higher"),
)
