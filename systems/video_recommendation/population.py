"""The people of video_recommendation's world, drawn from a seed. Only world.py and traffic.py look in here.

Two things are kept apart, because drift moves them separately: how often everybody turns up and where (`Habits`: what
data drift changes) and what makes them watch (`Tastes`: what concept drift changes).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from systems.video_recommendation.features import DEVICES
from systems.video_recommendation.publishing import CATEGORIES, DAY, STYLES, Doubles, Ints, names

USERS = 20_000
FAVOURITES = 4  # categories that a user is after
HALF_LENGTH = np.log(300.0)  # a video of this logarithm is neither short nor long


@dataclass(frozen=True)
class Seen:
    """What somebody looks at, as numbers into the population; the arrays broadcast together."""

    at: Doubles
    user: Ints
    device: Ints
    category: Ints
    duration: Doubles
    published: Doubles
    style: Doubles  # … × STYLES
    quality: Doubles


@dataclass(frozen=True)
class Habits:
    """How often everybody turns up, on what, and what the older policy showed them. Weights need not add up to one."""

    activity: Doubles  # of each user
    home_device: Ints  # of each user
    away: Doubles  # which device is used by who is not at the usual one
    at_home: float  # how often the usual device is used
    policies: Doubles  # how much of a page is popular, after the user's taste, fresh
    young: float  # the age in seconds up to which a video counts as fresh


@dataclass(frozen=True)
class Tastes:
    """What makes somebody watch: terms that add up to the log-odds."""

    base: float
    user: Doubles
    affinity: Doubles  # users × categories
    style: Doubles  # users × STYLES
    quality: float
    length: Doubles  # of each device: how much more a long video is watched there
    evening: float  # how much more a long video is watched at 20:00 than at 8:00, halved
    fresh: float  # how much more a video is watched on its first day

    def blend(self, other: "Tastes", share: float) -> "Tastes":
        """These tastes, moved by `share` of the way towards the other."""
        mine, theirs = vars(self), vars(other)
        return Tastes(**{name: mine[name] + share * (theirs[name] - mine[name]) for name in FIELDS})

    @cached_property
    def choice(self) -> Doubles:
        """Users × categories: the share of what each chooses by themselves, added up."""
        wish = np.exp(1.1 * self.affinity)
        return np.cumsum(wish / wish.sum(axis=1, keepdims=True), axis=1)

    def log_odds(self, seen: Seen) -> Doubles:
        """The log-odds that at least half is watched, for each thing seen."""
        evening = np.cos((seen.at % DAY / 3600 - 20.0) * (2 * np.pi / 24))
        length = np.log(seen.duration) - HALF_LENGTH
        age = np.maximum(seen.at - seen.published, 0.0)
        odds: Doubles = (
            self.base
            + self.user[seen.user]
            + self.affinity[seen.user, seen.category]
            + np.einsum("...i,...i->...", self.style[seen.user], seen.style)
            + self.quality * seen.quality
            + (self.length[seen.device] + self.evening * evening) * length
            + self.fresh * np.exp(-age / DAY)
        )
        return odds


def habits(random: np.random.Generator) -> Habits:
    return Habits(
        activity=np.minimum(np.exp(random.normal(0, 1.2, USERS)), 20),
        home_device=random.choice(len(DEVICES), USERS, p=[0.55, 0.1, 0.2, 0.15]),
        away=np.array([0.4, 0.2, 0.2, 0.2]),
        at_home=0.8,
        policies=np.array([0.35, 0.5, 0.15]),
        young=3 * DAY,
    )


def moved_habits(random: np.random.Generator, before: Habits) -> Habits:
    """Other users come, mostly in front of the television, and are shown what is new."""
    return replace(
        before,
        activity=random.permutation(before.activity),
        away=np.array([0.1, 0.1, 0.1, 0.7]),
        at_home=0.3,
        policies=np.array([0.2, 0.3, 0.5]),
        young=DAY,
    )


def tastes(random: np.random.Generator) -> Tastes:
    """An affinity of 0 at the end, and no length there, stand for a category or device that nobody has heard of."""
    return Tastes(
        base=-1.9,
        user=random.normal(0, 0.3, USERS),
        affinity=np.pad(_affinity(random), ((0, 0), (0, 1))),
        style=random.normal(0, 0.45, (USERS, STYLES)),
        quality=0.8,
        length=np.array([-0.7, -0.2, 0.0, 0.5, 0.0]),
        evening=0.25,
        fresh=0.8,
    )


def moved_tastes(before: Tastes) -> Tastes:
    """Fashions move on, styles turn into their opposite in half of their directions, phones become good for long
    videos and televisions for short ones, and what is new is no longer worth more."""
    turned = np.where(np.arange(STYLES) % 2 == 0, -1.0, 1.0)
    known = before.affinity[:, :-1]
    return replace(
        before,
        affinity=np.pad(0.3 * known + 0.7 * np.roll(known, 7, axis=1), ((0, 0), (0, 1))),
        style=before.style * turned,
        length=-before.length,
        fresh=-0.3,
    )


def numbers_of(users: NDArray[Any]) -> Ints:
    """Who users are by their ids; somebody whom the world does not know is like one whom it does."""
    codes, distinct = pd.factorize(np.asarray(users, dtype=object))
    index: Ints = USER_INDEX.get_indexer(pd.Index(distinct))
    like = np.array([crc32(str(name).encode()) % USERS for name in distinct], dtype=np.int64)
    return np.where(index < 0, like, index)[codes]


def _affinity(random: np.random.Generator) -> Doubles:
    """A few favourites for each user, the popular ones oftener (Gumbel's trick draws without replacement)."""
    weights = np.arange(1, len(CATEGORIES) + 1, dtype=np.float64) ** -0.4
    keys = np.log(weights) + random.gumbel(size=(USERS, len(CATEGORIES)))
    favourites = np.argsort(-keys, axis=1)[:, :FAVOURITES]
    affinity = random.normal(-0.7, 0.3, (USERS, len(CATEGORIES)))
    np.put_along_axis(affinity, favourites, random.normal(1.1, 0.4, favourites.shape), axis=1)
    return affinity


FIELDS = tuple(Tastes.__dataclass_fields__)
USER_NAMES = names("u", 5, np.arange(USERS))
USER_INDEX = pd.Index(USER_NAMES, dtype=object)
