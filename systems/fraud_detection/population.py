"""The cards, devices and merchants of the world, drawn from a seed. Only the world looks in here; no model ever does.

Who is there is fixed; how often each turns up (`Habits`) is what data drift changes. A card holder's device is replaced
now and then, so that a new device is nothing unusual.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from systems.fraud_detection.draws import Doubles, Ints
from systems.fraud_detection.features import CATEGORIES

CARDS, MERCHANTS = 40_000, 2_000
COUNTRIES = ("DE", "FR", "IT", "ES", "NL", "PL", "GB", "US", "CN", "BR", "IN", "JP")
IN_STORE, WEB, APP = 0, 1, 2  # as in features.CHANNELS
SOLD_IN_STORE = ("groceries", "restaurants", "fuel", "fashion", "electronics")

# Devices by number: those of the card holders (a few in turn for each), of the shops, of guests, of the attackers.
TURNS = 4
POOL = 8_192  # devices of attackers, for each kind of attack that has its own
OWN, TERMINALS = 0, CARDS * TURNS
GUESTS = TERMINALS + MERCHANTS
GUEST_DEVICES = 20_000
ATTACKERS = GUESTS + GUEST_DEVICES
DEVICES = ATTACKERS + 3 * POOL


@dataclass(frozen=True)
class Cast:
    """Who is there. Arrays are by card or by merchant."""

    cards: NDArray[Any]
    devices: NDArray[Any]
    merchants: NDArray[Any]
    home: Ints  # the country of each card, as a number into COUNTRIES
    affluence: Doubles  # what the card's payments are worth beside the usual, as a logarithm
    device_days: Doubles  # how long a card holder's device lasts
    age_days: Doubles  # how old the card, and its first device, were at the epoch
    category: Ints  # of each merchant, as a number into CATEGORIES
    online: NDArray[np.bool_]
    risk: Doubles  # of each merchant, in log-odds of fraud
    colluding: NDArray[np.bool_]

    @cached_property
    def card_index(self) -> "pd.Index[str]":
        return index(self.cards)

    @cached_property
    def device_index(self) -> "pd.Index[str]":
        return index(self.devices)

    @cached_property
    def merchant_index(self) -> "pd.Index[str]":
        return index(self.merchants)

    def sellers(self, *categories: str) -> NDArray[np.bool_]:
        """The online merchants that sell any of the categories."""
        return self.online & np.isin(self.category, [CATEGORIES.index(name) for name in categories])


@dataclass(frozen=True)
class Habits:
    """How often everybody turns up. Weights need not add up to one."""

    activity: Doubles  # of each card
    popularity: Doubles  # of each merchant
    channels: Doubles
    travelling: float  # the share of card holders who are abroad
    guests: float  # the share of online payments on a device that nobody knows
    generosity: float  # what is spent beside the usual, as a logarithm


def index(names: Iterable[str]) -> "pd.Index[str]":
    """Finds the numbers of names; -1 for one that is not there."""
    return pd.Index(list(names), dtype=object)


def cast(random: np.random.Generator) -> Cast:
    category, online = _trades(random)
    risk = random.normal(0, 0.8, MERCHANTS)
    return Cast(
        cards=_names(random, "c", 5, CARDS),
        devices=_names(random, "d", 6, DEVICES),
        merchants=_names(random, "m", 4, MERCHANTS),
        home=random.choice(len(COUNTRIES), CARDS, p=_shares()),
        affluence=random.normal(0, 0.45, CARDS),
        device_days=np.exp(random.normal(5.6, 0.5, CARDS)),
        age_days=random.uniform(0, 1_095, CARDS),
        category=category,
        online=online,
        risk=risk,
        colluding=online & (random.random(MERCHANTS) < 0.015),
    )


def habits(random: np.random.Generator) -> Habits:
    return Habits(
        activity=np.minimum(np.exp(random.normal(0, 1.1, CARDS)), 20),
        popularity=np.minimum(np.exp(random.normal(0, 1.2, MERCHANTS)), 25),
        channels=np.array([0.40, 0.35, 0.25]),
        travelling=0.05,
        guests=0.04,
        generosity=0.0,
    )


def moved_habits(random: np.random.Generator, who: Cast, before: Habits) -> Habits:
    """Other people pay more, elsewhere, with the app, for trips and games, and many of them are abroad."""
    return replace(
        before,
        activity=random.permutation(before.activity),
        popularity=random.permutation(before.popularity) * np.where(who.sellers("travel", "digital"), 3.0, 1.0),
        channels=np.array([0.15, 0.20, 0.65]),
        travelling=0.25,
        guests=0.10,
        generosity=0.6,
    )


def _names(random: np.random.Generator, letter: str, digits: int, count: int) -> NDArray[Any]:
    """Shuffled, so that a name says nothing of who bears it."""
    return np.array([f"{letter}{number:0{digits}d}" for number in random.permutation(count).tolist()], dtype=object)


def _shares() -> Doubles:
    weights = np.arange(1, len(COUNTRIES) + 1, dtype=np.float64) ** -0.9
    shares: Doubles = weights / weights.sum()
    return shares


def _trades(random: np.random.Generator) -> tuple[Ints, NDArray[np.bool_]]:
    """What each merchant sells, and whether online."""
    online = random.random(MERCHANTS) < 0.5
    in_store = np.array([CATEGORIES.index(name) for name in SOLD_IN_STORE])
    sold = np.where(
        online,
        random.choice(len(CATEGORIES), MERCHANTS, p=[0.10, 0.06, 0.02, 0.22, 0.16, 0.12, 0.18, 0.08, 0.06]),
        in_store[random.choice(len(in_store), MERCHANTS, p=[0.35, 0.30, 0.12, 0.15, 0.08])],
    )
    return sold, online
