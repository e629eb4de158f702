"""The catalogue of recently published items on the log's Redis: what the gateway took in, as serving asks for it.

Two keys a system: a sorted set of item ids by when each was received, and a hash of their records. They are written in
one step with the log's own entry (infra/log.py), so that an item which was acknowledged is in both, or in neither.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from contracts.records import ItemRecord
from infra.log import address, items_keys, unavailable
from infra.log_codec import decode_item

CHUNK = 1000  # records a round trip

T = TypeVar("T")


class RedisCatalogue:
    """Items of the last month; each call to Redis takes at most `timeout` seconds. Any thread may ask."""

    def __init__(self, url: str, timeout: float = 1.0) -> None:
        self._address = address(url)
        self._redis = Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )

    def since(self, system: str, moment: datetime) -> Sequence[ItemRecord]:
        """Items received at or after a moment, in the order of their coming, each as it was last."""
        recent, records = items_keys(system)
        names: Any = self._bounded(lambda: self._redis.zrangebyscore(recent, moment.timestamp(), "+inf"))
        found: list[ItemRecord] = []
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            held: Any = self._bounded(partial(self._redis.hmget, records, chunk))
            found += [decode_item(record) for record in held if record is not None]  # None: pruned meanwhile
        return found

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _bounded(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (RedisError, OSError) as error:
            raise unavailable(self._address, error) from error
