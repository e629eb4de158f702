"""States of a view's entities, kept in the process that reads them: the same items are asked about over and over.

What is kept holds for one watermark: how far the view was materialised, which the reader asks Redis for whenever it
asks anything, and every tenth of a second. Materialisation moves it after the data, so a new state is seen that much
later; a Redis that was emptied has none, and nothing is kept without one. What anything else writes to Redis is seen
after `MAX_AGE` at the latest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

MAX_AGE = 60.0  # seconds
MIN_SHARE = 0.5  # of it, after which a state may be read again: what was read at once shall not end at once
CAPACITY = 65_536  # entities a view
WAYS = 8  # places of a set: their hashes are one line of a processor's cache
FEW = 8  # entities that are sooner kept one by one
NEVER = np.iinfo(np.int64).min  # the stamp of an entity of which there is no state

NONE, FIRST = np.arange(0), np.arange(1)  # which rows are unread, of one
NONE.setflags(write=False)
FIRST.setflags(write=False)

Entity = str | tuple[str, ...]  # the text of its key, or of its keys


@dataclass(frozen=True)
class States:
    """What is known of some entities, a row each."""

    values: NDArray[np.float32]  # entities × features, defaults where there is no value
    stamps: NDArray[np.int64]  # microseconds since 1970: when the state was made
    missing: NDArray[np.bool_]  # any value of it

    def put(self, at: NDArray[np.intp], others: "States") -> None:
        """Write others' rows over these."""
        self.values[at], self.stamps[at], self.missing[at] = others.values, others.stamps, others.missing

    def take(self, at: NDArray[np.intp] | Sequence[int]) -> "States":
        """A copy of these rows."""
        return States(self.values.take(at, axis=0), self.stamps.take(at), self.missing.take(at))

    def row(self, at: int) -> "States":
        """A copy of one row."""
        return States(
            self.values[at : at + 1].copy(), self.stamps[at : at + 1].copy(), self.missing[at : at + 1].copy()
        )

    @classmethod
    def empty(cls, rows: int, width: int) -> "States":
        """Room for so many. It is written to, unlike what `np.zeros` gives: its memory is taken now, and does not grow
        while the rows come."""
        return cls(np.full((rows, width), 0, np.float32), np.full(rows, NEVER, np.int64), np.full(rows, False))


class StateCache:
    """Set-associative, as processors' caches are: an entity's hash says in which of many small sets it may stand, and
    whoever was read longest ago in that set makes room for it. So hundreds are found in a few steps of NumPy, where a
    dictionary's every look-up waits for memory.

    One entity is found, and a few are kept, in plain Python: each of NumPy's steps costs as much for one as for dozens.

    An entity is told from others by its hash alone, of 64 bits and with a key that is the process's own: of some 10¹⁹
    pairs of entities one pair has the same.
    """

    def __init__(
        self, width: int, capacity: int = CAPACITY, max_age: float = MAX_AGE, time: Callable[[], float] = monotonic
    ) -> None:
        if capacity < WAYS or capacity & (capacity - 1):
            raise ValueError(f"capacity is {capacity}; it should be a power of two, at least {WAYS}")
        self._max_age, self._time, self._random = max_age, time, np.random.default_rng()
        self._hashes = np.full((capacity // WAYS, WAYS), 0, np.int64)  # sets × the places of one
        self._read_at = np.full((capacity // WAYS, WAYS), -np.inf)
        self._until = np.full((capacity // WAYS, WAYS), -np.inf)
        self._states = States.empty(capacity, width)
        self.watermark: bytes | None = None  # up to which what is kept was materialised

    def find(self, entities: Sequence[Entity]) -> tuple[States, NDArray[np.intp]]:
        """A row for each of the entities, and which of these rows are yet to be read."""
        if len(entities) == 1:
            return self._find_one(hash(entities[0]))
        hashes, sets = self._hashed(entities)
        same = self._hashes.take(sets, axis=0) == hashes[:, None]
        places = sets * WAYS + same.argmax(axis=1)
        good = self._until.take(places) >= self._time()
        return self._states.take(places), np.flatnonzero(~(good & _any(same)))

    def keep(self, entities: Sequence[Entity], states: States, watermark: bytes | None) -> None:
        """Keep what was read of entities after the watermark was; what another one was kept by goes."""
        if watermark != self.watermark:
            self._read_at.fill(-np.inf)
            self._until.fill(-np.inf)
            self.watermark = watermark
        if watermark is None:
            return
        if len(entities) <= FEW:
            for row, entity in enumerate(entities):
                self._keep_one(hash(entity), states, row)
            return
        hashes, sets = self._hashed(entities)
        same = self._hashes.take(sets, axis=0) == hashes[:, None]
        ways = np.where(_any(same), same.argmax(axis=1), self._read_at.take(sets, axis=0).argmin(axis=1))
        self._hashes[sets, ways] = hashes  # of several that take one place the last stays, here and below: NumPy's rule
        self._read_at[sets, ways] = now = self._time()
        self._until[sets, ways] = now + self._max_age * self._random.uniform(MIN_SHARE, 1.0, len(ways))
        self._states.put(sets * WAYS + ways, states)

    def _find_one(self, hashed: int) -> tuple[States, NDArray[np.intp]]:
        chosen, ways = self._set_of(hashed)
        place = chosen * WAYS + (ways.index(hashed) if hashed in ways else 0)
        good = hashed in ways and self._until.item(place) >= self._time()
        return self._states.row(place), NONE if good else FIRST

    def _keep_one(self, hashed: int, states: States, row: int) -> None:
        chosen, ways = self._set_of(hashed)
        way = ways.index(hashed) if hashed in ways else int(self._read_at[chosen].argmin())
        place, kept = chosen * WAYS + way, self._states
        self._hashes[chosen, way] = hashed
        self._read_at[chosen, way] = now = self._time()
        self._until[chosen, way] = now + self._max_age * self._random.uniform(MIN_SHARE, 1.0)
        kept.values[place], kept.stamps[place], kept.missing[place] = (
            states.values[row],
            states.stamps[row],
            states.missing[row],
        )

    def _set_of(self, hashed: int) -> tuple[int, list[int]]:
        """In which set an entity may stand, and the hashes of those that do."""
        chosen = hashed & (len(self._hashes) - 1)
        return chosen, self._hashes[chosen].tolist()

    def _hashed(self, entities: Sequence[Entity]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The entities' hashes, and the sets in which they may stand."""
        hashes = np.fromiter(map(hash, entities), dtype=np.int64, count=len(entities))
        return hashes, hashes & (len(self._hashes) - 1)


def _any(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows hold any True: the truth of a set's places, a byte each, is one word."""
    found: NDArray[np.bool_] = same.view(np.int64).ravel() != 0
    return found
