"""The people, ads and tastes of ad_click's world, drawn from a seed. Only world.py looks in here; no model ever does.

Three things are kept apart, because drift moves them separately: who is there (fixed), how often each turns up
(`Habits`: what data drift changes) and what leads to a click (`Tastes`: what concept drift changes).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from systems.ad_click.features import DEVICES

USERS, ADS, CAMPAIGNS, ADVERTISERS = 20_000, 2_000, 500, 200
CATEGORIES = (
    *("travel", "games", "books", "fashion", "finance", "food", "sports", "beauty", "cars", "music"),
    *("health", "home", "electronics", "education", "movies", "pets", "garden", "toys", "jobs", "insurance"),
)
FAVOURITES = 3  # categories that a user is after

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """Who sees which ad where and when, as numbers into the population; the arrays broadcast together."""

    at: Doubles
    user: Ints
    device: Ints
    placement: Ints
    ad: Ints
    category: Ints


@dataclass(frozen=True)
class Cast:
    """Who is there: names, whose ad is whose, and what each is worth to its advertiser."""

    users: NDArray[Any]
    ads: NDArray[Any]
    campaigns: NDArray[Any]  # of each ad, like the following
    advertisers: NDArray[Any]
    category: Ints  # sorted: the ads of a category stand together
    bids: Doubles
    home_device: Ints  # of each user
    favourites: Ints  # users × FAVOURITES

    @cached_property
    def user_index(self) -> "pd.Index[str]":
        return index(self.users)

    @cached_property
    def ad_index(self) -> "pd.Index[str]":
        return index(self.ads)


@dataclass(frozen=True)
class Habits:
    """How often everybody turns up. Weights need not add up to one."""

    activity: Doubles  # of each user
    popularity: Doubles  # of each ad
    categories: Doubles  # of each category
    away: Doubles  # which device is used by who is not at the usual one
    at_home: float  # how often the usual device is used
    placements: Doubles  # devices × placements


@dataclass(frozen=True)
class Tastes:
    """What leads to a click: terms that add up to the log-odds."""

    base: float
    user: Doubles
    affinity: Doubles  # users × categories
    quality: Doubles  # of each ad
    device: Doubles
    placement: Doubles
    crossed: Doubles  # devices × placements: what no sum of the two can say
    evening: Doubles  # of each device: how much more it is clicked at 20:00 than at 8:00, halved

    def blend(self, other: "Tastes", share: float) -> "Tastes":
        """These tastes, moved by `share` of the way towards the other."""
        mine, theirs = vars(self), vars(other)
        return Tastes(**{name: mine[name] + share * (theirs[name] - mine[name]) for name in mine})

    def padded(self) -> "Tastes":
        """With a zero at the end of every axis, where the index of whoever is unknown, -1, finds it."""
        arrays = {name: np.pad(term, [(0, 1)] * term.ndim) for name, term in vars(self).items() if name != "base"}
        return Tastes(base=self.base, **arrays)

    def log_odds(self, seen: "Seen") -> Doubles:
        """The log-odds of a click for each thing seen."""
        evening = np.cos((seen.at % 86_400 / 3600 - 20.0) * (2 * np.pi / 24))
        odds: Doubles = (
            self.base
            + self.user[seen.user]
            + self.affinity[seen.user, seen.category]
            + self.quality[seen.ad]
            + self.device[seen.device]
            + self.placement[seen.placement]
            + self.crossed[seen.device, seen.placement]
            + self.evening[seen.device] * evening
        )
        return odds


def index(names: Sequence[str] | NDArray[Any]) -> "pd.Index[str]":
    """Finds the numbers of names; -1 for one that is not there."""
    return pd.Index(list(names), dtype=object)


def cast(random: np.random.Generator) -> Cast:
    campaign = _spread(random, ADS, CAMPAIGNS)
    advertiser_of = _spread(random, CAMPAIGNS, ADVERTISERS)
    weights = _power_law(len(CATEGORIES), 0.7)
    category = np.sort(random.choice(len(CATEGORIES), ADS, p=weights / weights.sum()))
    return Cast(
        users=_names("u", 5, np.arange(USERS)),
        ads=_names("a", 4, random.permutation(ADS)),
        campaigns=_names("c", 3, campaign),
        advertisers=_names("v", 3, advertiser_of[campaign]),
        category=category,
        bids=(0.01 + np.exp(random.normal(-0.5, 0.5, ADS))).round(2),
        home_device=random.choice(len(DEVICES), USERS, p=[0.6, 0.3, 0.1]),
        favourites=_favourites(random, weights),
    )


def habits(random: np.random.Generator) -> Habits:
    return Habits(
        activity=np.minimum(np.exp(random.normal(0, 1.5, USERS)), 30),
        popularity=np.exp(random.normal(0, 1.3, ADS)),
        categories=_power_law(len(CATEGORIES), 0.7),
        away=np.array([0.5, 0.3, 0.2]),
        at_home=0.85,
        placements=np.array([[2.0, 6.0, 0.5, 1.5], [3.0, 3.0, 3.0, 1.0], [2.0, 4.0, 2.0, 2.0]]),
    )


def moved_habits(random: np.random.Generator, before: Habits) -> Habits:
    """Other users come, on other devices, and other ads are pushed."""
    return replace(
        before,
        activity=random.permutation(before.activity),
        popularity=random.permutation(before.popularity),
        categories=random.permutation(before.categories),
        away=np.array([0.1, 0.2, 0.7]),
        at_home=0.4,
        placements=before.placements[:, ::-1],
    )


def tastes(random: np.random.Generator, who: Cast) -> Tastes:
    return Tastes(
        base=-4.1,
        user=random.normal(0, 0.25, USERS),
        affinity=_affinity(random, who.favourites),
        quality=_quality(random, who),
        device=np.array([0.35, -0.35, 0.0]),
        placement=np.array([0.5, 0.3, -0.4, -0.9]),
        crossed=np.array([[-0.7, 0.6, -0.7, 0.1], [0.7, -0.7, 0.7, -0.1], [0.0, 0.0, 0.0, 0.0]]),
        evening=np.array([0.15, -0.4, 0.2]),
    )


def moved_tastes(random: np.random.Generator, who: Cast, before: Tastes) -> Tastes:
    """Pages are laid out anew (what worked where, on which device), fashions change, a third of the ads wear out."""
    redrawn = random.random(ADS) < 0.33
    return replace(
        before,
        base=before.base + 1.3,
        affinity=np.roll(before.affinity, 3, axis=1) * 0.5 + before.affinity * 0.5,
        quality=np.where(redrawn, _quality(random, who), before.quality),
        device=-1.5 * before.device,
        placement=before.placement[::-1].copy(),
        crossed=-before.crossed,
        evening=-before.evening,
    )


def _names(letter: str, digits: int, numbers: Ints) -> NDArray[Any]:
    return np.array([f"{letter}{number:0{digits}d}" for number in numbers.tolist()], dtype=object)


def _power_law(count: int, exponent: float) -> Doubles:
    return np.arange(1, count + 1, dtype=np.float64) ** -exponent


def _spread(random: np.random.Generator, count: int, owners: int) -> Ints:
    """An owner for each of `count`: everyone has one, the large ones many."""
    weights = _power_law(owners, 0.6)
    rest = random.choice(owners, count - owners, p=weights / weights.sum())
    return random.permutation(np.concatenate([np.arange(owners), rest]))


def _favourites(random: np.random.Generator, weights: Doubles) -> Ints:
    """Different categories for each user, the popular ones oftener (Gumbel's trick draws without replacement)."""
    keys = np.log(weights) + random.gumbel(size=(USERS, len(CATEGORIES)))
    return np.argsort(-keys, axis=1)[:, :FAVOURITES]


def _affinity(random: np.random.Generator, favourites: Ints) -> Doubles:
    affinity = random.normal(-0.2, 0.1, (USERS, len(CATEGORIES)))
    np.put_along_axis(affinity, favourites, random.normal(1.0, 0.15, favourites.shape), axis=1)
    return affinity


def _quality(random: np.random.Generator, who: Cast) -> Doubles:
    """A campaign's ads are much alike, so that a new ad is known by its campaign."""
    by_campaign = dict(zip(np.unique(who.campaigns), random.normal(0, 0.45, CAMPAIGNS), strict=True))
    return np.array([by_campaign[campaign] for campaign in who.campaigns]) + random.normal(0, 0.15, ADS)
