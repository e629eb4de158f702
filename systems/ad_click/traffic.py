"""Who asks for ads, when, where, and which candidates the targeting filter lets through: draws from the population."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from systems.ad_click.population import CATEGORIES, Cast, Doubles, Habits, Ints

TARGETED = 0.6  # the share of candidates taken from the user's favourite categories
PEAK_HOUR = 20.0
DAY = 86_400.0


@dataclass(frozen=True)
class Pages:
    """Pages about to be shown, as numbers into the population; `ads` is pages × candidates."""

    at: Doubles
    user: Ints
    device: Ints
    placement: Ints
    ads: Ints


def moments(random: np.random.Generator, start: float, end: float, count: int) -> Doubles:
    """Sorted moments of `count` page views between two times: busiest at PEAK_HOUR, a third of that at night."""
    grid = np.linspace(start, end, max(2, int((end - start) / 600)))
    rate = 1 + 0.5 * np.cos((grid % DAY / 3600 - PEAK_HOUR) * (2 * np.pi / 24))
    share = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    drawn: Doubles = np.interp(np.sort(random.random(count)), share / share[-1], grid)
    return drawn


def pages(random: np.random.Generator, who: Cast, habits: Habits, at: Doubles, candidates: int) -> Pages:
    """A page view at each of the moments, with its candidate ads (the popular ones may be there more than once)."""
    count = len(at)
    user = _weighted(random, habits.activity, count)
    at_home = random.random(count) < habits.at_home
    device = np.where(at_home, who.home_device[user], _weighted(random, habits.away, count))
    shares = np.cumsum(habits.placements, axis=1) / habits.placements.sum(axis=1, keepdims=True)
    placement = (random.random(count)[:, None] > shares[device]).sum(axis=1)
    return Pages(at, user, device, placement, _candidates(random, who, habits, user, candidates))


def mixed(random: np.random.Generator, one: Pages, other: Pages, share: Doubles) -> Pages:
    """Each page from `other` with the probability in `share`, else from `one`."""
    swap = random.random(len(one.at)) < share
    return Pages(
        at=one.at,
        user=np.where(swap, other.user, one.user),
        device=np.where(swap, other.device, one.device),
        placement=np.where(swap, other.placement, one.placement),
        ads=np.where(swap[:, None], other.ads, one.ads),
    )


def _candidates(random: np.random.Generator, who: Cast, habits: Habits, user: Ints, candidates: int) -> Ints:
    shape = (len(user), candidates)
    wished = who.favourites[user[:, None], random.integers(0, who.favourites.shape[1], shape)]
    any_category = _weighted(random, habits.categories, shape)
    category = np.where(random.random(shape) < TARGETED, wished, any_category)
    return _within(random, who, habits, category)


def _within(random: np.random.Generator, who: Cast, habits: Habits, category: Ints) -> Ints:
    """An ad of each of the categories by popularity: ads of a category stand together, so one search finds it."""
    reached = np.concatenate([[0.0], np.cumsum(habits.popularity)])
    first = np.searchsorted(who.category, np.arange(len(CATEGORIES) + 1))
    low, high = reached[first[category]], reached[first[category + 1]]
    found = np.searchsorted(reached, low + random.random(category.shape) * (high - low), side="right") - 1
    last: NDArray[np.int64] = np.maximum(first[category], np.minimum(found, first[category + 1] - 1))
    return last


def _weighted(random: np.random.Generator, weights: Doubles, shape: int | tuple[int, ...]) -> Ints:
    reached = np.cumsum(weights)
    drawn: Ints = np.searchsorted(reached, random.random(shape) * reached[-1], side="right")
    return drawn
