"""The log that the gateway appends to before it answers: one Redis stream of predictions and outcomes, in order."""

import hashlib
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from contracts.errors import Unavailable
from contracts.records import ItemRecord, KeptAnswer, OutcomeRecord, PredictionRecord, ReviewCase
from infra import review_cases
from infra.log_codec import encode
from infra.patience import bound
from infra.redis_link import RedisLink
from infra.redis_protocol import packed

STREAM = "flywheel:log"
DEAD_STREAM = "flywheel:log:dead"
ANSWERS = "flywheel:answer"
RECENT_ITEMS, ITEM_RECORDS = "flywheel:items:recent", "flywheel:items:records"  # one of each a system
MOST_SCRIPTS = 256  # at a time; more would only wait longer
ITEMS_KEPT = timedelta(days=31)  # what is older is in the archive, and in every model that was trained since

# Both or neither: a script runs alone, and Redis refuses it for want of memory at its first write or not at all.
APPEND = """
local answer, milliseconds, id, at, case, most = unpack(ARGV, 1, 6)
if answer ~= '' then
  local kept = redis.call('GET', KEYS[2])
  if kept then return kept end
end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 7))
if answer ~= '' then redis.call('SET', KEYS[2], answer, 'PX', milliseconds) end
if case ~= '' then
  redis.call('ZADD', KEYS[3], at, id)
  redis.call('HSET', KEYS[4], id, case)
  local old = redis.call('ZRANGE', KEYS[3], 0, -1 - most)
  if #old > 0 then
    redis.call('ZREM', KEYS[3], unpack(old))
    redis.call('HDEL', KEYS[4], unpack(old))
  end
end
return false
"""
JUDGE = """
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
"""

# Of a record that comes late, after a newer one of its item, the catalogue takes no notice; the archive has both.
APPEND_ITEM = """
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 5))
local known = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not known or tonumber(known) <= tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
end
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[4], 'LIMIT', 0, 1000)
if #old > 0 then
  redis.call('ZREM', KEYS[2], unpack(old))
  redis.call('HDEL', KEYS[3], unpack(old))
end
"""

T = TypeVar("T")


class RedisLog:
    """Appends in one round trip, within `timeout` seconds (None: its caller's), or not at all as the caller sees it.

    A call that runs out of time may still have been carried out; whoever repeats it with the same idempotency key
    gets the kept answer. Nothing is retried here, for the caller's deadline is short.
    """

    def __init__(self, url: str, timeout: float | None = 0.25, keep_for: timedelta = timedelta(hours=24)) -> None:
        self._address = address(url)
        self._timeout = timeout
        self._keep_milliseconds = int(keep_for / timedelta(milliseconds=1))
        self._redis = Redis.from_url(url, max_connections=MOST_SCRIPTS, retry=Retry(NoBackoff(), 0))
        self._link = RedisLink(url)  # for what every request asks; seldom asked, and in scripts, is redis-py
        self._append = self._redis.register_script(APPEND)
        self._judge = self._redis.register_script(JUDGE)
        self._newest = self._redis.register_script(review_cases.NEWEST)
        self._append_item = self._redis.register_script(APPEND_ITEM)

    async def recall(self, system: str, key: str) -> KeptAnswer | None:
        """The answer kept under an idempotency key; answers expire after a day."""
        kept = await self._bounded(self._redis.get(_answer_key(system, key)))
        return None if kept is None else _unpacked(key, kept)

    async def append(self, record: PredictionRecord, keep: KeptAnswer | None = None) -> KeptAnswer | None:
        """Append, and keep the answer with it, both or neither; the first answer under a key stays."""
        fields = encode(record)
        if keep is None and not record.review:
            await self._bounded(self._link.exchange(_adding(fields), 1))
            return None
        answer = (b"", 0) if keep is None else (_packed(keep), self._keep_milliseconds)
        case = review_cases.packed(record) if record.review else b""
        waiting = (record.prediction_id, record.at.timestamp(), case, review_cases.MOST_CASES)
        keys = [STREAM, _answer_key(record.system, keep.key if keep else ""), *review_cases.keys(record.system)]
        kept = await self._bounded(self._append(keys, [*answer, *waiting, *_pairs(fields)]))
        return keep if kept is None or keep is None else _unpacked(keep.key, kept)

    async def append_outcome(self, outcome: OutcomeRecord) -> None:
        """Append an outcome; whether its prediction is known is for the reader of the archive to see. A reviewer's
        takes the prediction off the list of cases in the same step."""
        fields = encode(outcome)
        if outcome.source == "client":
            await self._bounded(self._link.exchange(_adding(fields), 1))
            return
        keys = [STREAM, *review_cases.keys(outcome.system)]
        await self._bounded(self._judge(keys, [outcome.prediction_id, *_pairs(fields)]))

    async def reviews(self, system: str, most: int) -> Sequence[ReviewCase]:
        """At most `most` predictions that wait for a person's label, the newest first."""
        found = await self._bounded(self._newest(review_cases.keys(system), [most]))
        return [review_cases.unpacked(content) for content in found]

    async def append_item(self, item: ItemRecord) -> None:
        """Append an item and make it known to the catalogue, both or neither; what is a month old leaves the latter."""
        fields = encode(item)
        received = item.received_at.timestamp()
        oldest = received - ITEMS_KEPT.total_seconds()
        held: list[str | float | bytes] = [item.item, received, fields["meta"], oldest]
        pairs = [part for field in fields.items() for part in field]
        await self._bounded(self._append_item([STREAM, *items_keys(item.system)], [*held, *pairs]))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._link.aclose()
        await self._redis.aclose()

    async def _bounded(self, call: Awaitable[T]) -> T:
        """A call cut short leaves its connection closed (redis-py ≥ 4.5.5), so no one reads another's reply."""
        try:
            async with bound(self._timeout):
                return await call
        except TimeoutError as error:
            raise Unavailable(f"The log at {self._address} did not answer in time.") from error
        except (RedisError, OSError) as error:
            raise unavailable(self._address, error) from error


def address(url: str) -> str:
    """The host and port of a Redis URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or parts.path}:{parts.port or 6379}"


def unavailable(where: str, error: Exception) -> Unavailable:
    """The error for callers, in one sentence; redis-py's own messages hold no password."""
    return Unavailable(f"The log at {where} cannot be used: {str(error).rstrip('.') or type(error).__name__}.")


def items_keys(system: str) -> tuple[str, str]:
    """Where the catalogue of a system is: ids by when they were received, and the records by id."""
    return f"{RECENT_ITEMS}:{system}", f"{ITEM_RECORDS}:{system}"


def _answer_key(system: str, key: str) -> str:
    """A key of bounded size, whatever the client sent."""
    return f"{ANSWERS}:{system}:{hashlib.sha256(key.encode()).hexdigest()}"


def _adding(fields: dict[str, bytes]) -> bytes:
    """The command that appends an entry."""
    return packed(
        b"XADD", STREAM.encode(), b"*", *(part for name, value in fields.items() for part in (name.encode(), value))
    )


def _pairs(fields: dict[str, bytes]) -> list[str | bytes]:
    return [part for field in fields.items() for part in field]


def _packed(keep: KeptAnswer) -> bytes:
    return keep.body_digest.encode() + b"\n" + keep.answer


def _unpacked(key: str, kept: bytes) -> KeptAnswer:
    digest, _, answer = kept.partition(b"\n")
    return KeptAnswer(key, digest.decode(), answer)
