"""The feature store's online half: a request's features from Redis in one round trip, and its events into live views.

The gateway reads here what `FeatureStore.materialize` wrote. Feast's own reader takes ten times as long, and importing
it costs a process 3 s and 170 MB, so its layout is read directly (`infra/feast_layout.py`); tests hold it against
Feast's own functions. States that were read are kept until the next materialisation (`infra/state_cache.py`).

Live views are not Feast's: their windows end at the moment of the request, so what is stored is their entities' last
events (`infra/live_features.py`), and their features are computed here (`infra/live_windows.py`).
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
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
from infra.redis_link import RedisLink
from infra.redis_protocol import packed
from infra.state_cache import Entity, StateCache, States

Values = tuple[NDArray[np.float32], set[str]]  # entities × features of a view, and what was wrong with any


class RedisFeatureReader:
    """Port `FeatureReader`. Answers within `timeout` seconds, or raises `Unavailable`; nothing is retried."""

    def __init__(self, url: str, timeout: float = 0.15) -> None:
        self._timeout = timeout
        self._link = RedisLink(url)
        self._systems: dict[str, _Prepared] = {}

    async def online(self, system: System, rows: Columns, now: datetime) -> FeatureRead:
        """Features of each row as of `now`; a value missing, or older than its view's ttl, takes its default.

        `degraded` names a view once for either reason: "user: missing", "ad: stale".
        """
        prepared = self._prepared(system)
        parts = prepared.asked(rows, now)
        asked: Sequence[_Part] = parts
        while asked:  # a second time for views that were materialised since their states were kept
            replies = iter(await self._exchange([*prepared.heading, *chain(*(part.commands for part in asked))]))
            marks = prepared.marks(replies)
            took = [part.take(list(islice(replies, len(part.commands))), marks.get(part.view.name)) for part in asked]
            asked = [part for part, whole in zip(asked, took, strict=True) if not whole]
        degraded: set[str] = set()
        columns: list[NDArray[np.float32]] = []
        for part in parts:
            values, faults = part.values(now)
            columns.append(values[part.row])
            degraded.update(f"{part.view.name}: {fault}" for fault in faults)
        return FeatureRead(_with_request_features(system, rows, columns), tuple(sorted(degraded)))

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
            async with asyncio.timeout(self._timeout):
                return await self._link.exchange(b"".join(commands), len(commands))
        except (TimeoutError, RedisError, OSError) as error:
            raise Unavailable(
                f"The feature store's Redis gave no answer within {self._timeout:g} s ({type(error).__name__})."
            ) from error


class _Part(Protocol):
    """What a request asks of a view: of each entity once."""

    @property
    def view(self) -> FeatureView: ...

    @property
    def row(self) -> NDArray[np.intp]:
        """Where each row's entity is among those asked for."""

    @property
    def commands(self) -> list[bytes]:
        """What is yet to be asked of Redis."""

    def take(self, replies: list[Any], watermark: bytes | None) -> bool:
        """Take the commands' replies; whether that was all, or others must be asked."""

    def values(self, now: datetime) -> Values: ...


@dataclass
class _Live:
    """Of a view whose events are stored."""

    layout: LiveLayout
    row: NDArray[np.intp]
    commands: list[bytes]
    replies: list[Any]

    @classmethod
    def of(cls, layout: LiveLayout, rows: Columns, now: datetime) -> "_Live":
        asked, row = _distinct(layout.view, layout.view.entities, rows)
        return cls(layout, row, [packed(*command) for command in layout.asking(asked, now)], [])

    @property
    def view(self) -> FeatureView:
        return self.layout.view

    def take(self, replies: list[Any], watermark: bytes | None) -> bool:
        self.replies = replies
        return True

    def values(self, now: datetime) -> Values:
        found = self.layout.read(self.replies, now)
        if found is None:
            return np.tile(defaults(self.view), (len(self.replies) - 1, 1)), {"missing"}
        return found, set()


@dataclass
class _Ticked:
    """Of a view whose states Feast stores, and of which some are kept here."""

    layout: FeastLayout
    cache: StateCache
    row: NDArray[np.intp]
    entities: Sequence[Entity]
    states: States
    unread: NDArray[np.intp]  # places among the entities
    watermark: bytes | None  # of the states that were kept
    commands: list[bytes]

    @classmethod
    def of(cls, layout: FeastLayout, cache: StateCache, rows: Columns) -> "_Ticked":
        asked, row = _distinct(layout.view, layout.keys, rows)
        states, unread = cache.find(asked)
        commands = layout.asking([asked[place] for place in unread])
        return cls(layout, cache, row, asked, states, unread, cache.watermark, commands)

    @property
    def view(self) -> FeatureView:
        return self.layout.view

    def take(self, replies: list[Any], watermark: bytes | None) -> bool:
        found = self.layout.read(replies)
        self.states.put(self.unread, found)
        self.cache.keep([self.entities[place] for place in self.unread], found, watermark)
        if watermark == self.watermark or len(self.unread) == len(self.entities):
            return True
        self.unread = np.setdiff1d(np.arange(len(self.entities)), self.unread)  # they were kept by another watermark
        self.commands = self.layout.asking([self.entities[place] for place in self.unread])
        self.watermark = watermark
        return False

    def values(self, now: datetime) -> Values:
        return self.layout.as_of(self.states, now)


@dataclass(frozen=True)
class _Prepared:
    """A system's views with all that does not depend on the request."""

    system: System
    live: dict[str, LiveLayout]
    ticked: dict[str, tuple[FeastLayout, StateCache]]
    heading: list[bytes]  # asks how far the ticked views were materialised

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
            _Live.of(self.live[view.name], rows, now) if view.live else _Ticked.of(*self.ticked[view.name], rows)
            for view in self.system.features.views
        ]

    def marks(self, replies: Iterator[Any]) -> dict[str, bytes | None]:
        """The ticked views' watermarks, from the reply to the heading."""
        return dict(zip(self.ticked, next(replies), strict=True)) if self.heading else {}


def _distinct(view: FeatureView, keys: Sequence[str], rows: Columns) -> tuple[Sequence[Entity], NDArray[np.intp]]:
    """Each entity of the rows once, and where each row's is among them."""
    if missing := [key for key in keys if key not in rows]:
        raise InvalidInput(f"Rows lack {missing[0]!r}, an entity of the view {view.name!r}.", missing[0])
    count = len(rows[keys[0]])
    varying = {key: rows[key] for key in keys if rows[key].strides != (0,)}  # what rows share is one value in memory
    if not varying:
        return list(entities(keys, {key: rows[key][:1] for key in keys})), np.zeros(count, dtype=np.intp)
    seen: Any = [values.tolist() for values in varying.values()]
    seen = list(zip(*seen, strict=True)) if len(seen) > 1 else seen[0]
    if len(set(seen)) == count:  # as candidates are
        return list(entities(keys, rows)), np.arange(count)
    place: dict[Any, int] = {}
    row = np.fromiter((place.setdefault(one, len(place)) for one in seen), dtype=np.intp, count=count)
    first = np.unique(row, return_index=True)[1]
    return list(entities(keys, {key: rows[key][first] for key in keys})), row


def _with_request_features(system: System, rows: Columns, columns: list[NDArray[np.float32]]) -> Matrix:
    computed = system.features.on_request(rows)
    request = [np.asarray(computed[name], dtype=np.float32)[:, None] for name in system.features.request_features]
    return np.ascontiguousarray(np.concatenate([*columns, *request], axis=1), dtype=np.float32)
