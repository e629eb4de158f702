"""Redis as the request path calls it: commands packed already, one round trip, over connections that are kept.

redis-py connects (address, TLS, password, database, all that its URLs can say); what it then costs the gateway a call
in its pool, its events and its streams is left out: the connection goes on under the protocol below, and hiredis, which
redis-py reads replies with, reads them here, too.
"""

import asyncio
from collections import deque
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

MOST_CONNECTIONS = 16  # Redis carries out one command after the other; making more costs a burst more than its wait
MORE = object()  # what hiredis gives for a reply that is not whole yet


class RedisLink:
    """Connections to the Redis at `url`, each of which carries one exchange at a time; who finds none free waits for
    one, in line. For one event loop."""

    def __init__(self, url: str) -> None:
        self._maker = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2)
        self._idle: deque[_Wire] = deque()
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)

    async def exchange(self, commands: bytes, replies: int) -> list[Any]:
        """Send packed commands and wait for as many replies, strings as bytes. Redis-py's exceptions, or an OSError;
        whoever cancels it cannot tell whether Redis has carried the commands out.

        A connection that was left in the middle of an exchange is never used again: the next caller would be given
        this one's replies.
        """
        async with self._places:
            wire = self._kept() or await self._connect()
            try:
                found = await wire.exchange(commands, replies)
            except BaseException:
                wire.close()
                raise
            self._idle.append(wire)
        for reply in found:
            if isinstance(reply, Exception):
                raise reply
        return found

    async def aclose(self) -> None:
        """Close the connections; those in use close when their exchanges end in an error, or with the process."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> "_Wire | None":
        while self._idle:
            if (wire := self._idle.pop()).usable:
                return wire
        return None

    async def _connect(self) -> "_Wire":
        connection: Any = self._maker.make_connection()  # type: ignore[no-untyped-call]  # redis-py's has no types
        await connection.connect()
        return _Wire(connection)


class _Wire(asyncio.Protocol):
    """The protocol of a connection that redis-py has made."""

    def __init__(self, connection: Any) -> None:
        self._streams = connection._reader, connection._writer  # held, for they close what nobody holds
        connection._reader = connection._writer = None  # redis-py is done with it
        self._transport: asyncio.Transport = self._streams[1].transport
        self._replies = hiredis.Reader(notEnoughData=MORE, replyError=ResponseError)
        self._waiting: asyncio.Future[list[Any]] | None = None
        self._wanted, self._found = 0, list[Any]()
        self.usable = not self._transport.is_closing()
        self._transport.set_protocol(self)

    async def exchange(self, commands: bytes, replies: int) -> list[Any]:
        """Send, and wait for so many replies; an error in place of a reply is one of them."""
        if not self.usable:
            raise ConnectionResetError("the connection was closed")
        self._wanted, self._found = replies, []
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(commands)
        return await self._waiting

    def close(self) -> None:
        self.usable = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """A piece of replies, or several."""
        if self._waiting is None or self._waiting.done():
            self.close()  # replies to nobody's commands
            return
        self._replies.feed(data)
        try:
            while (reply := self._replies.gets()) is not MORE:
                self._found.append(reply)
        except hiredis.HiredisError as error:
            self._fail(RedisConnectionError(f"these are no replies of Redis: {error}"))
            return
        if len(self._found) == self._wanted:
            self._waiting.set_result(self._found)
        elif len(self._found) > self._wanted:
            self._fail(RedisConnectionError(f"{len(self._found)} replies came to {self._wanted} commands"))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionResetError("the connection was closed"))

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
