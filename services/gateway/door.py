"""uvicorn's connection, which turns a prediction away as soon as its head has been read, and answers in one write.

Where more is asked than can be answered, most of what the gateway does is refusing, and each refusal takes from those
that are let in. Here one is a few look-ups and one write; elsewhere it would be a task and all layers of the program.
What decides is the same guard, and only what it refuses is answered here.
"""

from asyncio import Event, Transport
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.gateway.asked import predictions_path
from services.gateway.guard import EXPECTED, Guard
from services.gateway.metrics import Metrics
from services.gateway.problems import Refusal

ENDPOINT = "predictions"
CONTINUE = b"HTTP/1.1 100 "


class Together:
    """A connection as one answer writes to it: its head waits for the first of its body, which comes at once after it,
    and goes out with it. Two writes would be two packets, each of which wakes the client.

    It knows nothing of the answer that holds it: two that hold each other are garbage that only a collection frees."""

    def __init__(self, transport: Transport, method: str) -> None:
        self._transport = transport
        self._head: bytes | None = None if method != "HEAD" else b""  # to HEAD nothing follows
        self.close, self.is_closing = transport.close, transport.is_closing

    def write(self, data: bytes) -> None:
        """Hold the head; what follows goes out, as does the leave to send a body, which comes before it."""
        if self._head is None and not data.startswith(CONTINUE):
            self._head = data
            return
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)


class Answered:
    """Stands where uvicorn keeps the request that a connection is at: it has its answer, and its body is not wanted."""

    response_complete = True
    message_event = Event()


class Door(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, guard: Guard, metrics: Metrics, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._guard, self._metrics = guard, metrics
        self._systems = {predictions_path(name).encode(): name for name in guard.systems}

    @classmethod
    def of(cls, guard: Guard, metrics: Metrics) -> Callable[..., "Door"]:
        """What uvicorn makes its connections with."""
        return lambda **uvicorn: cls(guard, metrics, **uvicorn)

    def on_headers_complete(self) -> None:
        """httptools': the head is there, of the body perhaps nothing yet."""
        if system := self._asked():
            if refusal := self._guard.turned_away(system, self._key()):
                self._refuse(system, refusal)
                return
            self.scope[EXPECTED] = True  # type: ignore[literal-required]  # from here to the guard
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            together = Together(self.transport, self.scope["method"])
            self.cycle.transport = together  # type: ignore[assignment]  # all that a cycle asks of it

    def _asked(self) -> str | None:
        """The system whose prediction is asked for, where nothing speaks against an answer right now."""
        system = self._systems.get(self.url)
        if system is None or self.parser.get_method() != b"POST" or not self.parser.should_keep_alive():
            return None
        if self.parser.should_upgrade():  # uvicorn may make a WebSocket of it, which never comes to the guard
            return None
        before = self.cycle is None or self.cycle.response_complete  # answers come in the order of what was asked
        return system if before and not (self.expect_100_continue or self.flow.write_paused) else None

    def _key(self) -> str:
        return next((value.decode("latin-1") for name, value in self.headers if name == b"authorization"), "")

    def _refuse(self, system: str, refusal: Refusal) -> None:
        content = refusal.content()
        own = _lines(refusal.status, tuple(refusal.headers.items()))
        usual = _usual(tuple(self.server_state.default_headers))
        self.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (own, usual, len(content), content))
        self._metrics.requests_of(ENDPOINT, system, str(refusal.status)).inc()
        self.cycle = Answered()  # type: ignore[assignment]  # all that uvicorn asks of one that is answered
        self.on_response_complete()


@lru_cache(maxsize=64)
def _lines(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The first lines of a refusal: many are alike."""
    lines = [f"{name.lower()}: {value}\r\n" for name, value in (("content-type", "application/json"), *headers)]
    return bytes(STATUS_LINE[status]) + "".join(lines).encode("latin-1")


@lru_cache(maxsize=4)
def _usual(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The lines that uvicorn gives each answer; they change with the second."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])
