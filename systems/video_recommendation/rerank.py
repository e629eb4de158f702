"""The page, from scored candidates: order by value, then rules for variety and for what is new.

The value of a video is its probability × duration^LENGTH_WORTH. The probability alone fills the page with clips, which
anybody watches to their half; probability × duration, which is the expected watch time, fills it with films that few
finish. In between both what is watched and how long can be had; README.md has the figures.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from contracts.system import AT, Columns, Floats

LENGTH_WORTH = 0.05
OF_ONE_CATEGORY, OF_ONE_CREATOR = 0.4, 0.1  # the shares of a page that may be of one category, of one creator
NEW_SHARE = 0.1  # the share of a page that is for videos younger than NEW
NEW = 2 * 86_400.0  # seconds
TO_THE_END, GIVEN_UP = 0.75, 0.1  # how much of a video is watched on average: once half of it was, and else


@dataclass(frozen=True)
class Page:
    """Positions of the rows to show, in order, and of all (the last shown among them) that could stand last."""

    shown: list[int]
    eligible: list[int]


def watch_seconds(probability: Floats, duration: Floats) -> Floats:
    """For how long a video is expected to be watched, in seconds."""
    seconds: Floats = duration * (probability * TO_THE_END + (1 - probability) * GIVEN_UP)
    return seconds


def value(probability: Floats, duration: Floats) -> Floats:
    """What a page is ordered by."""
    worth: Floats = probability * duration**LENGTH_WORTH
    return worth


def page(rows: Columns, values: Floats, watched: Collection[str], slots: int) -> Page:
    """The best rows under the rules. Fewer than `slots` are shown rather than a rule broken.

    What was watched is left out, unless there is nothing else.
    """
    order, rules = _unwatched(rows, values, watched), _Rules(rows, slots)
    new = _new(rows, order, rules, slots)
    others = [row for row in order if row not in new and rules.take(row, slots - 1)]
    taken = new.union(others)
    best = sorted(taken, key=lambda row: (-values[row], row))
    eligible = [row for row in order if row not in taken and rules.allows(row)]
    return Page([*best, *eligible[:1]], eligible or best[-1:])


def _unwatched(rows: Columns, values: Floats, watched: Collection[str]) -> list[int]:
    """Rows, the best first."""
    order: list[int] = np.argsort(-values, kind="stable").tolist()
    names, known = rows["video_id"].tolist(), set(watched)
    return [row for row in order if names[row] not in known] or order


def _new(rows: Columns, order: Sequence[int], rules: "_Rules", slots: int) -> set[int]:
    """The best of the new videos, for the places that are theirs."""
    places = min(int(NEW_SHARE * slots), slots - 1)
    young = (rows[AT] - rows["published_at"] < NEW).tolist()
    return {row for row in order if young[row] and rules.take(row, places)}


class _Rules:
    """How many of whom are on the page."""

    def __init__(self, rows: Columns, slots: int) -> None:
        self.category, self.creator = rows["category"].tolist(), rows["creator_id"].tolist()
        self.of_category, self.of_creator = (ceil(share * slots) for share in (OF_ONE_CATEGORY, OF_ONE_CREATOR))
        self.categories: Counter[Any] = Counter()
        self.creators: Counter[Any] = Counter()

    def allows(self, row: int) -> bool:
        few = self.categories[self.category[row]] < self.of_category
        return few and self.creators[self.creator[row]] < self.of_creator

    def take(self, row: int, places: int) -> bool:
        """Put a row onto the page if it is allowed there and fewer than `places` are taken."""
        if self.categories.total() >= places or not self.allows(row):
            return False
        self.categories[self.category[row]] += 1
        self.creators[self.creator[row]] += 1
        return True
