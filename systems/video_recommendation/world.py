"""video_recommendation's simulated viewers, with the true probability that each video is watched at least half.

The history is the log of an older policy: part of a page is popular, part is of the user's categories, part is fresh.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import AT
from contracts.world import Drift, SimulatedOutcome
from systems.video_recommendation import population, traffic
from systems.video_recommendation.features import DEVICES
from systems.video_recommendation.population import USER_NAMES, Seen
from systems.video_recommendation.publishing import CATEGORIES, MONTH, Doubles, Ints, Publisher, Videos
from systems.video_recommendation.requirements import LABEL_DELAY
from systems.video_recommendation.traffic import Pages

CATEGORY_INDEX, DEVICE_INDEX = pd.Index(list(CATEGORIES)), pd.Index(list(DEVICES))
DEVICE_NAMES = np.array(DEVICES, dtype=object)

CALM = Drift()
PAGE = 10  # videos that the older policy showed
SPARE = 10  # drawn beside them, to stand in for those that are there twice or were watched already
FRAME = 100_000  # rows in a frame of history, at most
GUESS = 1.0  # standard deviation, in log-odds, of the older policy's error about a video
NEWCOMERS = 0.04  # the share of requests by somebody who was never there before
STOPS = 0.05  # the share of impressions of which the player reports that they were stopped early


class VideoWorld:
    """Viewers, videos and what is watched, that repeat from their seed."""

    def __init__(self, seed: int, drift: Drift = CALM) -> None:
        if drift.kind != "none" and (drift.at is None or drift.at.tzinfo is None):
            raise InvalidInput(f"Drift of kind {drift.kind!r} has at={drift.at}; say from which UTC time on.", "at")
        if not 0 <= drift.strength <= 1:
            raise InvalidInput(f"Drift has strength {drift.strength}; it must lie between 0 and 1.", "strength")
        self.seed = seed
        self.drift = drift
        random = np.random.default_rng([seed, 0])
        self.publisher = Publisher(seed)
        self._habits = population.habits(random)
        self._new_habits = population.moved_habits(random, self._habits)
        tastes = population.tastes(random)
        self._tastes = tastes, tastes.blend(population.moved_tastes(tastes), drift.strength)
        self._concept_from = drift.at.timestamp() if drift.at and drift.kind in ("concept", "both") else np.inf
        self._data_from = drift.at.timestamp() if drift.at and drift.kind in ("data", "both") else np.inf

    def history(self, start: datetime, end: datetime, rows: int) -> Iterator[pd.DataFrame]:
        """Impressions in time order, PAGE to a page; `watched_half` is 1.0 where at least half was watched."""
        random = np.random.default_rng([self.seed, 1, int(start.timestamp()), int(end.timestamp()), rows])
        at = traffic.moments(random, start.timestamp(), end.timestamp(), -(-rows // PAGE))
        for first in range(0, rows, FRAME):
            count = min(FRAME, rows - first)
            frame = self._frame(random, at[first // PAGE : -(-(first + count) // PAGE)]).iloc[:count]
            frame.insert(0, "impression_id", [f"h{int(start.timestamp())}-{first + i}" for i in range(count)])
            yield frame

    def requests(self, count: int, at: datetime, stream: int) -> Sequence[dict[str, Any]]:
        """Bodies of requests; a few are by newcomers, whose player has no history."""
        random = np.random.default_rng([self.seed, 2, stream, int(at.timestamp() * 1000)])
        pages, _ = self._pages(random, np.full(count, at.timestamp()))
        new, labels = random.random(count) < NEWCOMERS, random.integers(0, 10**9, count)
        watched = traffic.joined(self._watched(pages))
        return [
            {
                "user_id": f"n{labels[page]:09d}" if new[page] else str(USER_NAMES[pages.user[page]]),
                "device": DEVICES[pages.device[page]],
                "watched": [] if new[page] else watched[page].split(" "),
                "slots": 20,
            }
            for page in range(count)
        ]

    def items(self, start: datetime, end: datetime) -> pd.DataFrame:
        """What is published in the interval and still up at its end: a video stays for a year."""
        videos = self.publisher.between(start.timestamp(), end.timestamp())
        columns = videos.row_columns(np.arange(len(videos.number)))
        return pd.DataFrame({"video_id": columns["video_id"], AT: columns.pop("published_at"), **columns})

    def outcomes(
        self, request: Mapping[str, Any], result: Mapping[str, Any], at: datetime, stream: int
    ) -> Sequence[SimulatedOutcome]:
        """What the player reports: half was watched, when the video would be over; or it was stopped early."""
        shown = result["videos"]
        items = [str(video["video_id"]) for video in shown]
        random = np.random.default_rng(_digest(self.seed, stream, at.isoformat(), request["user_id"], items))
        probability = self.truth(_shown_rows(request, shown, at))
        drawn = random.random((len(items), 2))
        found = zip(items, probability, drawn, (float(video["duration"]) for video in shown), strict=True)
        outcomes = (_outcome(item, float(p), each, seconds, at) for item, p, each, seconds in found)
        return [outcome for outcome in outcomes if outcome]

    def truth(self, rows: Mapping[str, NDArray[Any]]) -> Doubles:
        """The true probability that at least half is watched; a video that nobody published is average."""
        style, quality = self.publisher.looks(rows["video_id"])
        seen = Seen(
            at=np.asarray(rows[AT], dtype=np.float64),
            user=population.numbers_of(rows["user_id"]),
            device=DEVICE_INDEX.get_indexer(pd.Index(rows["device"])),
            category=CATEGORY_INDEX.get_indexer(pd.Index(rows["category"])),
            duration=np.maximum(np.asarray(rows["duration"], dtype=np.float64), 1.0),
            published=np.asarray(rows["published_at"], dtype=np.float64),
            style=style,
            quality=quality,
        )
        return 1 / (1 + np.exp(-self._log_odds(seen)))

    def _log_odds(self, seen: Seen) -> Doubles:
        before, after = self._tastes
        drifted = np.broadcast_to(seen.at >= self._concept_from, np.broadcast_shapes(seen.at.shape, seen.quality.shape))
        if not drifted.any():
            return before.log_odds(seen)
        if drifted.all():
            return after.log_odds(seen)
        return np.where(drifted, after.log_odds(seen), before.log_odds(seen))

    def _pages(self, random: np.random.Generator, at: Doubles) -> tuple[Pages, NDArray[np.bool_]]:
        """A page view at each moment, and whether it belongs to the world as it is after data drift."""
        before = traffic.pages(random, self._habits, at)
        if not (at >= self._data_from).any():
            return before, np.zeros(len(at), dtype=np.bool_)
        after = traffic.pages(random, self._new_habits, at)
        return traffic.mixed(random, before, after, np.where(at >= self._data_from, self.drift.strength, 0.0))

    def _watched(self, pages: Pages) -> Ints:
        return traffic.watched(self.seed, self.publisher, self._tastes, self._concept_from, pages)

    def _frame(self, random: np.random.Generator, at: Doubles) -> pd.DataFrame:
        """What the older policy showed at these moments, and what became of it, month by month."""
        month = np.floor(at / MONTH).astype(np.int64)
        parts = [self._impressions(random, at[month == one], int(one)) for one in np.unique(month)]
        return pd.concat(parts, ignore_index=True)

    def _impressions(self, random: np.random.Generator, at: Doubles, month: int) -> pd.DataFrame:
        up, (pages, moved) = self.publisher.up(month), self._pages(random, at)
        watched = self._watched(pages)
        videos = self._offered(random, up, pages, moved)
        odds = self._log_odds(_seen(pages, up, videos))
        guess = odds + random.normal(0, GUESS, odds.shape)
        guess[_repeated(videos) | _among(up.number[videos], watched)] = -np.inf
        shown = np.sort(np.argsort(-guess, axis=1)[:, :PAGE], axis=1)
        odds = np.take_along_axis(odds, shown, axis=1).ravel()
        half = random.random(len(odds)) < 1 / (1 + np.exp(-odds))
        video = np.take_along_axis(videos, shown, axis=1).ravel()
        page = np.repeat(np.arange(len(at)), PAGE)
        columns = {
            "user_id": USER_NAMES[pages.user[page]],
            "device": DEVICE_NAMES[pages.device[page]],
            "watched": traffic.joined(watched)[page],
            **up.row_columns(video),
            "similarity": np.zeros(len(video)),
            "category_share": np.zeros(len(video)),
        }
        return pd.DataFrame({AT: at[page], **columns, "watched_half": half.astype(np.float64)})

    def _offered(self, random: np.random.Generator, up: Videos, pages: Pages, moved: NDArray[np.bool_]) -> Ints:
        choice, count = self._tastes[0].choice, PAGE + SPARE
        videos = traffic.shown(random, up, self._habits, choice, pages, count)
        if not moved.any():
            return videos
        return np.where(moved[:, None], traffic.shown(random, up, self._new_habits, choice, pages, count), videos)


def _seen(pages: Pages, up: Videos, videos: Ints) -> Seen:
    """All videos of all pages: pages × videos."""
    one = np.newaxis
    return Seen(
        at=pages.at[:, one],
        user=pages.user[:, one],
        device=pages.device[:, one],
        category=up.category[videos],
        duration=up.duration[videos],
        published=up.published[videos],
        style=up.style[videos],
        quality=up.quality[videos],
    )


def _repeated(videos: Ints) -> NDArray[np.bool_]:
    """Which videos stand a second time on their page."""
    order = np.argsort(videos, axis=1, kind="stable")
    ranked = np.take_along_axis(videos, order, axis=1)
    again = np.zeros(videos.shape, dtype=np.bool_)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    repeated = np.empty_like(again)
    np.put_along_axis(repeated, order, again, axis=1)
    return repeated


def _among(numbers: Ints, watched: Ints) -> NDArray[np.bool_]:
    """Which videos of a page are among those its user watched."""
    found = np.zeros(numbers.shape, dtype=np.bool_)
    for column in watched.T:
        found |= numbers == column[:, None]
    return found


def _shown_rows(
    request: Mapping[str, Any], shown: Sequence[Mapping[str, Any]], at: datetime
) -> dict[str, NDArray[Any]]:
    rows = {name: np.array([video[name] for video in shown], dtype=object) for name in ("video_id", "category")}
    numbers = {
        name: np.array([video[name] for video in shown], dtype=np.float64) for name in ("duration", "published_at")
    }
    same = {name: np.array([request[name]] * len(shown), dtype=object) for name in ("user_id", "device")}
    return {**rows, **numbers, **same, AT: np.full(len(shown), at.timestamp())}


def _outcome(item: str, probability: float, drawn: Doubles, seconds: float, at: datetime) -> SimulatedOutcome | None:
    """What `drawn`, two numbers in [0, 1), makes of one video shown: half watched or stopped, and reported when."""
    whether, when = float(drawn[0]), float(drawn[1])
    if whether < probability:
        return SimulatedOutcome(item, 1.0, at + min(timedelta(seconds=seconds * (0.6 + 0.5 * when) + 1), LABEL_DELAY))
    if when < STOPS:
        return SimulatedOutcome(item, 0.0, at + timedelta(seconds=0.2 * seconds + 1))
    return None


def _digest(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest())


WORLD = VideoWorld
