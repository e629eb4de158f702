"""MovieLens 100K (Harper and Konstan 2015): a user's own copy as implicit feedback, its splits, and its metrics.

Rated is watched, whatever the rating, as the public reference figures have it. The two stages are in films.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from systems.video_recommendation.factors import Doubles, Ints

SHOWN = 10
GENRES = slice(5, 24)  # of a line of u.item


@dataclass(frozen=True)
class Films:
    """What is known of each film."""

    genres: Doubles  # films × genres, 0 or 1
    year: Ints  # of its release; 0 where it is unknown

    def __len__(self) -> int:
        return len(self.year)


@dataclass(frozen=True)
class Ratings:
    """Who rated which film and when (seconds since the epoch); users and films are numbers from 0."""

    user: Ints
    film: Ints
    at: Doubles
    users: int
    films: Films

    def __len__(self) -> int:
        return len(self.user)

    def where(self, kept: NDArray[np.bool_]) -> "Ratings":
        return Ratings(self.user[kept], self.film[kept], self.at[kept], self.users, self.films)

    def by_user(self) -> list[Ints]:
        """The films of each user."""
        order = np.argsort(self.user, kind="stable")
        ends = np.cumsum(np.bincount(self.user, minlength=self.users))
        return np.split(self.film[order], ends[:-1])


@dataclass(frozen=True)
class Scores:
    """Means over the users who have test ratings, as Microsoft's Recommenders define them (python_evaluation.py)."""

    ndcg: float  # binary gains, over the best that k places could hold
    mean_average_precision: float  # of the first k, over all that is relevant: its `map`, the published figures
    map_at_k: float  # over the lesser of k and all that is relevant: its `map_at_k`, as it is defined now
    users: int


Rank = Callable[[int], Ints]  # a user → films that they have not rated, the best first
Split = Callable[[Ratings], tuple[Ratings, Ratings]]


def load(folder: Path) -> Ratings:
    """`u.data` and `u.item`, tabs or bars between the fields, with or without a header line.

    InvalidInput when a file is not there or is none of that.
    """
    films = _films(_lines(folder / "u.item"))
    rated = [line[:4] for line in _lines(folder / "u.data")]
    try:
        user, film, _, at = np.array(rated, dtype=np.int64).T
        return Ratings(user - 1, _checked(film - 1, len(films)), at.astype(np.float64), int(user.max()), films)
    except ValueError as error:
        raise InvalidInput(f"{folder / 'u.data'} must hold user, film, rating and timestamp, all numbers.") from error


def at_random(share: float, seed: int) -> Split:
    """A share of each user's ratings, drawn at random, and the rest. It lets a model look into the future."""

    def split(ratings: Ratings) -> tuple[Ratings, Ratings]:
        order = np.lexsort((np.random.default_rng(seed).random(len(ratings)), ratings.user))
        count = np.bincount(ratings.user, minlength=ratings.users)
        place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
        first = np.zeros(len(order), dtype=np.bool_)
        first[order] = place < np.round(share * np.repeat(count, count))
        return ratings.where(first), ratings.where(~first)

    return split


def by_time(share: float) -> Split:
    """The oldest share of all ratings, and the newer ones by users who are in the older part: one moment for everybody,
    as in production, where nobody's future is known."""

    def split(ratings: Ratings) -> tuple[Ratings, Ratings]:
        older = ratings.at <= np.quantile(ratings.at, share)
        return ratings.where(older), ratings.where(~older & np.isin(ratings.user, ratings.user[older]))

    return split


def evaluate(rank: Rank, test: Ratings, k: int = SHOWN) -> Scores:
    """How well the first k films of each user's ranking are those that the user rated in the test part."""
    discount = 1 / np.log2(np.arange(k) + 2)
    relevant = {user: films for user, films in enumerate(test.by_user()) if len(films)}
    found = []
    for user, films in relevant.items():
        hit = np.zeros(k)
        first = rank(user)[:k]
        hit[: len(first)] = np.isin(first, films)
        precisions = (np.cumsum(hit) / (np.arange(k) + 1) * hit).sum()
        most = min(k, len(films))
        found.append((hit @ discount / discount[:most].sum(), precisions / len(films), precisions / most))
    ndcg, average_precision, at_k = np.mean(found, axis=0).tolist()
    return Scores(ndcg, average_precision, at_k, len(relevant))


def _films(lines: Sequence[Sequence[str]]) -> Films:
    genres = np.array([[float(flag) for flag in line[GENRES]] for line in lines])
    years = [line[2][-4:] for line in lines]
    return Films(genres, np.array([int(year) if year.isdigit() else 0 for year in years], dtype=np.int64))


def _checked(film: Ints, films: int) -> Ints:
    if film.min() < 0 or film.max() >= films:
        raise InvalidInput(f"u.data names film {film.max() + 1}, and u.item describes {films}; bring both of one copy.")
    return film


def _lines(file: Path) -> list[list[str]]:
    try:
        text = file.read_text(encoding="latin-1")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read; name the folder of your own copy of MovieLens 100K.") from error
    lines = [line.split("|" if "|" in line else "\t") for line in text.splitlines() if line]
    return [line for line in lines if line[0].isdigit()]
