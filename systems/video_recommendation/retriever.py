"""Stage one in use: from 100,000 videos to the 500 that the model ranks, by several generators, in under 2 ms.

Most candidates are the approximate nearest neighbours of the user's vector; some are popular, some fresh. Who has no
history gets what is popular, what is fresh, and a spread over the categories.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from contracts.system import Columns
from systems.video_recommendation import bundle
from systems.video_recommendation.attributes import AttributeMap
from systems.video_recommendation.factors import Doubles, Factors, Ints, Pull, Vectors, unit
from systems.video_recommendation.neighbours import Neighbours, best
from systems.video_recommendation.requirements import MOST_CANDIDATES
from systems.video_recommendation.shelf import Shelf

PULL = Pull(popularity=0.1, base=0.2)  # see README
POPULAR, FRESH, NEWEST = 60, 60, 20  # of the candidates at most: popular, fresh and alike, the newest of all
YOUNG = 2_000  # videos among which the fresh ones are found: a week of publications
ATTRIBUTES = ("category", "creator_id", "duration")


@dataclass(frozen=True)
class State:
    """What a request looks into: the catalogue, and for each video its vector. Swapped in one assignment."""

    shelf: Shelf
    factors: Factors

    @cached_property
    def likeness(self) -> Vectors:
        """The vectors of length 1."""
        return unit(self.factors.taste)

    @cached_property
    def searched(self) -> Vectors:
        return self.factors.searched(PULL)


class VideoRetriever:
    """Stage one, fitted. What was published since is looked through exactly; the index itself never changes."""

    def __init__(self, state: State, mapping: AttributeMap, index: Neighbours, popular: Ints) -> None:
        self.mapping, self.index = mapping, index
        self.popular = popular  # positions, the most watched of late first
        self._state = _ready(state)

    @property
    def state(self) -> State:
        return self._state

    def candidates(self, request: Mapping[str, Any], at: float) -> Columns:
        """The row columns of at most MOST_CANDIDATES videos published before `at`, the likeliest first."""
        state, watched = self._state, request["watched"]
        history = state.shelf.places.all_of(watched)
        user = state.factors.user(history) if history else None
        found = self._strangers(state, at) if user is None else self._alike(state, user, at, history)
        picked = found[state.shelf.columns["published_at"][found] <= at][:MOST_CANDIDATES]
        same = {"user_id": request["user_id"], "device": request["device"], "watched": " ".join(watched)}
        repeated = {name: np.broadcast_to(np.array(value, dtype=object), len(picked)) for name, value in same.items()}
        return {**repeated, **state.shelf.rows(picked), **_likings(state, history, user, picked)}

    def columns(self, rows: Columns) -> Columns:
        """`similarity`: the cosine of each row's user, by what they watched, and its video; `category_share`: the share
        of what they watched that is of its category. Both are 0 without a history."""
        state = self._state
        code, distinct = pd.factorize(rows["watched"])
        histories = [state.shelf.places.all_of(names.split(" ")) for names in distinct]
        users, shares = state.factors.users(histories), _shares(state, histories)
        category = state.shelf.categories[1].get_indexer(pd.Index(rows["category"]))  # -1: the last, empty column
        cosine = np.einsum("ij,ij->i", users[code], self._videos(state, rows))
        return {"similarity": cosine.astype(np.float64), "category_share": shares[code, category]}

    def _videos(self, state: State, rows: Columns) -> Vectors:
        """A vector of length 1 for each row's video; from its attributes where the catalogue does not hold it."""
        position = state.shelf.find(rows["video_id"])
        videos = state.likeness[position]
        if len(unknown := np.flatnonzero(position < 0)):
            videos[unknown] = unit(self.mapping({name: np.asarray(rows[name])[unknown] for name in ATTRIBUTES}))
        return videos

    def add(self, items: Columns) -> None:
        """Videos published since it was fitted. They have nothing but attributes to be found by."""
        before = self._state
        more = before.shelf.with_more(items)
        if more is before.shelf:
            return
        new = {name: values[len(before.shelf) :] for name, values in more.columns.items()}
        taste = np.concatenate([before.factors.taste, self.mapping(new)])
        watched = np.concatenate([before.factors.watched, np.zeros(len(taste) - len(before.shelf), dtype=np.float32)])
        self._state = _ready(State(more, Factors(taste, watched)))

    def dump(self) -> bytes:
        """Plain arrays in NumPy's own format; see bundle.py."""
        return bundle.dump(bundle.Parts(self._state.shelf, self._state.factors, self.mapping, self.index, self.popular))

    def _alike(self, state: State, user: Vectors, at: float, history: Sequence[int]) -> Ints:
        query = PULL.query(user)
        near = self.index.search(query, MOST_CANDIDATES - POPULAR - FRESH - NEWEST + len(history))
        young = state.shelf.newest(at, YOUNG)
        fresh = young[best(state.searched.take(young, axis=0) @ query, FRESH)]
        return once(near, fresh, self.popular[:POPULAR], young[:NEWEST], self.popular, without=history)

    def _strangers(self, state: State, at: float) -> Ints:
        return once(self.popular[:POPULAR], state.shelf.newest(at, FRESH), self.popular)


def load(content: bytes) -> VideoRetriever:
    """The retriever that was dumped; CorruptModel when the bytes are none."""
    parts = bundle.load(content)
    return VideoRetriever(State(parts.shelf, parts.factors), parts.mapping, parts.index, parts.popular)


def _likings(state: State, history: Sequence[int], user: Vectors | None, picked: Ints) -> Columns:
    """The columns that stage one fills in, for the candidates of one user."""
    if user is None:
        return {"similarity": np.zeros(len(picked)), "category_share": np.zeros(len(picked))}
    codes, names = state.shelf.categories
    share = np.bincount(codes[history], minlength=len(names)) / len(history)
    cosine = state.likeness.take(picked, axis=0) @ user  # `take`: quicker than an index is at whole rows
    return {"similarity": cosine.astype(np.float64), "category_share": share[codes[picked]]}


def _shares(state: State, histories: Sequence[Sequence[int]]) -> Doubles:
    """Histories × categories: how much of each is of which; with one more column that is empty."""
    codes, names = state.shelf.categories
    lengths = np.fromiter(map(len, histories), dtype=np.int64, count=len(histories))
    items = np.fromiter((item for history in histories for item in history), dtype=np.int64, count=lengths.sum())
    shares = np.zeros((len(histories), len(names) + 1))
    np.add.at(shares, (np.repeat(np.arange(len(histories)), lengths), codes[items]), 1.0)
    return shares / np.maximum(lengths, 1)[:, None]


def once(*positions: Ints, without: Sequence[int] = ()) -> Ints:
    """One after the other, each position where it comes first, and those of `without` nowhere."""
    joined = np.concatenate([np.asarray(without, dtype=np.int64), *positions])
    number = np.arange(len(joined), dtype=np.int32)
    first = np.empty(joined.max(initial=-1) + 1, dtype=np.int32)  # only what is written here is read again
    first[joined[::-1]] = number[::-1]  # of a position's numbers the last written stays: where it comes first
    wanted = first[joined] == number
    wanted[: len(without)] = False
    kept: Ints = joined[wanted]
    return kept


def _ready(state: State) -> State:
    """With everything that is worked out once, so that no request waits for it."""
    _ = state.likeness, state.searched, state.shelf.by_age, state.shelf.categories
    return state
