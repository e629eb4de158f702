"""The requests of a load test, made by the system's own world and written out before the first of them is sent.

So the generator's processor time goes into sending. There are enough different ones that popular users and items are as
popular as in the world, and no cache sees the same few over and over.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import InvalidInput
from contracts.system import Columns, System
from contracts.world import World

MOST = 20_000  # different bodies …
MOST_BYTES = 32_000_000  # … and of them all together
STREAM = 7_000_000  # of the world's randomness, away from the simulated clients' streams
ASKED_AT_ONCE = 500
Body = dict[str, Any]


def write(path: Path, system: System, world: World, at: datetime, most: int, candidates: int | None) -> int:
    """Write up to `most` bodies, one a line, with `candidates` each where that is said; returns how many."""
    first = world.requests(ASKED_AT_ONCE, at, STREAM)
    rows_of(system, first[0])  # says what is wrong, if the world's requests are not the system's
    wider = None if candidates is None else Candidates(system, world, at, candidates)
    written = size = 0
    with path.open("wb") as file:
        for turn in range(-(-min(most, MOST) // ASKED_AT_ONCE)):
            for body in first if turn == 0 else world.requests(ASKED_AT_ONCE, at, STREAM + turn):
                line = json.dumps(wider.given(body) if wider else body, separators=(",", ":")).encode() + b"\n"
                file.write(line)
                written, size = written + 1, size + len(line)
                if written >= most or size >= MOST_BYTES:
                    return written
    return written


def rows_of(system: System, body: Body) -> Columns:
    """The rows that the gateway would make of a body; none where stage one finds them."""
    request = system.task.request.model_validate(body)
    return {} if system.serving.rows is None else system.serving.rows(request)


class Candidates:
    """Requests of the world with more or fewer candidates than it gives them.

    No contract says where a request keeps its candidates, so they are found: the one list in the body that becomes the
    rows. More come from the world's other requests; the row column `task.item` tells two of them apart.
    """

    def __init__(self, system: System, world: World, at: datetime, count: int) -> None:
        most = system.requirements.max_candidates
        if not 1 <= count <= most:
            raise InvalidInput(f"{system.name} takes from 1 to {most} candidates a request; --candidates is {count}.")
        self._system, self._count, self._random = system, count, np.random.default_rng(count)
        sample = world.requests(ASKED_AT_ONCE, at, STREAM - 1)
        self._field = candidates_field(system, sample)
        self._known = self._gathered(world, at, sample)
        self._items = list(self._known)

    def given(self, body: Body) -> Body:
        """The body with `count` different candidates, its own first."""
        chosen = dict(list(self._named(body))[: self._count])
        while len(chosen) < self._count:
            item = self._items[int(self._random.integers(len(self._items)))]
            chosen.setdefault(item, self._known[item])
        return {**body, self._field: list(chosen.values())}

    def _named(self, body: Body) -> list[tuple[str, Any]]:
        names = rows_of(self._system, body)[str(self._system.task.item)]
        return list(zip(map(str, names), body[self._field], strict=True))

    def _gathered(self, world: World, at: datetime, sample: Sequence[Body]) -> Mapping[str, Any]:
        """Different candidates by their item, from as many requests as it takes."""
        known: dict[str, Any] = {}
        for turn in range(40):
            for body in sample if turn == 0 else world.requests(ASKED_AT_ONCE, at, STREAM - 1 - turn):
                known.update(self._named(body))
            if len(known) >= 2 * self._count:
                break
        if len(known) < self._count:
            raise InvalidInput(
                f"{self._system.name}'s world names {len(known)} different candidates; --candidates is {self._count}."
            )
        return known


def candidates_field(system: System, bodies: Sequence[Body]) -> str:
    """The field of a request whose entries become its rows; InvalidInput where there is no such field, or two."""
    fields = [name for name, value in bodies[0].items() if isinstance(value, list) and system.serving.rows]
    if fields and system.task.item is not None:
        counts = [len(rows_of(system, body)[system.task.item]) for body in bodies[:20]]
        fields = [name for name in fields if [len(body[name]) for body in bodies[:20]] == counts]
    if system.task.item is None or len(fields) != 1:
        raise InvalidInput(f"--candidates cannot be used: a request of {system.name} has no one list of candidates.")
    return fields[0]
