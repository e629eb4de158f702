"""Who may enter: the key, the rate and the number of requests in flight, before anything is read or fetched."""

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.limits import TokenBucket
from services.gateway.problems import Refusal

OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"})
OPEN_FOLDER = "/docs/"  # the page's scripts
MOST_IN_FLIGHT = 256  # a second of Redis and serving hanging, at the rates this machine can take, fits in


class Guard:
    """ASGI layer: raises a Refusal where a request may not pass."""

    def __init__(self, app: ASGIApp, key: str, bucket: TokenBucket, most_in_flight: int = MOST_IN_FLIGHT) -> None:
        self.app, self.bucket, self.most_in_flight = app, bucket, most_in_flight
        self.key = key.encode()
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN or scope["path"].startswith(OPEN_FOLDER):
            return await self.app(scope, receive, send)
        self._check_key(scope)
        self._check_rate()
        if self.in_flight >= self.most_in_flight:
            raise Refusal(503, "overloaded", f"The gateway is answering {self.in_flight} requests already; try later.")
        self.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_flight -= 1

    def _check_key(self, scope: Scope) -> None:
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.key):
            raise Refusal(
                401,
                "unauthorized",
                "The Authorization header is missing or its key is not this stack's; `flywheel key` prints the key.",
                "Authorization",
            ).with_headers(WWW_Authenticate="Bearer")

    def _check_rate(self) -> None:
        if wait := self.bucket.take():
            raise Refusal(
                429, "rate_limited", f"More than {self.bucket.rate:g} requests a second came from this key; slow down."
            ).with_headers(Retry_After=str(wait))
