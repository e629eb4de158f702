"""How the events of live views lie in the features' Redis, and how they come there.

One sorted set for each view and entity, scored by when an event happened. A member is a few float64: the event's mark
(eight bytes), its `at`, and the values that the view sums. So adding an event again changes nothing, events may come
in any order, and Redis itself finds those of a window. A set holds a view's `most` newest events and a few to spare,
none older than the view's `ttl`, and is gone when nothing has come for that long.

What is not there counts as nothing; so one hash a system says which views are whole: those into which history was
filled since Redis was last empty, and whose definition is still the same. The gateway adds each request that it
answered (`infra/online_features.py`), and never says that a view is whole.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b, sha256
from itertools import islice
from typing import Any

import numpy as np
import redis

from contracts.errors import InvalidInput, Unavailable
from contracts.system import AT, Columns, FeatureView, Floats, Matrix, System
from infra.live_windows import History, live_views, longest, mark, summed, values_of, window_values

Command = tuple[bytes, ...]

SPARE = 64  # events kept beyond `most`: those of requests that came after the one that asks, and were quicker
ENTITIES = 1_000  # that are filled in one exchange with Redis
TIMEOUT = 10.0  # seconds that one exchange may take while history is filled


@dataclass(frozen=True)
class LiveLayout:
    """A live view as it lies in Redis."""

    view: FeatureView
    columns: tuple[str, ...]  # summed
    prefix: bytes  # of its keys
    whole: bytes  # the key of the hash that says which of the system's views are whole …
    definition: bytes  # … and what it says then of this one

    @classmethod
    def of(cls, system: System, view: FeatureView) -> "LiveLayout":
        definition = sha256(repr(view).encode()).hexdigest()[:16]  # another definition keeps other events
        return cls(
            view=view,
            columns=summed(view),
            prefix=f"flywheel:live:{system.name}:{view.name}:{definition}:".encode(),
            whole=f"flywheel:live:{system.name}".encode(),
            definition=definition.encode(),
        )

    def key(self, entity: Sequence[str]) -> bytes:
        """The Redis key of an entity, by its values in the order of the view's entities: as long as any other's, and
        telling nothing of a card's number."""
        told = b"".join(b"%d:%b" % (len(value), value) for value in (each.encode() for each in entity))
        return self.prefix + blake2b(told, digest_size=16).hexdigest().encode()

    def asking(self, asked: Collection[Sequence[str]], now: datetime) -> list[Command]:
        """What asks for the events that count for each entity at a moment; `read` takes the replies."""
        moment = now.timestamp()
        low, high, most = _number(moment - longest(self.view)), b"(" + _number(moment), b"%d" % self.view.most
        newest = [(b"ZREVRANGEBYSCORE", self.key(each), high, low, b"LIMIT", b"0", most) for each in asked]
        return [(b"HGET", self.whole, self.view.name.encode()), *newest]

    def read(self, replies: Sequence[Any], now: datetime) -> Matrix | None:
        """Entities × features as of the moment that was asked about; None when the view is not whole."""
        if replies[0] != self.definition:
            return None
        found: Sequence[list[bytes]] = replies[1:]
        counts = np.array([len(members) for members in found])
        table = self._table([member for members in found for member in reversed(members)])
        history = History(np.repeat(np.arange(len(found)), counts), table[:, 1], table[:, 2:])
        return window_values(self.view, history, np.arange(len(found)), np.full(len(found), now.timestamp()))

    def adding(self, rows: Columns, event_ids: Sequence[str]) -> Iterator[list[Command]]:
        """What adds events, entity by entity; of more than Redis shall keep, the newest."""
        events = _Events.of(self, rows, event_ids)
        kept = self.view.most + SPARE
        for entity, places in events.by_entity.items():
            key = self.key(entity)
            newest = sorted(places, key=lambda place: (events.at[place], events.members[place]))[-kept:]
            pairs = [part for place in newest for part in (_number(events.at[place]), events.members[place])]
            old = _number(events.at[newest[-1]] - self.view.ttl.total_seconds())
            yield [
                (b"ZADD", key, *pairs),
                (b"ZREMRANGEBYSCORE", key, b"-inf", b"(" + old),
                (b"ZREMRANGEBYRANK", key, b"0", b"%d" % -(kept + 1)),
                (b"PEXPIRE", key, b"%d" % (self.view.ttl.total_seconds() * 1_000)),
            ]

    def _table(self, members: Sequence[bytes]) -> Floats:
        width = 2 + len(self.columns)
        if any(len(member) != width * 8 for member in members):
            raise Unavailable(
                f"The features' Redis holds events of the live view {self.view.name!r} that are not whole; "
                "empty it and materialise the features again."
            )
        return np.frombuffer(b"".join(members), dtype="<f8").reshape(len(members), width)


class LiveFeatures:
    """The live views' events, for the pipelines. Any number of processes may add at once, the gateway among them."""

    def __init__(self, url: str) -> None:
        self._url = url

    def fill(self, system: System, events: Columns) -> Mapping[str, int]:
        """Add events (the source's id, `at`, the views' entities and columns), then say that the views are whole:
        entities with events, by view. Events that are there already stay as they are.

        All that happened within the longest window before now are among `events`, but for those that the gateway adds
        while they are gathered.
        """
        written: dict[str, int] = {}
        with self._redis() as client:
            for layout in (LiveLayout.of(system, view) for view in live_views(system)):
                written[layout.view.name] = _sent(
                    client, layout.adding(events, events[system.features.source.id].tolist())
                )
                client.hset(layout.whole.decode(), layout.view.name, layout.definition.decode())
        return written

    @contextmanager
    def _redis(self) -> Iterator[redis.Redis]:
        try:
            with redis.Redis.from_url(self._url, socket_timeout=TIMEOUT) as client:
                yield client
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Unavailable("Redis does not answer, so no live view was filled; see `flywheel status`.") from error


@dataclass(frozen=True)
class _Events:
    """Events as a view keeps them, and which are whose."""

    at: list[float]
    members: list[bytes]
    by_entity: dict[tuple[str, ...], list[int]]

    @classmethod
    def of(cls, layout: LiveLayout, rows: Columns, event_ids: Sequence[str]) -> "_Events":
        view = layout.view
        if missing := [name for name in (*view.entities, AT) if name not in rows]:
            raise InvalidInput(f"Events lack {missing[0]!r}, which the live view {view.name!r} needs.", missing[0])
        at = rows[AT].astype(np.float64)
        if not np.isfinite(at).all():
            raise InvalidInput("Events have an `at` that is not a number of seconds.", AT)
        table = np.column_stack([at, values_of(view, rows)]).astype("<f8")
        by_entity: dict[tuple[str, ...], list[int]] = {}
        for place, entity in enumerate(entities(view.entities, rows)):
            by_entity.setdefault(entity, []).append(place)
        members = [mark(one) + row.tobytes() for one, row in zip(event_ids, table, strict=True)]
        return cls(at.tolist(), members, by_entity)


def entities(keys: Sequence[str], rows: Columns) -> Iterator[tuple[str, ...]]:
    """Each row's entity: the values of its key columns, as text."""
    return zip(*([str(value) for value in rows[key].tolist()] for key in keys), strict=True)


def row_ids(event_id: str, rows: int) -> list[str]:
    """The ids by which the rows of a prediction are events: those that they have as events of the source, once the log
    is ingested."""
    return [f"{event_id}:{position}" for position in range(rows)]


def _sent(client: redis.Redis, entities: Iterator[list[Command]]) -> int:
    """Send what adds events, some entities at a time: how many there were."""
    count = 0
    while some := list(islice(entities, ENTITIES)):
        pipeline = client.pipeline(transaction=False)
        for commands in some:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's has no types
        pipeline.execute()
        count += len(some)
    return count


def _number(value: float) -> bytes:
    """As text that Redis reads back to the same bits."""
    return repr(float(value)).encode()
