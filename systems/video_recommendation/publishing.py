"""Who publishes what in video_recommendation's world, without end: months of videos, each drawn from the seed alone.

A video stays up for a year. What is up at a moment is a stretch of the time line, so that the same video is there for
whoever asks, in history, in a request and in an outcome, at whatever time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CATEGORIES = (
    *("music", "comedy", "gaming", "sports", "news", "politics", "science", "history", "travel", "food", "fitness"),
    *("beauty", "fashion", "cars", "pets", "nature", "films", "series", "animation", "lessons", "crafts", "finance"),
    *("technology", "vlogs"),
)
CREATORS = 4_000
STYLES = 6  # directions of taste finer than the categories
DAY = 86_400.0
MONTH, YEAR = 30 * DAY, 365 * DAY
VIDEOS_UP = 100_000
A_MONTH = int(VIDEOS_UP * MONTH / YEAR)
NUMBERS = 10_000  # numbers kept for a month: a video's own says when it was published
SHORTEST, LONGEST = 30.0, 2_400.0  # seconds
RECENCY = 40 * DAY  # a video is shown a third as often after this time

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Creators:
    """Those who publish: how much, about what, in which style and how well."""

    output: Doubles
    category: Ints
    style: Doubles  # creators × STYLES
    quality: Doubles


@dataclass(frozen=True)
class Videos:
    """A stretch of the time line, in the order of publication."""

    number: Ints
    published: Doubles
    creator: Ints
    category: Ints
    duration: Doubles
    style: Doubles  # videos × STYLES
    quality: Doubles
    popularity: Doubles  # the logarithm of how often it is shown, compared with others as old

    @cached_property
    def by_category(self) -> Ints:
        """Positions, a category's videos together, each in the order of publication."""
        return np.lexsort((self.published, self.category))

    @cached_property
    def weights(self) -> Doubles:
        """How often each is shown: newer ones more. Exponential in age, so that it holds at every moment."""
        weights: Doubles = np.exp(self.popularity + (self.published - self.published[0]) / RECENCY)
        return weights

    def row_columns(self, positions: Ints) -> dict[str, NDArray[Any]]:
        """The row columns that describe videos."""
        return {
            "video_id": names("v", 7, self.number[positions]),
            "category": CATEGORY_NAMES[self.category[positions]],
            "creator_id": names("c", 4, self.creator[positions]),
            "duration": self.duration[positions],
            "published_at": self.published[positions],
        }


class Publisher:
    """The time line of publications; months are drawn when they are first asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.creators = _creators(np.random.default_rng([seed, 3]))
        self.month = lru_cache(maxsize=40)(self._month)
        self.up = lru_cache(maxsize=3)(self._up)

    def _month(self, month: int) -> Videos:
        """What is published in a month, counted from the epoch."""
        random, who = np.random.default_rng([self.seed, 4, month]), self.creators
        creator = random.choice(CREATORS, A_MONTH, p=who.output / who.output.sum())
        stray = random.random(A_MONTH) < 0.15
        category = np.where(stray, random.integers(0, len(CATEGORIES), A_MONTH), who.category[creator])
        quality = 0.6 * who.quality[creator] + random.normal(0, 0.55, A_MONTH)
        return Videos(
            number=month * NUMBERS + np.arange(A_MONTH),
            published=month * MONTH + np.sort(random.random(A_MONTH)) * MONTH,
            creator=creator,
            category=category,
            duration=_durations(random, category),
            style=0.8 * who.style[creator] + random.normal(0, 0.6, (A_MONTH, STYLES)),
            quality=quality,
            popularity=random.normal(0, 1.8, A_MONTH) + 0.7 * quality,
        )

    def _up(self, month: int) -> Videos:
        """All that is up at some moment of the month: its own publications and those of the 13 months before."""
        return _joined([self.month(month - back) for back in range(13, -1, -1)])

    def between(self, start: float, end: float) -> Videos:
        """What is published in an interval; of one longer than a year, what is still up at its end."""
        start = max(start, end - YEAR)
        months = range(int(start // MONTH), int(end // MONTH) + 1)
        videos = _joined([self.month(month) for month in months])
        return _taken(videos, np.flatnonzero((videos.published >= start) & (videos.published < end)))

    def looks(self, ids: Sequence[str] | NDArray[Any]) -> tuple[Doubles, Doubles]:
        """Style and quality of videos by their ids; average for an id that nobody published."""
        codes, known = pd.factorize(np.asarray(ids, dtype=object))
        numbers = np.array([_number(name) for name in known], dtype=np.int64)
        style, quality = np.zeros((len(known), STYLES)), np.zeros(len(known))
        for month in np.unique(numbers[numbers >= 0] // NUMBERS):
            here = np.flatnonzero(numbers // NUMBERS == month)
            videos, place = self.month(int(month)), numbers[here] % NUMBERS
            style[here], quality[here] = videos.style[place], videos.quality[place]
        return style[codes], quality[codes]


def names(letter: str, digits: int, numbers: Ints) -> NDArray[Any]:
    """`v6840017` for the number 6840017."""
    codes, distinct = pd.factorize(numbers)
    written = np.array([f"{letter}{number:0{digits}d}" for number in distinct.tolist()], dtype=object)
    return written[codes]


def _number(name: str) -> int:
    """The number in a video's id; -1 for an id that nobody published."""
    if not (name.startswith("v") and name[1:].isascii() and name[1:].isdigit()):
        return -1
    number = int(name[1:])
    return number if number % NUMBERS < A_MONTH else -1


def _creators(random: np.random.Generator) -> Creators:
    weights = np.arange(1, len(CATEGORIES) + 1, dtype=np.float64) ** -0.5
    return Creators(
        output=random.permutation(np.arange(1, CREATORS + 1, dtype=np.float64) ** -0.6),
        category=random.choice(len(CATEGORIES), CREATORS, p=weights / weights.sum()),
        style=random.normal(0, 1, (CREATORS, STYLES)),
        quality=random.normal(0, 1, CREATORS),
    )


def _durations(random: np.random.Generator, category: Ints) -> Doubles:
    """Seconds: around 5 minutes, half of that in the first categories of the list, twice that in the last."""
    longer = np.linspace(-0.7, 0.7, len(CATEGORIES))[category]
    drawn = np.exp(np.log(300.0) + longer + random.normal(0, 0.8, len(category)))
    seconds: Doubles = np.clip(drawn, SHORTEST, LONGEST).round()
    return seconds


def _joined(stretches: Sequence[Videos]) -> Videos:
    return Videos(**{name: np.concatenate([getattr(one, name) for one in stretches]) for name in FIELDS})


def _taken(videos: Videos, positions: Ints) -> Videos:
    return Videos(**{name: getattr(videos, name)[positions] for name in FIELDS})


FIELDS = tuple(Videos.__dataclass_fields__)
CATEGORY_NAMES = np.array(CATEGORIES, dtype=object)
