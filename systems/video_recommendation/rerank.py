"""The page, from scored candidates: order by value, then rules for variety and for what is new.

The value of a video is its probability × duration^LENGTH_WORTH. The probability alone fills the page with clips, which
anybody watches to their half; probability × duration, which is the expected watch time, fills it with films that few
finish. In between both what is watched and how long can be had; README.md has the figures.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    young = (rows[AT] - rows["published_at"] < NEW).tolist()
    rules.take((row for row in order if young[row]), min(int(NEW_SHARE * slots), slots - 1))
    rules.take(order, slots - 1)
    best = sorted(rules.taken, key=lambda row: (-values[row], row))
    eligible = list(rules.allowed(order))
    return Page([*best, *eligible[:1]], eligible or best[-1:])


def _unwatched(rows: Columns, values: Floats, watched: Collection[str]) -> list[int]:
    """Rows, the best first."""
    order: list[int] = np.argsort(-values, kind="stable").tolist()
    names, known = rows["video_id"].tolist(), set(watched)
    return order if known.isdisjoint(names) else [row for row in order if names[row] not in known] or order


class _Quota:
    """How many of each name are on the page, and of which there are as many as there may be."""

    def __init__(self, names: NDArray[Any], most: int) -> None:
        self.names, self.most = names.tolist(), most
        self.counts: dict[Any, int] = {}
        self.full: set[Any] = set()

    def put(self, row: int) -> None:
        name = self.names[row]
        self.counts[name] = count = self.counts.get(name, 0) + 1
        if count == self.most:
            self.full.add(name)


class _Rules:
    """What is on the page, and what else may be put there."""

    def __init__(self, rows: Columns, slots: int) -> None:
        self.categories = _Quota(rows["category"], ceil(OF_ONE_CATEGORY * slots))
        self.creators = _Quota(rows["creator_id"], ceil(OF_ONE_CREATOR * slots))
        self.taken: set[int] = set()

    def allowed(self, order: Iterable[int]) -> Iterator[int]:
        """Those of the rows that are not on the page and may be put there, each looked at when it is asked for."""
        taken, category, creator = self.taken, self.categories.names, self.creators.names
        full, spent = self.categories.full, self.creators.full
        return (row for row in order if row not in taken and category[row] not in full and creator[row] not in spent)

    def take(self, order: Iterable[int], places: int) -> None:
        """Put rows onto the page, each if it is allowed there, until `places` are taken."""
        for row in islice(self.allowed(order), places - len(self.taken)):
            self.taken.add(row)
            self.categories.put(row)
            self.creators.put(row)
