"""The outermost layers: every answer is counted, and every error becomes an answer of one sentence."""

from collections.abc import Collection
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway import problems
from services.gateway.asked import prediction_of
from services.gateway.metrics import Metrics


class Errors:
    """ASGI layer: an error becomes an answer. It lies inside FastAPI, too, whose own outermost layer would answer for
    what its routes raise."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:  # the last line of defence: nothing is behind it but the server
            if begun:
                raise
            await self._refusal(error).response()(scope, receive, send)

    def _refusal(self, error: Exception) -> problems.Refusal:
        if known := problems.refusal(error):
            return known
        self.metrics.crashes.inc()
        return problems.crash(error)


class Watch:
    """ASGI layer. A label never takes a client's own words: there would be no end to their number."""

    def __init__(self, app: ASGIApp, metrics: Metrics, systems: Collection[str]) -> None:
        self.app, self.metrics, self.systems = app, metrics, systems

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = monotonic()
        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, watched)
        finally:
            self.metrics.in_flight.dec()
            self._count(scope, status, monotonic() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        if (handler := scope.get("endpoint")) is None:  # it was refused before its route, or there is none
            system = self._known(prediction_of(scope["method"], scope["path"]))
            self.metrics.requests_of("predictions" if system else "none", system, str(status)).inc()
            return
        endpoint, system = getattr(handler, "__name__", "none"), self._known(scope["path_params"].get("system", ""))
        self.metrics.requests_of(endpoint, system, str(status)).inc()
        if system and endpoint in ("predictions", "outcomes"):
            self.metrics.seconds_of(system, endpoint).observe(seconds)

    def _known(self, system: str) -> str:
        return system if system in self.systems else ""
