"""The feature store's online half: a request's features from Redis in one round trip, and its events into live views.

The gateway reads here what `FeatureStore.materialize` wrote. Feast's own reader takes ten times as long, and importing
it costs a process 3 s and 170 MB, so its layout is read directly (`infra/feast_layout.py`); tests hold it against
Feast's own functions. States that were read are kept until the next materialisation (`infra/state_cache.py`).

Live views are not Feast's: their windows end at the moment of the request, so what is stored is their entities' last
events (`infra/live_features.py`), and their features are computed here (`infra/live_windows.py`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from time import monotonic
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from redis.exceptions import RedisError

from contracts.errors import InvalidInput, Unavailable
from contracts.records import FeatureRead
from contracts.system import Columns, FeatureView, Matrix, System
from infra.feast_layout import FeastLayout, asking_watermarks, defaults
from infra.live_features import LiveLayout, entities, row_ids
from infra.live_windows import live_views, ticked_views
from infra.patience import bound
from infra.redis_link import RedisLink
from infra.redis_protocol import packed
from infra.state_cache import Entity, StateCache

Values = tuple[NDArray[np.float32], set[str]]  # rows × features of a view, and what was wrong with any
Marks = Mapping[str, bytes | None]  # how far each ticked view was materialised

MARKS_AGE = 0.1  # seconds for which the marks are taken to be what they were when they were read


class RedisFeatureReader:
    """Port `FeatureReader`. Answers within `timeout` seconds (None: within its caller's), or raises `Unavailable`.

    Nothing is retried.
    """

    def __init__(self, url: str, timeout: float | None = 0.15, time: Callable[[], float] = monotonic) -> None:
        self._timeout, self._time = timeout, time
        self._link = RedisLink(url)
        self._systems: dict[str, _Prepared] = {}

    async def online(self, system: System, rows: Columns, now: datetime) -> FeatureRead:
        """Features of each row as of `now`; a value missing, or older than its view's ttl, takes its default.

        A request whose entities were all read before asks Redis for nothing where another has asked it a moment ago
        (`MARKS_AGE`); so long it takes until what was materialised is seen.

        `degraded` names a view once for either reason: "user: missing", "ad: stale".
        """
        prepared = self._prepared(system)
        parts = prepared.asked(rows, now)
        asked: Sequence[_Part] = [] if prepared.has(parts, self._time()) else parts
        while asked:  # a second time for views that were materialised since their states were kept
            began = self._time()
            replies = iter(await self._exchange([*prepared.heading, *chain(*(part.commands for part in asked))]))
            marks = prepared.marked(replies, began)
            took = [part.take(list(islice(replies, len(part.commands))), marks.get(part.view.name)) for part in asked]
            asked = [part for part, whole in zip(asked, took, strict=True) if not whole]
        found = [part.values(now) for part in parts]
        degraded = {
            f"{part.view.name}: {each}" for part, (_, faults) in zip(parts, found, strict=True) for each in faults
        }
        return FeatureRead(
            _with_request_features(system, rows, [values for values, _ in found]), tuple(sorted(degraded))
        )

    async def observe(self, system: System, rows: Columns, event_id: str) -> None:
        """Add each of the rows to the events of the system's live views, in one round trip; twice is once.

        `InvalidInput` when the rows lack what the views need. Cut off anywhere, what is missing is made good by calling
        it again, or by the next materialisation.
        """
        ids = row_ids(event_id, len(next(iter(rows.values()))))
        live = self._prepared(system).live.values()
        added = [packed(*command) for layout in live for commands in layout.adding(rows, ids) for command in commands]
        if added:
            await self._exchange(added)

    async def aclose(self) -> None:
        await self._link.aclose()

    def _prepared(self, system: System) -> "_Prepared":
        known = self._systems.get(system.name)
        if known is None or known.system is not system:
            known = self._systems[system.name] = _Prepared.of(system)
        return known

    async def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        """One round trip."""
        try:
            async with bound(self._timeout):
                return await self._link.exchange(b"".join(commands), len(commands))
        except (TimeoutError, RedisError, OSError) as error:
            raise Unavailable(f"The feature store's Redis gave no answer in time ({type(error).__name__}).") from error


class _Part(Protocol):
    """What a request asks of a view: of each entity once, and only what is not known."""

    @property
    def view(self) -> FeatureView: ...

    @property
    def commands(self) -> list[bytes]:
        """What is yet to be asked of Redis."""

    def is_known(self, marks: Marks) -> bool:
        """Whether nothing need be asked, if the views were materialised so far."""

    def take(self, replies: list[Any], watermark: bytes | None) -> bool:
        """Take the commands' replies; whether that was all, or others must be asked."""

    def values(self, now: datetime) -> Values: ...


@dataclass
class _Live:
    """Of a view whose events are stored."""

    layout: LiveLayout
    row: NDArray[np.intp]  # where each row's entity is among those that are asked about
    commands: list[bytes]
    replies: list[Any]

    @classmethod
    def of(cls, layout: LiveLayout, rows: Columns, now: datetime) -> "_Live":
        asked = list(entities(layout.view.entities, _of_entities(layout.view, rows)))
        place = {entity: number for number, entity in enumerate(dict.fromkeys(asked))}
        row = np.fromiter(map(place.__getitem__, asked), dtype=np.intp, count=len(asked))
        commands = [packed(*command) for command in layout.asking(list(place), now)]
        return cls(layout, _spread(row, rows), commands, [])

    @property
    def view(self) -> FeatureView:
        return self.layout.view

    def is_known(self, marks: Marks) -> bool:
        return False

    def take(self, replies: list[Any], watermark: bytes | None) -> bool:
        self.replies = replies
        return True

    def values(self, now: datetime) -> Values:
        found = self.layout.read(self.replies, now)
        if found is None:
            return np.tile(defaults(self.view), (len(self.row), 1)), {"missing"}
        return found[self.row], set()


class _Ticked:
    """Of a view whose states Feast stores, and of which some are kept here."""

    def __init__(self, layout: FeastLayout, cache: StateCache, rows: Columns) -> None:
        self._layout, self._cache, self._rows = layout, cache, rows
        self._entities = _keys(layout, rows)
        self._states, unread = cache.find(self._entities)
        self._watermark = cache.watermark  # of the states that were kept
        self._ask(unread)

    @property
    def view(self) -> FeatureView:
        return self._layout.view

    def is_known(self, marks: Marks) -> bool:
        return not self._asked and self.view.name in marks and marks[self.view.name] == self._watermark

    def take(self, replies: list[Any], watermark: bytes | None) -> bool:
        if not self._asked and watermark == self._watermark:
            return True
        found = self._layout.read(replies)
        self._states.put(self._unread, found if len(self._asked) == len(self._unread) else found.take(self._places()))
        self._cache.keep(self._asked, found, watermark)
        if watermark == self._watermark or len(self._unread) == len(self._entities):
            return True
        self._watermark = watermark
        self._ask(np.setdiff1d(np.arange(len(self._entities)), self._unread))  # they were kept by another watermark
        return False

    def values(self, now: datetime) -> Values:
        values, faults = self._layout.as_of(self._states, now)
        return _spread(values, self._rows), faults

    def _places(self) -> list[int]:
        """Where each unread row's entity is among those that were asked for: several rows may share one."""
        place = {entity: number for number, entity in enumerate(self._asked)}
        return [place[self._entities[row]] for row in self._unread.tolist()]

    def _ask(self, unread: NDArray[np.intp]) -> None:
        self._unread = unread
        self._asked = list(dict.fromkeys([self._entities[row] for row in unread.tolist()]))
        one = len(self._layout.keys) == 1
        self.commands = self._layout.asking([(entity,) for entity in self._asked] if one else self._asked)


@dataclass
class _Prepared:
    """A system's views with all that does not depend on the request, and how far they were materialised."""

    system: System
    live: dict[str, LiveLayout]
    ticked: dict[str, tuple[FeastLayout, StateCache]]
    heading: list[bytes]  # asks how far the ticked views were materialised …
    marks: Marks = field(default_factory=dict)  # … what was the answer …
    marked_at: float = -math.inf  # … and when it was asked, of the monotonic clock

    @classmethod
    def of(cls, system: System) -> "_Prepared":
        views = ticked_views(system)
        return cls(
            system,
            {view.name: LiveLayout.of(system, view) for view in live_views(system)},
            {view.name: (FeastLayout.of(system, view), StateCache(len(view.features))) for view in views},
            [asking_watermarks(system, views)] if views else [],
        )

    def asked(self, rows: Columns, now: datetime) -> list[_Part]:
        """What a request's rows ask of each view, in the views' order."""
        return [
            _Live.of(self.live[view.name], rows, now) if view.live else _Ticked(*self.ticked[view.name], rows)
            for view in self.system.features.views
        ]

    def has(self, parts: Sequence[_Part], now: float) -> bool:
        """Whether a request can be answered without asking Redis: all of its states are kept, by marks that were read
        a moment ago."""
        return now - self.marked_at < MARKS_AGE and all(part.is_known(self.marks) for part in parts)

    def marked(self, replies: Iterator[Any], began: float) -> Marks:
        """The ticked views' watermarks, from the reply to the heading, which was asked for at `began`."""
        if self.heading:
            self.marks, self.marked_at = dict(zip(self.ticked, next(replies), strict=True)), began
        return self.marks


def _of_entities(view: FeatureView, rows: Columns) -> Columns:
    """The view's key columns; one row of them where all rows share an entity."""
    if missing := [key for key in view.entities if key not in rows]:
        raise InvalidInput(f"Rows lack {missing[0]!r}, an entity of the view {view.name!r}.", missing[0])
    columns = {key: rows[key] for key in view.entities}
    shared = all(column.strides == (0,) for column in columns.values())  # they are one value in memory
    return {key: column[:1] for key, column in columns.items()} if shared else columns


def _keys(layout: FeastLayout, rows: Columns) -> Sequence[Entity]:
    """What each row's entity, or the one that all share, is known by: the text of its key, or of all of them."""
    columns = _of_entities(layout.view, rows)
    if len(layout.keys) > 1:
        return list(entities(layout.keys, columns))
    return [str(value) for value in columns[layout.keys[0]].tolist()]


def _spread(found: NDArray[Any], rows: Columns) -> NDArray[Any]:
    """What was found of the one entity of all rows, once for each of them; what is of a row each stays."""
    count = len(next(iter(rows.values())))
    return found if len(found) == count else np.repeat(found, count, axis=0)


def _with_request_features(system: System, rows: Columns, columns: list[NDArray[np.float32]]) -> Matrix:
    computed = system.features.on_request(rows)
    request = [np.asarray(computed[name], dtype=np.float32)[:, None] for name in system.features.request_features]
    return np.ascontiguousarray(np.concatenate([*columns, *request], axis=1), dtype=np.float32)
