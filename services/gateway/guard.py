"""Who may enter: the key, the rate and the number of requests in flight, before anything is read or fetched.

Rate and requests in flight are each system's own: a flood of one is refused at the door, and leaves the others alone.
Of predictions, no more are let in than can be made in time; the rest is told at once.
"""

import asyncio
import hmac
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import nullcontext
from time import monotonic
from typing import Self

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.asked import PREDICTIONS, system_of
from services.gateway.limits import Room, TokenBucket, Turns
from services.gateway.problems import Refusal

OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"})
OPEN_FOLDER = "/docs/"  # the page's scripts
MOST_IN_FLIGHT = 256  # a second of Redis and serving hanging, at the rates this machine can take, fits in
BESIDE_OTHERS = 16  # … predictions of one system while others are asked too …
AT_ONCE = 4  # … of which so many are worked on, and the others wait: each that is worked on makes everybody wait
EXPECTED = "flywheel.expected"  # in the scope of a prediction that `turned_away` has seen
ALONE: nullcontext[None] = nullcontext()  # no line to wait in
REMEMBERED = 1.0  # seconds for which a system that was asked counts as one that is


class Guard:
    """ASGI layer: raises a Refusal where a request may not pass."""

    def __init__(
        self, app: ASGIApp, key: str, rate: float, most_in_flight: int = MOST_IN_FLIGHT, systems: Collection[str] = ()
    ) -> None:
        self.app, self.key, self.rate = app, key.encode(), rate
        self._usual_key = b"Bearer " + self.key
        self.systems = frozenset(systems)
        self.buckets = {name: TokenBucket(rate) for name in ("", *systems)}  # "": what is asked of no system
        self.crowd = Crowd(most_in_flight)
        self.turns = Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN or scope["path"].startswith(OPEN_FOLDER):
            await self.app(scope, receive, send)
            return
        system = self._system(scope["path"])
        if scope.pop(EXPECTED, False):
            self.crowd.room(system).expected -= 1
        authorization = Headers(scope=scope).get("authorization", "")
        if refusal := self._stranger(authorization) or self._too_fast(system, self.buckets[system].take()):
            raise refusal
        group = system if scope["path"].endswith(PREDICTIONS) else ""  # an outcome costs little, and many come at once
        beside = self.crowd.check(group)
        with self.crowd.place(group):
            if not group:
                await self.app(scope, receive, send)
                return
            async with self.crowd.turn(group) if beside else ALONE:
                with Visit(self.crowd.room(group), self.turns, receive) as visit:
                    await self.app(scope, visit.receive, send)

    def turned_away(self, system: str, authorization: str) -> Refusal | None:
        """Why a prediction of the system may not come in, if so; else it is expected, with `EXPECTED` in its scope.

        The refusal is given, not raised: frames hold an error that hold it, garbage that only a collection frees.
        """
        refusal = (
            self._stranger(authorization)
            or self._too_fast(system, self.buckets[system].wait())
            or self.crowd.refusal(system, self.crowd.beside(system))
        )
        if refusal is None:
            self.crowd.room(system).expected += 1  # others of this turn are to know of it
        return refusal

    def _system(self, path: str) -> str:
        """The system that is asked; a client's own words are never remembered."""
        name = system_of(path)
        return name if name in self.systems else ""

    def _stranger(self, authorization: str) -> Refusal | None:
        if hmac.compare_digest(authorization.encode(), self._usual_key):  # as nearly all write it
            return None
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.key):
            return None
        return Refusal(
            401,
            "unauthorized",
            "The Authorization header is missing or its key is not this stack's; `flywheel key` prints the key.",
            "Authorization",
        ).with_headers(WWW_Authenticate="Bearer")

    def _too_fast(self, system: str, wait: int) -> Refusal | None:
        if not wait:
            return None
        asked = f" for {system}" if system else ""
        return Refusal(
            429, "rate_limited", f"More than {self.rate:g} requests a second came from this key{asked}; slow down."
        ).with_headers(Retry_After=str(wait))


class Visit:
    """A prediction's time at work: from the end of its body on, for how fast a client sends is the client's own."""

    def __init__(self, room: Room, turns: Turns, receive: Receive) -> None:
        self._room, self._turns, self._receive = room, turns, receive
        self._began: float | None = None

    async def receive(self) -> Message:
        """The next piece of the body; the last one when it is the request's turn."""
        message = await self._receive()
        if self._began is None and message["type"] == "http.request" and not message.get("more_body", False):
            self._began = monotonic()
            self._room.enter()
            await self._turns.turn()
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """It is answered, or has failed; one whose body never came whole was not at work."""
        if self._began is None:
            return
        if error[0] is None:
            self._room.done(monotonic() - self._began)
        else:
            self._room.leave()


class Place:
    """One request in flight; a class, for every request passes it, and contextlib's contexts are generators."""

    def __init__(self, inside: Counter[str], system: str) -> None:
        self._inside, self._system = inside, system

    def __enter__(self) -> None:
        self._inside[self._system] += 1

    def __exit__(self, *error: object) -> None:
        self._inside[self._system] -= 1


class Crowd:
    """Requests in flight, predictions by system. A system that is alone may have as many as it can make in time; beside
    others it has its share of them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.inside: Counter[str] = Counter()
        self._asked: dict[str, float] = {}
        self._turns: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._rooms: dict[str, Room] = defaultdict(Room)

    def room(self, system: str) -> Room:
        """For a system's predictions at work."""
        return self._rooms[system]

    def place(self, system: str) -> "Place":
        """One more in flight, within the context."""
        return Place(self.inside, system)

    def turn(self, system: str) -> asyncio.Semaphore:
        """What a system's predictions wait for in line while others are asked, too."""
        return self._turns[system]

    def check(self, system: str) -> bool:
        """Whether the system is asked beside others; a Refusal when there are too many for one more."""
        beside = self.beside(system)
        if refusal := self.refusal(system, beside):
            raise refusal
        return beside

    def beside(self, system: str) -> bool:
        """Whether the system, which is asked now, is asked beside others."""
        now = self._asked[system] = monotonic()
        return bool(system) and self._others(system, now)

    def refusal(self, system: str, beside: bool) -> Refusal | None:
        """Why there is no room for one more, if so."""
        if (total := self.inside.total()) >= self.most:
            return Refusal(503, "overloaded", f"The gateway is answering {total} requests already; try later.")
        if system and (room := self.room(system)).full:
            return Refusal(
                503,
                "overloaded",
                f"The gateway is making {room.working} predictions of {system}, as many as it can in time; try later.",
            )
        if beside and (own := self.inside[system]) >= BESIDE_OTHERS:
            return Refusal(
                503, "overloaded", f"The gateway is making {own} predictions of {system} beside others'; try later."
            )
        return None

    def _others(self, system: str, now: float) -> bool:
        """Whether another system is asked, too."""
        return any(
            name and name != system and (self.inside[name] or now - at < REMEMBERED) for name, at in self._asked.items()
        )
