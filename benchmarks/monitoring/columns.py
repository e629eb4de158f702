"""Twenty synthetic columns as logs have them, hour by hour, with a known shift on request.

Each column is made of a standard normal variable, row by row: a shift of δ moves that variable by δ of its standard
deviations, and the column shows of it what it shows (a level, a rounded price, nothing where it is missing).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Make = Callable[[Floats, np.random.Generator], NDArray[np.generic]]

HOUR, DAY_OF_HOURS = 3600.0, 24
MONDAY = 4 * 86_400.0  # an hour of the week to begin with: seconds since the epoch
MISSING = 0.3
LEVEL_SIGMA, LEVEL_MEMORY, CYCLE = (
    0.05,
    0.8,
    0.5,
)  # an autocorrelated column's hourly level (AR(1)), and its daily cycle


@dataclass(frozen=True)
class Made:
    """Rows of many windows, and which row belongs to which."""

    frame: pd.DataFrame
    windows: Rows
    starts: Floats  # of the windows, seconds since the epoch
    predictions: "pd.Series[int]"


def _normal(latent: Floats, _: np.random.Generator) -> NDArray[np.generic]:
    return 10 + 3 * latent


def _lognormal(latent: Floats, _: np.random.Generator) -> NDArray[np.generic]:
    return np.exp(latent)


def _zero_inflated(latent: Floats, _: np.random.Generator) -> NDArray[np.generic]:
    return np.where(latent > 0, np.expm1(latent), 0.0)


def _tied(latent: Floats, _: np.random.Generator) -> NDArray[np.generic]:
    return np.round(2 * latent) / 2


def _missing(latent: Floats, random: np.random.Generator) -> NDArray[np.generic]:
    return np.where(random.random(len(latent)) < MISSING, np.nan, latent)


def _numbers(levels: int) -> Make:
    """Codes, the most frequent first, of frequencies like 1/rank."""
    edges = np.cumsum(1 / np.arange(1, levels + 1))
    edges = edges[:-1] / edges[-1]
    return lambda latent, _: np.searchsorted(edges, ndtr(latent)).astype(np.float64)


def _strings(levels: int) -> Make:
    numbers, names = _numbers(levels), np.array([f"level {level}" for level in range(levels)], object)
    return lambda latent, random: names[numbers(latent, random).astype(np.intp)]


KINDS: dict[str, tuple[Make, int]] = {
    "normal": (_normal, 4),
    "lognormal": (_lognormal, 2),
    "zero-inflated": (_zero_inflated, 2),
    "tied": (_tied, 2),
    "5 levels, numbers": (_numbers(5), 1),
    "50 levels, numbers": (_numbers(50), 1),
    "500 levels, numbers": (_numbers(500), 1),
    "5 levels, strings": (_strings(5), 1),
    "50 levels, strings": (_strings(50), 1),
    "500 levels, strings": (_strings(500), 1),
    "30% missing": (_missing, 2),
    "autocorrelated": (_normal, 2),
}
NAMES = tuple(f"{kind} {place}" for kind, (_, number) in KINDS.items() for place in range(number))
KIND_OF = {name: name.rsplit(" ", 1)[0] for name in NAMES}


@dataclass(frozen=True)
class Plan:
    """Windows to be made: rows, hours since a Monday's midnight, levels of autocorrelated columns, rows an answer."""

    rows: Rows
    hours: Rows
    levels: Floats  # columns × windows
    page: int = 1

    def __getitem__(self, chosen: slice) -> "Plan":
        return Plan(self.rows[chosen], self.hours[chosen], self.levels[:, chosen], self.page)

    def in_parts(self, most: int = 200_000) -> Iterator["Plan"]:
        """The plan in stretches of about so many rows, so that memory stays small."""
        part = np.cumsum(self.rows) // most
        for one in np.unique(part):
            places = np.flatnonzero(part == one)
            yield self[int(places[0]) : int(places[-1]) + 1]


def plan(random: np.random.Generator, rows: Rows, first: int = 0, page: int = 1) -> Plan:
    """As many windows as `rows` has entries, `first` hours after a Monday's midnight and on. With `page` above 1 so
    many rows in turn are of one answer and share half of their variance."""
    return Plan(rows, first + np.arange(len(rows)), _levels(random, len(rows)), page)


def made(random: np.random.Generator, planned: Plan, shift: float = 0.0) -> Made:
    """The rows, every column shifted by so many of its standard deviations."""
    windows = np.repeat(np.arange(len(planned.rows)), planned.rows)
    predictions = np.arange(len(windows)) // planned.page
    autocorrelated = iter(planned.levels + CYCLE * np.sin(2 * np.pi * planned.hours / DAY_OF_HOURS))
    columns = {}
    for name, kind in KIND_OF.items():
        latent = _latent(random, predictions, planned.page) + shift
        if kind == "autocorrelated":
            latent += next(autocorrelated)[windows]
        columns[name] = pd.Series(KINDS[kind][0](latent, random))
    starts = np.asarray(MONDAY + planned.hours * HOUR, np.float64)
    return Made(pd.DataFrame(columns, copy=False), windows, starts, pd.Series(predictions))


def traffic(random: np.random.Generator, hours: int, mean: float, first: int = 0) -> Rows:
    """Rows an hour: a daily cycle of four to one, a quiet weekend, and chance."""
    hour = first + np.arange(hours)
    weekend = np.where(hour // DAY_OF_HOURS % 7 >= 5, 0.8, 1.0)
    return random.poisson(mean * weekend * (1 + 0.6 * np.sin(2 * np.pi * hour / DAY_OF_HOURS))).astype(np.intp)


def _latent(random: np.random.Generator, predictions: Rows, page: int) -> Floats:
    latent = random.normal(size=len(predictions))
    if page == 1:
        return latent
    shared = random.normal(size=int(predictions[-1]) + 1)
    return np.asarray(np.sqrt(0.5) * (latent + shared[predictions]))


def _levels(random: np.random.Generator, hours: int) -> Floats:
    """autocorrelated columns × hours: AR(1) in its steady state."""
    steps = random.normal(size=(hours, KINDS["autocorrelated"][1]))
    level = np.empty_like(steps)
    level[:1] = steps[:1]
    for hour in range(1, hours):
        level[hour] = LEVEL_MEMORY * level[hour - 1] + np.sqrt(1 - LEVEL_MEMORY**2) * steps[hour]
    return LEVEL_SIGMA * level.T
