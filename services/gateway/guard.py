"""Who may enter: the key, the rate and the number of requests in flight, before anything is read or fetched.

Rate and requests in flight are each system's own: a flood of one is refused at the door, and leaves the others alone.
"""

import hmac
from collections import Counter
from collections.abc import Collection
from time import monotonic

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.limits import TokenBucket
from services.gateway.problems import Refusal

OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"})
OPEN_FOLDER = "/docs/"  # the page's scripts
SYSTEMS = "/v1/systems/"
MOST_IN_FLIGHT = 256  # a second of Redis and serving hanging, at the rates this machine can take, fits in
BESIDE_OTHERS = 16  # … of one system while others are asked too: more only wait for each other, and make these wait
REMEMBERED = 1.0  # seconds for which a system that was asked counts as one that is


class Guard:
    """ASGI layer: raises a Refusal where a request may not pass."""

    def __init__(
        self, app: ASGIApp, key: str, rate: float, most_in_flight: int = MOST_IN_FLIGHT, systems: Collection[str] = ()
    ) -> None:
        self.app, self.key, self.rate = app, key.encode(), rate
        self.buckets = {name: TokenBucket(rate) for name in ("", *systems)}  # "": what is asked of no system
        self.crowd = Crowd(most_in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN or scope["path"].startswith(OPEN_FOLDER):
            return await self.app(scope, receive, send)
        self._check_key(scope)
        system = self._system(scope["path"])
        self._check_rate(system)
        self.crowd.enter(system)
        try:
            await self.app(scope, receive, send)
        finally:
            self.crowd.leave(system)

    def _system(self, path: str) -> str:
        """The system that is asked; a client's own words are never remembered."""
        name = path.removeprefix(SYSTEMS).partition("/")[0] if path.startswith(SYSTEMS) else ""
        return name if name in self.buckets else ""

    def _check_key(self, scope: Scope) -> None:
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.key):
            raise Refusal(
                401,
                "unauthorized",
                "The Authorization header is missing or its key is not this stack's; `flywheel key` prints the key.",
                "Authorization",
            ).with_headers(WWW_Authenticate="Bearer")

    def _check_rate(self, system: str) -> None:
        if wait := self.buckets[system].take():
            asked = f" for {system}" if system else ""
            raise Refusal(
                429, "rate_limited", f"More than {self.rate:g} requests a second came from this key{asked}; slow down."
            ).with_headers(Retry_After=str(wait))


class Crowd:
    """Requests in flight, by system. One that is alone may have them all; beside others it has its share."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.inside: Counter[str] = Counter()
        self._asked: dict[str, float] = {}

    def enter(self, system: str) -> None:
        """One more; a Refusal when there are too many."""
        now, total = monotonic(), self.inside.total()
        self._asked[system] = now
        if total >= self.most:
            raise Refusal(503, "overloaded", f"The gateway is answering {total} requests already; try later.")
        if (own := self.inside[system]) >= BESIDE_OTHERS and self._others(system, now):
            raise Refusal(
                503, "overloaded", f"The gateway is answering {own} requests for {system} beside others'; try later."
            )
        self.inside[system] += 1

    def leave(self, system: str) -> None:
        self.inside[system] -= 1

    def _others(self, system: str, now: float) -> bool:
        """Whether another system is asked, too."""
        return any(
            name and name != system and (self.inside[name] or now - at < REMEMBERED) for name, at in self._asked.items()
        )
