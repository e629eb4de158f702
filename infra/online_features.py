"""The feature store's online half: a request's features from Redis in one round trip, and its events into live views.

The gateway reads here what `FeatureStore.materialize` wrote. Feast's own reader takes ten times as long, and importing
it costs a process 3 s and 170 MB, so its layout is read directly; tests hold it against Feast's own functions. One
hash an entity: its key is the entity's serialised key (version 3) and the project's name, a feature's field the
murmur3 hash of `VIEW:FEATURE`, its value a `Value` protobuf; `_ts:VIEW` holds when the state was made.

Live views are not Feast's: their windows end at the moment of the request, so what is stored is their entities' last
events (`infra/live_features.py`), and their features are computed here (`infra/live_windows.py`).
"""

import asyncio
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Protocol

import mmh3
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from contracts.errors import InvalidInput, Unavailable
from contracts.records import FeatureRead
from contracts.system import Columns, FeatureView, Matrix, System
from infra.live_features import LiveLayout, entities, row_ids

PROJECT = b"flywheel"
STRING = 2  # Feast's ValueType.STRING
FLOAT = np.dtype([("tag", "u1"), ("value", "<f4")])  # a Value protobuf that holds a float_val, field 6
FLOAT_TAG = 6 << 3 | 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
KNOWN_COMMANDS = 32_768  # of a view: some 200 bytes each
MOST_CONNECTIONS = 256  # when all are taken Redis is not keeping up, and more would only wait longer

Reply = list[bytes | None]


class RedisFeatureReader:
    """Port `FeatureReader`. Answers within `timeout` seconds, or raises `Unavailable`; nothing is retried."""

    def __init__(self, url: str, timeout: float = 0.15) -> None:
        self._timeout = timeout
        self._pool = ConnectionPool.from_url(url, max_connections=MOST_CONNECTIONS, retry=Retry(NoBackoff(), 0))
        self._layouts: dict[str, tuple[System, list[_Layout]]] = {}

    async def online(self, system: System, rows: Columns, now: datetime) -> FeatureRead:
        """Features of each row as of `now`; a value missing, or older than its view's ttl, takes its default.

        `degraded` names a view once for either reason: "user: missing", "ad: stale".
        """
        asked = [_Asked.of(layout, rows, now) for layout in self._prepared(system)]
        replies = await self._exchange([command for view in asked for command in view.commands])
        columns: list[NDArray[np.float32]] = []
        degraded: set[str] = set()
        for view in asked:
            mine, replies = replies[: len(view.commands)], replies[len(view.commands) :]
            values, faults = view.layout.decode(mine, now)
            columns.append(values[view.row])
            degraded.update(f"{view.layout.view.name}: {fault}" for fault in faults)
        return FeatureRead(_with_request_features(system, rows, columns), tuple(sorted(degraded)))

    async def observe(self, system: System, rows: Columns, event_id: str) -> None:
        """Add each of the rows to the events of the system's live views, in one round trip; twice is once.

        `InvalidInput` when the rows lack what the views need. Cut off anywhere, what is missing is made good by calling
        it again, or by the next materialisation.
        """
        ids = row_ids(event_id, len(next(iter(rows.values()))))
        live = [layout.live for layout in self._prepared(system) if isinstance(layout, _Live)]
        added = [_packed(*command) for layout in live for commands in layout.adding(rows, ids) for command in commands]
        if added:
            await self._exchange(added)

    async def aclose(self) -> None:
        await self._pool.disconnect()

    def _prepared(self, system: System) -> list["_Layout"]:
        known = self._layouts.get(system.name)
        if known is None or known[0] is not system:
            layouts: list[_Layout] = [
                _Live.of(system, view) if view.live else _Ticked.of(system, view) for view in system.features.views
            ]
            known = self._layouts[system.name] = system, layouts
        return known[1]

    async def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        """One round trip. A connection that was left in the middle of it, for whatever reason, is never used again:
        the next caller would be given this one's replies."""
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's has no types
                try:
                    await connection.send_packed_command(b"".join(commands), check_health=False)
                    return [await connection.read_response(disable_decoding=True) for _ in commands]
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
                finally:
                    await self._pool.release(connection)
        except (TimeoutError, RedisError, OSError) as error:
            raise Unavailable(
                f"The feature store's Redis gave no answer within {self._timeout:g} s ({type(error).__name__})."
            ) from error


class _Layout(Protocol):
    """A view as it lies in Redis."""

    @property
    def view(self) -> FeatureView: ...

    @property
    def keys(self) -> tuple[str, ...]:
        """The entity columns, in the order in which their values make an entity."""

    def ask(self, entities: Collection[tuple[str, ...]], now: datetime) -> list[bytes]:
        """The commands that ask for the entities' features."""

    def decode(self, replies: list[Any], now: datetime) -> tuple[NDArray[np.float32], set[str]]:
        """Entities × features, and what was wrong with any: "missing", "stale"."""


@dataclass(frozen=True)
class _Live:
    """A view whose events are stored."""

    live: LiveLayout
    defaults: NDArray[np.float32]

    @classmethod
    def of(cls, system: System, view: FeatureView) -> "_Live":
        return cls(LiveLayout.of(system, view), _defaults(view))

    @property
    def view(self) -> FeatureView:
        return self.live.view

    @property
    def keys(self) -> tuple[str, ...]:
        return self.view.entities

    def ask(self, entities: Collection[tuple[str, ...]], now: datetime) -> list[bytes]:
        return [_packed(*command) for command in self.live.asking(entities, now)]

    def decode(self, replies: list[Any], now: datetime) -> tuple[NDArray[np.float32], set[str]]:
        found = self.live.read(replies, now)
        if found is None:
            return np.tile(self.defaults, (len(replies) - 1, 1)), {"missing"}
        return found, set()


@dataclass(frozen=True)
class _Ticked:
    """A view whose states Feast stores, with all that does not depend on the request prepared."""

    view: FeatureView
    keys: tuple[str, ...]  # as Feast serialises them
    command_head: bytes
    command_tail: bytes
    defaults: NDArray[np.float32]
    ttl: int  # microseconds

    @classmethod
    def of(cls, system: System, view: FeatureView) -> "_Ticked":
        name = f"{system.name}__{view.name}"
        fields = [field(name, feature.name) for feature in view.features] + [f"_ts:{name}".encode()]
        return cls(
            view=view,
            keys=tuple(sorted(view.entities)),
            command_head=b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2),
            command_tail=b"".join(_bulk(one) for one in fields),
            defaults=_defaults(view),
            ttl=view.ttl // MICROSECOND,
        )

    def ask(self, entities: Collection[tuple[str, ...]], now: datetime) -> list[bytes]:
        if len(self._known) > KNOWN_COMMANDS:
            self._known.clear()
        return [self._known.get(entity) or self._command(entity) for entity in entities]

    def _command(self, entity: tuple[str, ...]) -> bytes:
        """Kept, for the same entities are asked for over and over. In a plain dict: functools' cache is a chain of
        objects, through all of which every collection of garbage would go."""
        made = self.command_head + _bulk(entity_key(self.keys, entity)) + self.command_tail
        self._known[entity] = made
        return made

    @cached_property
    def _known(self) -> dict[tuple[str, ...], bytes]:
        return {}

    def decode(self, replies: list[Reply], now: datetime) -> tuple[NDArray[np.float32], set[str]]:
        moment = (now - EPOCH) // MICROSECOND
        faults: set[str] = set()
        values = np.tile(self.defaults, (len(replies), 1))
        whole = [i for i, reply in enumerate(replies) if None not in reply]
        if len(whole) < len(replies):
            faults.add("missing")
            for i, reply in enumerate(replies):
                if reply[-1] is not None and None in reply:
                    _fill(values[i], reply)
        if whole:
            values[whole] = _floats([replies[i] for i in whole], self.defaults)
        for i, reply in enumerate(replies):
            if (stamp := reply[-1]) is not None and moment - _microseconds(stamp) > self.ttl:
                faults.add("stale")
                values[i] = self.defaults
        return values, faults


@dataclass(frozen=True)
class _Asked:
    """What a request asks of a view: for each entity once, and where each row's entity is among them."""

    layout: _Layout
    commands: list[bytes]
    row: list[int]

    @classmethod
    def of(cls, layout: _Layout, rows: Columns, now: datetime) -> "_Asked":
        if missing := [key for key in layout.keys if key not in rows]:
            raise InvalidInput(f"Rows lack {missing[0]!r}, an entity of the view {layout.view.name!r}.", missing[0])
        place: dict[tuple[str, ...], int] = {}
        row = [place.setdefault(entity, len(place)) for entity in entities(layout.keys, rows)]
        return cls(layout, layout.ask(place, now), row)


def entity_key(keys: Sequence[str], values: Sequence[str]) -> bytes:
    """The Redis key of an entity with string values; `keys` sorted, `values` in their order."""
    return struct.pack("<I", len(keys)) + b"".join(map(_serialised, (*keys, *values))) + PROJECT


def field(view: str, feature: str) -> bytes:
    """The hash field of a feature of a view, by Feast's name for it."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def _serialised(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<II", STRING, len(encoded)) + encoded


def _packed(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n%b" % (len(parts), b"".join(map(_bulk, parts)))


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def _defaults(view: FeatureView) -> NDArray[np.float32]:
    return np.array([feature.default for feature in view.features], dtype=np.float32)


def _floats(replies: list[Reply], defaults: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of replies in which nothing is missing, all at once."""
    joined = b"".join(value for reply in replies for value in reply[:-1] if value is not None)
    if len(joined) == len(replies) * len(defaults) * FLOAT.itemsize:
        decoded = np.frombuffer(joined, dtype=FLOAT).reshape(len(replies), len(defaults))
        if (decoded["tag"] == FLOAT_TAG).all():
            return np.asarray(decoded["value"])
    raise Unavailable("The feature store's Redis holds values that are not Float32; materialise the features again.")


def _fill(values: NDArray[np.float32], reply: Reply) -> None:
    """What there is of a reply in which something is missing; the rest of `values` stays as it is."""
    for i, value in enumerate(reply[:-1]):
        if value is not None and len(value) == FLOAT.itemsize:
            values[i] = np.frombuffer(value, dtype=FLOAT)["value"][0]


@lru_cache(maxsize=4096)  # states are made at ticks, so there are few distinct ones
def _microseconds(stamp: bytes) -> int:
    parsed = Timestamp.FromString(stamp)
    return int(parsed.seconds) * 1_000_000 + int(parsed.nanos) // 1_000


def _with_request_features(system: System, rows: Columns, columns: list[NDArray[np.float32]]) -> Matrix:
    computed = system.features.on_request(rows)
    request = [np.asarray(computed[name], dtype=np.float32)[:, None] for name in system.features.request_features]
    return np.ascontiguousarray(np.concatenate([*columns, *request], axis=1), dtype=np.float32)
