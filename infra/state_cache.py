"""States of a view's entities, kept in the process that reads them: the same items are asked about over and over.

What is kept holds for one watermark: how far the view was materialised, which the reader asks Redis for with every
request. Materialisation moves it after the data, so a new state is seen by the next request; a Redis that was emptied
has none, and nothing is kept without one. What anything else writes to Redis is seen after `MAX_AGE` at the latest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from time import monotonic

import numpy as np
from numpy.typing import NDArray

MAX_AGE = 10.0  # seconds
CAPACITY = 65_536  # entities a view; some 300 bytes each
NEVER = np.iinfo(np.int64).min  # the stamp of an entity of which there is no state

Entity = tuple[str, ...]


@dataclass(frozen=True)
class States:
    """What is known of some entities, a row each."""

    values: NDArray[np.float32]  # entities × features, defaults where there is no value
    stamps: NDArray[np.int64]  # microseconds since 1970: when the state was made
    missing: NDArray[np.bool_]  # any value of it

    def put(self, at: NDArray[np.intp], others: "States") -> None:
        """Write others' rows over these."""
        self.values[at], self.stamps[at], self.missing[at] = others.values, others.stamps, others.missing

    def take(self, at: NDArray[np.intp]) -> "States":
        """A copy of these rows."""
        return States(self.values[at], self.stamps[at], self.missing[at])

    @classmethod
    def empty(cls, rows: int, width: int) -> "States":
        return cls(np.zeros((rows, width), np.float32), np.full(rows, NEVER, np.int64), np.zeros(rows, bool))


class StateCache:
    """Bounded: when it is full the entity that was kept first makes room."""

    def __init__(
        self, width: int, capacity: int = CAPACITY, max_age: float = MAX_AGE, time: Callable[[], float] = monotonic
    ) -> None:
        self._capacity, self._max_age, self._time = capacity, max_age, time
        self._states = States.empty(capacity, width)
        self._read_at = np.full(capacity, -np.inf)
        self._slots: dict[Entity, int] = {}
        self._entities: list[Entity] = []  # by slot
        self._next = 0
        self.watermark: bytes | None = None  # up to which what is kept was materialised

    def find(self, entities: Sequence[Entity]) -> tuple[States, NDArray[np.intp]]:
        """A row for each of the entities, and which of these rows are yet to be read."""
        slots = np.fromiter(map(self._slots.get, entities, repeat(-1)), dtype=np.intp, count=len(entities))
        young = self._read_at[slots] >= self._time() - self._max_age
        return self._states.take(slots), np.flatnonzero((slots < 0) | ~young)

    def keep(self, entities: Sequence[Entity], states: States, watermark: bytes | None) -> None:
        """Keep what was read of entities after the watermark was; what another one was kept by goes."""
        if watermark != self.watermark:
            self._slots.clear()
            self._entities.clear()
            self._next, self.watermark = 0, watermark
        if watermark is None:
            return
        slots = np.fromiter(map(self._slot, entities), dtype=np.intp, count=len(entities))
        self._states.put(slots, states)  # of more than fit the last in a slot stays, as numpy has it
        self._read_at[slots] = self._time()

    def _slot(self, entity: Entity) -> int:
        """Where an entity has its place, or gets one."""
        if (known := self._slots.get(entity)) is not None:
            return known
        slot, self._next = self._next, (self._next + 1) % self._capacity
        if slot < len(self._entities):
            del self._slots[self._entities[slot]]
            self._entities[slot] = entity
        else:
            self._entities.append(entity)
        self._slots[entity] = slot
        return slot
