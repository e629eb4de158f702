"""The log as the recorder drains it: a consumer group on the stream, at least once and in order.

The recorder is the log's one reader. What it acknowledges is deleted with the acknowledgement, in one step, so the
stream holds exactly what is not yet in the archive: it is trimmed of nothing else, and its length is the lag.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from contracts.errors import InvalidInput
from contracts.records import LogEntry
from infra.breather import Breather
from infra.log import DEAD_STREAM, STREAM, address, unavailable
from infra.log_codec import decode

GROUP = "recorder"
GONE = ("NOGROUP", "UNBLOCKED")  # the latter is what Redis 7.0 tells who waits on a stream that is deleted
CHUNK = 200  # entries a round trip, at most …
FIRST_CHUNK = 25  # … and as long as nobody knows how large they are
CHUNK_BYTES = 2**18  # of a round trip, about: while Redis makes a reply it answers nobody else
READ_BYTES = 2**18  # from the socket at once; redis-py's 64 kB take a call to the kernel for each entry or more
MOST_BYTES = 64 * 2**20  # of one batch: a body may be 1 MB, and 2,000 such records must not fill the memory

ACKNOWLEDGE = """
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
"""

# The copy is made first: if memory is too short for it Redis refuses the script there, and the entry stays.
REJECT = """
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
local fields = found[1] and found[1][2] or {}
redis.call('XADD', KEYS[2], '*', 'reason', ARGV[3], 'entry_id', ARGV[2], unpack(fields))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return redis.call('XDEL', KEYS[1], ARGV[2])
"""

T = TypeVar("T")
Raw = tuple[bytes, Mapping[bytes, bytes]]


class RedisLogConsumer:
    """One consumer of the group, known by its name: started again under the same name it goes on where it died.

    Entries that a consumer of another name left unacknowledged for `idle_seconds` are taken over. Each call to Redis
    takes at most `timeout` seconds; `Unavailable` when it is down or hangs. A group that is gone is made anew from
    the stream's first entry, for all that is still in the stream is unacknowledged.
    """

    def __init__(
        self, url: str, name: str, idle_seconds: float = 60.0, timeout: float = 5.0, breather: Breather | None = None
    ) -> None:
        self._address = address(url)
        self._name = name
        self._idle_milliseconds = int(idle_seconds * 1000)
        self._longest_wait = timeout / 2
        self._breather = breather or Breather()
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            socket_read_size=READ_BYTES,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis.set_response_callback("XAUTOCLAIM", _whole)
        self._acknowledge = self._redis.register_script(ACKNOWLEDGE)
        self._reject = self._redis.register_script(REJECT)

    def read(self, most: int, wait_seconds: float) -> Sequence[LogEntry]:
        """Unacknowledged entries first, then new ones, for which it waits at most `wait_seconds` (half the timeout)."""
        taken = self._bounded(lambda: self._pending(most) or self._new(most, min(wait_seconds, self._longest_wait)))
        return [_entry(entry_id, fields) for entry_id, fields in self._breather.each(taken)]

    def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """These are safe elsewhere: they leave the log."""
        for start in self._breather.each(range(0, len(entry_ids), CHUNK)):
            chunk = entry_ids[start : start + CHUNK]
            self._bounded(partial(self._acknowledge, [STREAM], [GROUP, *chunk]))

    def reject(self, entry: LogEntry, reason: str) -> None:
        """Move a poison entry, its bytes unchanged, to the dead-letter stream, with the reason."""
        self._bounded(lambda: self._reject([STREAM, DEAD_STREAM], [GROUP, entry.entry_id, reason]))

    def lag(self) -> int:
        """Entries not yet acknowledged, delivered or not."""
        return self._length(STREAM)

    def dead_letters(self) -> int:
        """Entries in the dead-letter stream; it is never trimmed, for nothing that came in may be lost."""
        return self._length(DEAD_STREAM)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _length(self, stream: str) -> int:
        length: Any = self._bounded(lambda: self._redis.xlen(stream))
        return int(length)

    def _pending(self, most: int) -> list[Raw]:
        """Own entries, and those of consumers that are gone, which become own ones by the claim.

        An entry that someone deleted stays pending in Redis 6. Redis 7 forgets it with the claim, whosever it was and
        however short it was idle, and names it in a third part of the reply, this once.
        """
        claim: Any = self._redis.xautoclaim(STREAM, GROUP, self._name, self._idle_milliseconds, count=most, justid=True)
        deleted: list[Raw] = [(entry_id, {}) for part in claim[2:] for entry_id in part]
        return deleted + self._take(most - len(deleted), "0", None)

    def _new(self, most: int, wait_seconds: float) -> list[Raw]:
        return self._take(most, ">", int(wait_seconds * 1000) or None)  # BLOCK 0 would wait for ever

    def _take(self, most: int, start: str | bytes, block: int | None) -> list[Raw]:
        taken: list[Raw] = []
        size = 0
        while len(taken) < most and size < MOST_BYTES:
            count = min(_chunk(len(taken), size), most - len(taken))
            got = self._read_group(start, count, None if taken else block)
            if not got:
                break
            taken += got
            size += sum(len(value) for _, fields in got for value in fields.values())
            if len(got) < count:
                break
            self._breather.rest()
            start = start if start == ">" else got[-1][0]
        return taken

    def _read_group(self, start: str | bytes, count: int, block: int | None) -> list[Raw]:
        streams: Any = self._redis.xreadgroup(GROUP, self._name, {STREAM: start}, count=count, block=block)
        return list(streams[0][1]) if streams else []

    def _bounded(self, call: Callable[[], T]) -> T:
        try:
            try:
                return call()
            except ResponseError as error:
                if not str(error).startswith(GONE):
                    raise
                self._make_group()
                return call()
        except (RedisError, OSError) as error:
            raise unavailable(self._address, error) from error

    def _make_group(self) -> None:
        try:
            self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another consumer was faster
                raise


def _chunk(taken: int, size: int) -> int:
    """How many entries to ask for next, going by the bytes of those that were taken."""
    return min(CHUNK, max(1, CHUNK_BYTES * taken // max(1, size))) if taken else min(CHUNK, FIRST_CHUNK)


def _whole(reply: Any, **_: Any) -> Any:
    """The reply as it came: redis-py would keep of it only what was claimed."""
    return reply


def _entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> LogEntry:
    name = entry_id.decode()
    if not fields:  # what was pending and Redis no longer has
        return LogEntry(name, None, "The entry was deleted from the stream by someone else, unread.")
    try:
        return LogEntry(name, decode(fields))
    except InvalidInput as error:
        return LogEntry(name, None, str(error))
