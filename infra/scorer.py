"""Model serving as the gateway calls it, over kept-alive connections, with answers in time: rows of features as raw
floats for scores, a request in JSON for the candidates that stage one finds.

A call costs the gateway about 0.1 ms of processor time over asyncio and httptools; with httpx it was five times that.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import httptools
import numpy as np
import orjson

from contracts.errors import NoChampion, SetupError, Unavailable
from contracts.records import Candidates, Scored
from contracts.system import Matrix
from infra.candidates_codec import decode
from infra.patience import bound

MOST_IDLE = 128  # connections kept open between calls: as many as a flood that is let in takes


class HttpScorer:
    """Asks serving at `url` (http://host:port), within `timeout` seconds (None: its caller's). For one event loop."""

    def __init__(self, url: str, timeout: float | None = 0.15) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise SetupError(f"Serving's address is {url!r}; it should look like http://127.0.0.1:3000.")
        self.url = url
        self.timeout = timeout
        self._host, self._port = parts.hostname, parts.port or 80
        self._path = f"{parts.path.rstrip('/')}/v1/"
        self._idle: deque[_Connection] = deque()

    async def score(self, system: str, features: Matrix, version: str | None = None, explain: bool = False) -> Scored:
        """Scores of the champion, or of the version named; `Unavailable` when there is none, or no answer in time."""
        headers = ("" if version is None else f"X-Version: {version}\r\n") + ("X-Explain: 1\r\n" if explain else "")
        head = f"Content-Type: application/octet-stream\r\nX-Columns: {features.shape[1]}\r\n{headers}"
        body = np.ascontiguousarray(features, dtype="<f4").tobytes()
        answer = await self._answered(self._request(f"score/{quote(system, safe='')}", head, body))
        return self._scored(answer, features.shape, explain)

    async def retrieve(self, system: str, request: Mapping[str, Any], now: datetime) -> Candidates:
        """What the champion's stage one finds for a request; `Unavailable` when there is none, or no answer in time."""
        body = orjson.dumps({"request": request, "at": now.timestamp()})
        head = "Content-Type: application/json\r\n"
        answer = await self._answered(self._request(f"retrieve/{quote(system, safe='')}", head, body))
        try:
            return Candidates(decode(answer.body), answer.version)
        except ValueError as error:
            raise Unavailable(f"Serving at {self.url} answered no candidates: {error}; is it Flywheel's?") from error

    async def aclose(self) -> None:
        """Close the connections; those in use close when their calls end."""
        while self._idle:
            self._idle.pop().close()

    def _request(self, path: str, headers: str, body: bytes) -> bytes:
        head = (
            f"POST {self._path}{path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"{headers}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body

    async def _answered(self, request: bytes) -> "_Answer":
        """Serving's answer of 200, in time."""
        try:
            async with bound(self.timeout):
                answer = await self._exchange(request)
        except TimeoutError as error:
            raise Unavailable(f"Serving at {self.url} did not answer in time.") from error
        except (OSError, httptools.HttpParserError) as error:
            raise Unavailable(f"Serving at {self.url} cannot be reached ({error or type(error).__name__}).") from error
        if answer.status != 200:
            said = answer.body.decode("utf-8", "replace")[:300]
            kind = NoChampion if answer.status == 404 else Unavailable
            raise kind(f"Serving at {self.url} answered {answer.status}: {said}")
        if not answer.version:
            raise Unavailable(f"Serving at {self.url} answered without naming a version; is it Flywheel's?")
        return answer

    async def _exchange(self, request: bytes) -> "_Answer":
        """One answer; a kept connection that serving closed meanwhile is no fault of serving's: then a new one."""
        if connection := self._kept():
            try:
                return await self._over(connection, request)
            except ConnectionError:
                pass
        return await self._over(await self._connect(), request)

    async def _over(self, connection: "_Connection", request: bytes) -> "_Answer":
        try:
            answer = await connection.exchange(request)
        except BaseException:  # a timeout or a cancellation too: its answer may still come, and must meet no other call
            connection.close()
            raise
        if connection.reusable and len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _kept(self) -> "_Connection | None":
        while self._idle:
            if (connection := self._idle.pop()).reusable:
                return connection
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._host, self._port)
        return connection

    def _scored(self, answer: "_Answer", shape: tuple[int, ...], explain: bool) -> Scored:
        """Of an answer: float64, one a row, and where they were asked for the contributions, float32, of that shape."""
        rows, columns = shape
        if len(answer.body) != 8 * rows + (4 * rows * columns if explain else 0):
            raise Unavailable(
                f"Serving at {self.url} answered {len(answer.body)} bytes for {rows} rows; is it Flywheel's?"
            )
        contributions = np.frombuffer(answer.body, "<f4", offset=8 * rows).reshape(shape) if explain else None
        return Scored(np.frombuffer(answer.body, "<f8", count=rows), answer.version, contributions)


@dataclass
class _Answer:
    """An answer, as httptools reads it piece by piece."""

    status: int = 0
    version: str = ""
    body: bytes = b""


class _Connection(asyncio.Protocol):
    """One connection, which carries one call at a time; its parser calls the methods that begin with `on_`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[_Answer] | None = None
        self._answer = _Answer()
        self._parser = httptools.HttpResponseParser(self)
        self.reusable = True

    async def exchange(self, request: bytes) -> _Answer:
        """Send a request and wait for its answer; ConnectionError when the other side closes first."""
        if self._transport is None or not self.reusable:
            raise ConnectionResetError("the connection was closed")
        self._answer = _Answer()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a Transport

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            self.close()  # an answer to nobody's question
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionResetError("the connection was closed"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-model-version":
            self._answer.version = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        """The parser knows only in here whether the connection may be kept."""
        self.reusable = self.reusable and self._parser.should_keep_alive()
        self._answer.status = self._parser.get_status_code()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)

    def _fail(self, error: Exception) -> None:
        self.reusable = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
