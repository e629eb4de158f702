"""The log that the gateway appends to before it answers: one Redis stream of predictions and outcomes, in order."""

import asyncio
import hashlib
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from contracts.errors import Unavailable
from contracts.records import KeptAnswer, OutcomeRecord, PredictionRecord
from infra.log_codec import encode

STREAM = "flywheel:log"
DEAD_STREAM = "flywheel:log:dead"
ANSWERS = "flywheel:answer"
MOST_CONNECTIONS = 256  # when all are taken the log is not keeping up, and more would only wait longer

# Both or neither: a script runs alone, and Redis refuses it for want of memory at its first write or not at all.
APPEND_ONCE = """
local kept = redis.call('GET', KEYS[2])
if kept then return kept end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return false
"""

T = TypeVar("T")


class RedisLog:
    """Appends in one round trip, within `timeout` seconds or not at all as far as the caller can tell.

    A call that runs out of time may still have been carried out; whoever repeats it with the same idempotency key
    gets the kept answer. Nothing is retried here, for the caller's deadline is short.
    """

    def __init__(self, url: str, timeout: float = 0.25, keep_for: timedelta = timedelta(hours=24)) -> None:
        self._address = address(url)
        self._timeout = timeout
        self._keep_milliseconds = int(keep_for / timedelta(milliseconds=1))
        self._redis = Redis.from_url(url, max_connections=MOST_CONNECTIONS, retry=Retry(NoBackoff(), 0))
        self._append_once = self._redis.register_script(APPEND_ONCE)

    async def recall(self, system: str, key: str) -> KeptAnswer | None:
        """The answer kept under an idempotency key; answers expire after a day."""
        kept = await self._bounded(self._redis.get(_answer_key(system, key)))
        return None if kept is None else _unpacked(key, kept)

    async def append(self, record: PredictionRecord, keep: KeptAnswer | None = None) -> KeptAnswer | None:
        """Append, and keep the answer with it, both or neither; the first answer under a key stays."""
        fields = encode(record)
        if keep is None:
            await self._bounded(self._redis.xadd(STREAM, fields))  # type: ignore[arg-type]  # str keys are fine
            return None
        keys = [STREAM, _answer_key(record.system, keep.key)]
        pairs = [part for field in fields.items() for part in field]
        kept = await self._bounded(self._append_once(keys, [_packed(keep), self._keep_milliseconds, *pairs]))
        return keep if kept is None else _unpacked(keep.key, kept)

    async def append_outcome(self, outcome: OutcomeRecord) -> None:
        """Append an outcome; whether its prediction is known is for the reader of the archive to see."""
        await self._bounded(self._redis.xadd(STREAM, encode(outcome)))  # type: ignore[arg-type]  # str keys are fine

    async def aclose(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _bounded(self, call: Awaitable[T]) -> T:
        """A call cut short leaves its connection closed (redis-py ≥ 4.5.5), so no one reads another's reply."""
        try:
            async with asyncio.timeout(self._timeout):
                return await call
        except TimeoutError as error:
            raise Unavailable(f"The log at {self._address} did not answer within {self._timeout} s.") from error
        except (RedisError, OSError) as error:
            raise unavailable(self._address, error) from error


def address(url: str) -> str:
    """The host and port of a Redis URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or parts.path}:{parts.port or 6379}"


def unavailable(where: str, error: Exception) -> Unavailable:
    """The error for callers, in one sentence; redis-py's own messages hold no password."""
    return Unavailable(f"The log at {where} cannot be used: {str(error).rstrip('.') or type(error).__name__}.")


def _answer_key(system: str, key: str) -> str:
    """A key of bounded size, whatever the client sent."""
    return f"{ANSWERS}:{system}:{hashlib.sha256(key.encode()).hexdigest()}"


def _packed(keep: KeptAnswer) -> bytes:
    return keep.body_digest.encode() + b"\n" + keep.answer


def _unpacked(key: str, kept: bytes) -> KeptAnswer:
    digest, _, answer = kept.partition(b"\n")
    return KeptAnswer(key, digest.decode(), answer)
