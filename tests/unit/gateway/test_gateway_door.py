"""Predictions that are turned away at the connection: over real sockets, as uvicorn hands them in."""

import gc
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from services.gateway.app import Gateway, build
from services.gateway.door import Door
from services.gateway.guard import Guard
from services.gateway.limits import Room
from services.gateway.metrics import Metrics
from tests.unit.gateway.conftest import KEY, Hanging, World, with_deadline

PREDICTIONS = "/v1/systems/ad_click/predictions"
PATIENCE = 10.0  # seconds


class Served:
    """A gateway behind a port of this machine."""

    def __init__(self, gateway: Gateway, metrics: Metrics, port: int) -> None:
        self.gateway, self.metrics, self.port = gateway, metrics, port

    @property
    def room(self) -> Room:
        return self.gateway.guard.crowd.room("ad_click")

    def fill(self) -> None:
        """As many at work as there is room for."""
        self.room.working = int(self.room.limit)

    def client(self, **headers: str) -> "Client":
        return Client(self.port, headers)


class Client:
    """One connection, and what is sent over it word for word."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.headers = {"Host": "gateway", "Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        self.headers.update(headers)
        self.received = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def request(self, body: bytes, line: str = f"POST {PREDICTIONS} HTTP/1.1") -> bytes:
        lines = [line, *(f"{name}: {value}" for name, value in self.headers.items()), f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def answer(self) -> tuple[int, bytes, dict[str, object]]:
        """Status, head and body of the next answer."""
        while b"\r\n\r\n" not in self.received:
            self._read()
        head, _, rest = self.received.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
        while len(rest) < length:
            self._read()
            rest = self.received.partition(b"\r\n\r\n")[2]
        self.received = rest[length:]
        return int(head[9:12]), head, json.loads(rest[:length])

    def asked(self, content: bytes) -> tuple[int, bytes, dict[str, object]]:
        self.socket.sendall(content)
        return self.answer()

    def _read(self) -> None:
        piece = self.socket.recv(65_536)
        assert piece, "the gateway closed the connection"
        self.received += piece


class Written:
    """A transport that remembers what is written to it, piece by piece."""

    def __init__(self, transport: Any, written: list[bytes]) -> None:
        self._transport, self._written = transport, written

    def write(self, data: bytes) -> None:
        self._written.append(bytes(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def serving(
    world: World, keep_alive: int = 60, ws: Literal["none", "auto"] = "none", written: list[bytes] | None = None
) -> Iterator[Served]:
    """The gateway of these parts, until the test is over; seconds that a connection may be idle."""

    class Watched(Door):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport if written is None else Written(transport, written))

    platform = world.platform()
    gateway = build(platform, world.catalogue, world.limits)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        door = Watched.of(gateway.guard, platform.metrics)
        config = uvicorn.Config(
            gateway.app,
            http=door,  # type: ignore[arg-type]  # it is only called
            ws=ws,
            log_level="critical",
            timeout_keep_alive=keep_alive,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(gateway, platform.metrics, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def served(world: World) -> Iterator[Served]:
    yield from serving(world)


@pytest.fixture
def body(world: World) -> bytes:
    return json.dumps(world.request()).encode()


def count(served: Served, status: int) -> float | None:
    labels = {"endpoint": "predictions", "system": "ad_click", "status": str(status)}
    return served.metrics.registry.get_sample_value("flywheel_gateway_requests_total", labels)


def test_a_full_room_is_told_at_once_and_the_connection_stays(served: Served, body: bytes) -> None:
    with served.client() as client:
        served.fill()
        status, head, error = client.asked(client.request(body))
        assert status == 503
        assert b"\r\nretry-after: 1\r\n" in head.lower() + b"\r\n"
        assert "as many as it can in time" in str(error)
        served.room.working = 0
        assert client.asked(client.request(body))[0] == 200
    assert (count(served, 503), count(served, 200)) == (1.0, 1.0)


def test_an_answer_is_one_write_after_leave_to_send_its_body(world: World, body: bytes) -> None:
    written: list[bytes] = []
    for served in serving(world, written=written):
        with served.client(Expect="100-continue") as client:
            head, _, _ = client.request(body).partition(b"\r\n\r\n")
            client.socket.sendall(head + b"\r\n\r\n")
            assert client.socket.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert client.asked(body)[0] == 200
        with served.client() as client:
            assert client.asked(client.request(body))[0] == 200
            assert client.asked(client.request(b"", "GET /nowhere HTTP/1.1"))[0] == 404
    leave, *answers = written
    assert leave == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"404"]
    assert all(answer.endswith(b"}") for answer in answers)


def test_an_answer_leaves_no_garbage(served: Served, body: bytes) -> None:
    """Of each request there is nothing left but on the connection, without a collection."""
    with served.client() as client:
        assert client.asked(client.request(body))[0] == 200
        gc.collect()
        gc.disable()
        try:
            assert {client.asked(client.request(body))[0] for _ in range(20)} == {200}
            left = [each for each in gc.get_objects() if isinstance(each, RequestResponseCycle)]
        finally:
            gc.enable()
    assert len(left) <= 2  # the last one, and perhaps the one whose task is just ending


def test_the_head_alone_is_sent_where_it_is_all(served: Served) -> None:
    with served.client() as client:
        client.socket.sendall(client.request(b"", "HEAD /openapi.json HTTP/1.1"))
        assert client.socket.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")


async def asked_of_the_application(gateway: Gateway, body: bytes, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(gateway.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        return await client.post(PREDICTIONS, content=body)


@pytest.mark.anyio
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}])
async def test_the_door_says_what_the_application_would(served: Served, body: bytes, headers: dict[str, str]) -> None:
    served.fill()
    with served.client(**headers) as client:
        status, head, error = client.asked(client.request(body))
        said = await asked_of_the_application(served.gateway, body, client.headers)
    assert (status, error) == (said.status_code, said.json())
    names = {line.partition(b":")[0].lower().decode() for line in head.split(b"\r\n")[1:]}
    assert names - {"date", "server"} == set(said.headers)
    for name, value in said.headers.items():
        assert f"{name}: {value}".lower().encode() in head.lower()
    assert count(served, status) == 2.0  # both are counted as the system's


def test_an_idle_connection_is_closed_after_a_refusal_too(world: World, body: bytes) -> None:
    for served in serving(world, keep_alive=1):
        served.fill()
        with served.client() as client:
            assert client.asked(client.request(body))[0] == 503
            assert client.socket.recv(1) == b""


def test_the_guard_turns_away_what_it_would_not_let_in_and_takes_nothing_from_the_rate() -> None:
    guard = Guard(_nowhere, KEY, 1.0, systems=["ads"])
    key = f"Bearer {KEY}"
    assert [guard.turned_away("ads", key) for _ in range(3)] == [None] * 3
    guard.buckets["ads"].take()
    refusals = guard.turned_away("ads", key), guard.turned_away("ads", "")
    assert [refusal and refusal.status for refusal in refusals] == [429, 401]


def test_what_is_turned_away_leaves_no_garbage() -> None:
    """Under overload there are thousands a second; a collection would stop everybody."""
    guard = Guard(_nowhere, KEY, 1.0, systems=["ads"])

    def refused() -> None:
        refusal = guard.turned_away("ads", "")  # held by this frame, as the door does
        assert refusal is not None

    refused()
    gc.collect()
    for _ in range(100):
        refused()
    assert gc.collect() < 100


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError


def test_more_than_the_rate_is_told_when_to_come_again(world: World, body: bytes) -> None:
    for served in serving(replace(world, limits=replace(world.limits, rate=1.0))):
        with served.client() as client:
            assert client.asked(client.request(body))[0] == 200
            status, head, _ = client.asked(client.request(body))
        assert status == 429
        assert b"retry-after: 1" in head.lower()


def test_a_body_that_comes_after_its_refusal_is_not_taken_for_a_request(served: Served, body: bytes) -> None:
    with served.client() as client:
        served.fill()
        whole = client.request(body)
        assert client.asked(whole[: -len(body)])[0] == 503
        served.room.working = 0
        client.socket.sendall(body[:10])
        assert client.asked(body[10:] + whole)[0] == 200


def test_answers_come_in_the_order_of_what_was_asked(world: World, body: bytes) -> None:
    world = with_deadline(world, 0.5)
    world.reader = Hanging()
    for served in serving(world):
        served.room.most, served.room.limit = 1, 1.0
        with served.client() as client:
            client.socket.sendall(client.request(body) * 2)
            first = client.answer()
            assert (first[0], first[2]["variant"]) == (200, "fallback")
            assert client.answer()[0] in (200, 503)


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        (f"POST {PREDICTIONS} HTTP/1.0", {}, 503),
        (f"POST {PREDICTIONS} HTTP/1.1", {"Connection": "close"}, 503),
        (f"POST {PREDICTIONS}?x=1 HTTP/1.1", {}, 503),
        (f"PUT {PREDICTIONS} HTTP/1.1", {}, 503),
        ("POST /v1/systems/nobody/predictions HTTP/1.1", {}, 404),
        ("GET /healthz HTTP/1.1", {}, 200),
    ],
)
def test_what_is_not_plainly_a_prediction_is_the_applications(
    served: Served, body: bytes, line: str, headers: dict[str, str], status: int
) -> None:
    served.fill()
    with served.client(**headers) as client:
        assert client.asked(client.request(body, line))[0] == status
        if "close" in headers.values() or line.endswith("1.0"):
            assert client.socket.recv(1) == b""


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


def test_another_protocol_is_not_spoken_and_still_answered(served: Served, body: bytes) -> None:
    with served.client(**UPGRADE) as client:
        assert client.asked(client.request(body))[0] == 400  # what follows such a head is not the request's body


def test_who_asks_for_another_protocol_holds_no_place(world: World, body: bytes) -> None:
    for served in serving(world, ws="auto"):  # uvicorn takes these for itself: the application never sees them
        clients = [served.client(**UPGRADE) for _ in range(3)]
        for client in clients:
            client.socket.sendall(client.request(body))
        with served.client() as other:
            assert other.asked(other.request(body))[0] == 200
        assert (served.room.working, served.room.expected) == (0, 0)
        for client in clients:
            client.socket.close()


def test_those_of_one_moment_know_of_each_other(world: World, body: bytes) -> None:
    world = with_deadline(world, 0.5)
    world.reader = Hanging()
    for served in serving(world):
        served.room.most, served.room.limit = 4, 4.0
        clients = [served.client() for _ in range(20)]
        for client in clients:
            client.socket.sendall(client.request(body))
        found = [client.answer()[0] for client in clients]
        for client in clients:
            client.socket.close()
        assert found.count(200) == 4
        ended = time.monotonic() + PATIENCE
        while served.room.working and time.monotonic() < ended:
            time.sleep(0.01)
        assert (served.room.working, served.room.expected) == (0, 0)
