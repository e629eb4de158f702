"""Who turns up when and where, what they watched before, and what the older policy showed them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systems.video_recommendation.population import Habits, Tastes
from systems.video_recommendation.publishing import (
    CATEGORIES,
    DAY,
    MONTH,
    YEAR,
    Doubles,
    Ints,
    Publisher,
    Videos,
    names,
)
from systems.video_recommendation.requirements import HISTORY

PEAK_HOUR = 20.0
OFFERED = 12  # videos of a category that somebody who looks for one has before them


@dataclass(frozen=True)
class Pages:
    """Pages about to be shown, as numbers into the population."""

    at: Doubles
    user: Ints
    device: Ints


def moments(random: np.random.Generator, start: float, end: float, count: int) -> Doubles:
    """Sorted moments of `count` page views between two times: busiest at PEAK_HOUR, a third of that at night."""
    grid = np.linspace(start, end, max(2, int((end - start) / 600)))
    rate = 1 + 0.5 * np.cos((grid % DAY / 3600 - PEAK_HOUR) * (2 * np.pi / 24))
    share = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    drawn: Doubles = np.interp(np.sort(random.random(count)), share / share[-1], grid)
    return drawn


def pages(random: np.random.Generator, habits: Habits, at: Doubles) -> Pages:
    """A page view at each of the moments."""
    user = _weighted(random, habits.activity, len(at))
    home = random.random(len(at)) < habits.at_home
    return Pages(at, user, np.where(home, habits.home_device[user], _weighted(random, habits.away, len(at))))


def mixed(random: np.random.Generator, one: Pages, other: Pages, share: Doubles) -> tuple[Pages, NDArray[np.bool_]]:
    """Each page from `other` with the probability in `share`, else from `one`; and which are from the other."""
    swap = random.random(len(one.at)) < share
    user, device = np.where(swap, other.user, one.user), np.where(swap, other.device, one.device)
    return Pages(one.at, user, device), swap


def shown(random: np.random.Generator, up: Videos, habits: Habits, choice: Doubles, seen: Pages, count: int) -> Ints:
    """Positions of `count` videos a page: popular ones, ones of the user's categories, and fresh ones."""
    shape = (len(seen.at), count)
    at = np.broadcast_to(seen.at[:, None], shape)
    shares = np.cumsum(habits.policies) / habits.policies.sum()
    policy = np.searchsorted(shares, random.random(shape), side="right")
    first, last = (np.searchsorted(up.published, moment) for moment in (at - habits.young, at))
    fresh = first + (random.random(shape) * (last - first)).astype(np.int64)
    reached = np.concatenate([[0.0], np.cumsum(up.weights)])
    oldest = np.searchsorted(up.published, at - YEAR)
    popular = within(reached, oldest, last, random.random(shape))
    category = chosen(choice[seen.user], random.random(shape))
    wished = of_category(up, category, at, random.random(shape))
    return np.choose(policy, [popular, wished, fresh])


def watched(seed: int, publisher: Publisher, tastes: Sequence[Tastes], turns: float, seen: Pages) -> NDArray[Any]:
    """Pages × HISTORY: numbers of the videos that each page's user watched last before it, the newest at the end.

    Everybody watches at a pace of their own, and what their n-th video is depends on the seed, on who they are and on
    n alone: so that whoever asks finds the same. `tastes` are those before and after `turns`.
    """
    pace = 3600 * np.exp(1.0 + 2.0 * _uniform(seed, seen.user, np.zeros(1, dtype=np.int64), 0))
    done = np.floor(seen.at / pace).astype(np.int64)
    turn = done[:, None] - np.arange(HISTORY)[::-1]
    user, at = np.broadcast_to(seen.user[:, None], turn.shape), turn * pace[:, None]
    number = np.empty(turn.shape, dtype=np.int64)
    month, later = np.floor(at / MONTH).astype(np.int64), at >= turns
    for one in np.unique(month):
        for turned, taste in enumerate(tastes):
            here = np.nonzero((month == one) & (later == bool(turned)))
            if len(here[0]):
                up = publisher.up(int(one))
                number[here] = _watched(seed, up, taste, user[here], turn[here], at[here])
    return number


def joined(numbers: Ints) -> NDArray[Any]:
    """One string a page: the ids of its videos, each once, the newest at the end."""
    ids = names("v", 7, numbers.ravel()).reshape(numbers.shape)
    return np.array([" ".join(reversed(dict.fromkeys(page[::-1]))) for page in ids.tolist()], dtype=object)


def _watched(seed: int, up: Videos, tastes: Tastes, user: Ints, turn: Ints, at: Doubles) -> Ints:
    """What somebody looks for by themselves: a category after their taste, and of some videos there the best."""
    category = chosen(tastes.choice[user], _uniform(seed, user, turn, 1)[:, None])
    drawn = np.stack([_uniform(seed, user, turn, 2 + one) for one in range(2 * OFFERED)], axis=1)
    moment = at[:, None]
    offered = of_category(up, np.broadcast_to(category, (len(at), OFFERED)), moment, drawn[:, :OFFERED])
    liking = np.einsum("ni,nmi->nm", tastes.style[user], up.style[offered]) + tastes.quality * up.quality[offered]
    luck = -np.log(-np.log(np.clip(drawn[:, OFFERED:], 1e-12, 1 - 1e-12)))  # Gumbel: drawn by the softmax of liking
    best = np.argmax(1.5 * liking + luck, axis=1)
    number: Ints = up.number[offered[np.arange(len(at)), best]]
    return number


def chosen(reached: Doubles, drawn: Doubles) -> Ints:
    """The category that a number in [0, 1) falls on, for rows of added-up shares."""
    number: Ints = (drawn[..., None] >= reached[:, None, : len(CATEGORIES) - 1]).sum(axis=-1)
    return number


def of_category(up: Videos, category: Ints, at: Doubles, drawn: Doubles) -> Ints:
    """A video of each category, of those that are up at the moment: the popular and the newer ones oftener."""
    order = up.by_category
    span = 2 * YEAR
    key = up.category[order] * span + (up.published[order] - up.published[0])
    since = category * span + (at - up.published[0])
    lowest = category * span  # the moment may lie within the first year of the stretch
    first, last = np.searchsorted(key, np.maximum(since - YEAR, lowest)), np.searchsorted(key, since)
    reached = np.concatenate([[0.0], np.cumsum(up.weights[order])])
    found: Ints = order[within(reached, first, last, drawn)]
    return found


def within(reached: Doubles, first: Ints, last: Ints, drawn: Doubles) -> Ints:
    """Positions from `first` up to `last`, drawn by weights that are given added up."""
    low, high = reached[first], reached[last]
    found = np.searchsorted(reached, low + drawn * (high - low), side="right") - 1
    return np.clip(found, first, np.maximum(last - 1, first))


def _weighted(random: np.random.Generator, weights: Doubles, count: int) -> Ints:
    reached = np.cumsum(weights)
    drawn: Ints = np.searchsorted(reached, random.random(count) * reached[-1], side="right")
    return drawn


def _uniform(seed: int, user: Ints, turn: Ints, stream: int) -> Doubles:
    """A number in [0, 1) for each user's n-th turn: SplitMix64's mixing (Steele et al. 2014, figure 17)."""
    state = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03) % 2**64
    mixed = user.astype(np.uint64) * np.uint64(0x9FB21C651E98DF25) + np.uint64(state)
    for number in (turn.astype(np.uint64), np.zeros(1, dtype=np.uint64)):
        mixed = (mixed ^ number) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
