"""How Feast's views lie in Redis, for reading them without Feast.

One hash an entity: its key is the entity's serialised key (version 3) and the project's name, a feature's field the
murmur3 hash of `VIEW:FEATURE`, its value a `Value` protobuf; `_ts:VIEW` holds when the state was made. Beside them
the platform keeps how far it has materialised each view of a system: the watermarks.
"""

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import compress
from typing import Any

import mmh3
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray

from contracts.errors import Unavailable
from contracts.system import FeatureView, System
from infra.redis_protocol import bulk, packed
from infra.state_cache import NEVER, States

PROJECT = b"flywheel"
STRING = 2  # Feast's ValueType.STRING
STRING_HEAD = struct.Struct("<II").pack  # its type and how many bytes it has
FLOAT = np.dtype([("tag", "u1"), ("value", "<f4")])  # a Value protobuf that holds a float_val, field 6
FLOAT_TAG = 6 << 3 | 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Reply = list[bytes | None]


def watermark_key(system: System) -> str:
    """The Redis hash of how far each view has been materialised; it lives and dies with the data beside it."""
    return f"flywheel:materialized:{system.name}"


def asking_watermarks(system: System, views: Sequence[FeatureView]) -> bytes:
    """The command that asks how far each of the views was materialised."""
    return packed(b"HMGET", watermark_key(system).encode(), *(view.name.encode() for view in views))


@dataclass(frozen=True)
class FeastLayout:
    """A view whose states Feast stores, with all that does not depend on the request prepared."""

    view: FeatureView
    keys: tuple[str, ...]  # as Feast serialises them
    command_head: bytes  # what comes before an entity's key …
    key_head: bytes  # … what all keys begin with …
    command_tail: bytes  # … and what comes after it
    defaults: NDArray[np.float32]
    ttl: int  # microseconds

    @classmethod
    def of(cls, system: System, view: FeatureView) -> "FeastLayout":
        name, keys = f"{system.name}__{view.name}", tuple(sorted(view.entities))
        fields = [field(name, feature.name) for feature in view.features] + [f"_ts:{name}".encode()]
        return cls(
            view=view,
            keys=keys,
            command_head=b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2),
            key_head=_key_head(keys),
            command_tail=PROJECT + b"\r\n" + b"".join(bulk(one) for one in fields),
            defaults=defaults(view),
            ttl=view.ttl // MICROSECOND,
        )

    def asking(self, entities: Collection[tuple[str, ...]]) -> list[bytes]:
        """The commands that ask for the states of entities, whose values are in the order of `keys`."""
        beside = len(self.key_head) + len(PROJECT)
        return [
            b"%b$%d\r\n%b%b%b" % (self.command_head, beside + len(values), self.key_head, values, self.command_tail)
            for values in map(_serialised, entities)
        ]

    def read(self, replies: Sequence[Reply]) -> States:
        """The replies as states: where a value is missing, the feature's default."""
        stamps = [NEVER if (stamp := reply[-1]) is None else _microseconds(stamp) for reply in replies]
        found = [None not in reply for reply in replies]
        if all(found):
            return States(_floats(replies, self.defaults), np.array(stamps, np.int64), np.full(len(replies), False))
        values, whole = np.tile(self.defaults, (len(replies), 1)), np.array(found)
        if complete := list(compress(replies, found)):
            values[whole] = _floats(complete, self.defaults)
        for place in np.flatnonzero(~whole).tolist():
            if stamps[place] != NEVER:
                _fill(values[place], replies[place])
        return States(values, np.array(stamps, dtype=np.int64), ~whole)

    def as_of(self, states: States, now: datetime) -> tuple[NDArray[np.float32], set[str]]:
        """Entities × features as of a moment, stale states replaced by defaults; and what was wrong with any:
        "missing", "stale"."""
        moment = (now - EPOCH) // MICROSECOND
        stale = (states.stamps != NEVER) & (moment - states.stamps > self.ttl)
        faults = {fault for fault, found in (("missing", states.missing), ("stale", stale)) if found.any()}
        values = np.where(stale[:, None], self.defaults, states.values) if "stale" in faults else states.values
        return values, faults


def entity_key(keys: Sequence[str], values: Sequence[str]) -> bytes:
    """The Redis key of an entity with string values; `keys` sorted, `values` in their order."""
    return _key_head(keys) + _serialised(values) + PROJECT


def field(view: str, feature: str) -> bytes:
    """The hash field of a feature of a view, by Feast's name for it."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def defaults(view: FeatureView) -> NDArray[np.float32]:
    """What a view's features are where nothing is known."""
    return np.array([feature.default for feature in view.features], dtype=np.float32)


def _key_head(keys: Sequence[str]) -> bytes:
    return struct.pack("<I", len(keys)) + _serialised(keys)


def _serialised(texts: Sequence[str]) -> bytes:
    return b"".join([STRING_HEAD(STRING, len(encoded)) + encoded for encoded in map(str.encode, texts)])


def _floats(replies: Sequence[Reply], defaults: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of replies in which nothing is missing, all at once."""
    joined = b"".join([value for reply in replies for value in reply[:-1] if value is not None])
    if len(joined) == len(replies) * len(defaults) * FLOAT.itemsize:
        decoded = np.frombuffer(joined, dtype=FLOAT).reshape(len(replies), len(defaults))
        if (decoded["tag"] == FLOAT_TAG).all():
            return np.asarray(decoded["value"])
    raise Unavailable("The feature store's Redis holds values that are not Float32; materialise the features again.")


def _fill(values: NDArray[Any], reply: Reply) -> None:
    """What there is of a reply in which something is missing; the rest of `values` stays as it is."""
    for i, value in enumerate(reply[:-1]):
        if value is not None and len(value) == FLOAT.itemsize:
            values[i] = np.frombuffer(value, dtype=FLOAT)["value"][0]


@lru_cache(maxsize=4096)  # states are made at ticks, so there are few distinct ones
def _microseconds(stamp: bytes) -> int:
    parsed = Timestamp.FromString(stamp)
    return int(parsed.seconds) * 1_000_000 + int(parsed.nanos) // 1_000
