"""The gateway's HTTP: its routes, and the layers before them.

Predictions and outcomes are plain Starlette routes: FastAPI's dependencies would cost each of them more than the
gateway's own work does. FastAPI serves what is asked seldom, and tells OpenAPI about it.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from contracts.errors import InvalidInput
from services.gateway import body, docs, items, reviews
from services.gateway.catalogue import Catalogue, SystemDescription, SystemList, describe
from services.gateway.guard import MOST_IN_FLIGHT, Guard
from services.gateway.health import Readiness, readiness
from services.gateway.lane import Lane
from services.gateway.openapi import document
from services.gateway.outcomes import Outcome, accept
from services.gateway.predict import predict
from services.gateway.problems import Refusal
from services.gateway.served import Ask
from services.gateway.stages import Deadline, Platform
from services.gateway.watch import Errors, Watch

TITLE = "Flywheel gateway"
JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format
LONGEST_KEY = 255


@dataclass(frozen=True)
class Limits:
    """Who may enter and how much: the key, requests a second, bytes a body, requests in flight."""

    key: str
    rate: float
    body: int
    in_flight: int = MOST_IN_FLIGHT


class Gateway(NamedTuple):
    """The whole gateway as one ASGI application, and the guard within it."""

    app: ASGIApp
    guard: Guard


def build(platform: Platform, catalogue: Catalogue, limits: Limits) -> Gateway:
    """A gateway of these parts."""
    api = Api(platform, catalogue, limits.body)
    platform.metrics.expect(catalogue.ready.values())
    routed = api.routed()
    routed.add_middleware(Errors, platform.metrics)
    guarded = Guard(Lane(routed, api.predictions), limits.key, limits.rate, limits.in_flight, catalogue.names)
    return Gateway(Watch(Errors(guarded, platform.metrics), platform.metrics, catalogue.names), guarded)


class Api:
    """The handlers; each is one endpoint."""

    def __init__(self, platform: Platform, catalogue: Catalogue, body_limit: int) -> None:
        self.platform, self.catalogue, self.body_limit = platform, catalogue, body_limit
        self.item_model = cache(lambda system: items.model_of(catalogue.find(system)))

    def routed(self) -> FastAPI:
        """The handlers at their paths."""
        app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
        app.add_exception_handler(HTTPException, refuse)
        app.router.routes.extend(
            [
                Route("/v1/systems/{system}/predictions", self.predictions, methods=["POST"]),
                Route("/v1/systems/{system}/outcomes", self.outcomes, methods=["POST"]),
                Route("/v1/systems/{system}/reviews", self.reviews, methods=["GET"]),
                Route("/v1/systems/{system}/items", self.items, methods=["POST"]),
                Route("/metrics", self.metrics),
                Route("/openapi.json", self.openapi),
                *docs.routes(TITLE),
            ]
        )
        app.add_api_route("/v1/systems", self.systems, methods=["GET"], tags=["systems"])
        app.add_api_route("/v1/systems/{system}", self.system, methods=["GET"], tags=["systems"])
        app.add_api_route("/healthz", self.healthz, methods=["GET"], tags=["health"])
        app.add_api_route("/readyz", self.readyz, methods=["GET"], tags=["health"])
        self.typed = app
        return app

    async def predictions(self, request: Request) -> Response:
        """Answer a request for a prediction, within its system's deadline from the end of its body on."""
        system = self.catalogue.find(request.path_params["system"])
        content = await body.read(request.scope, request.receive, self.body_limit)
        ask = Ask(
            system=system,
            request=body.parse(content, system.task.request),
            body=content,
            deadline=Deadline.of(system),
            key=_idempotency_key(request),
        )
        return Response(await predict(self.platform, ask), media_type=JSON)

    async def outcomes(self, request: Request) -> Response:
        """Take in what became of a prediction; 202 once it is in the log."""
        system = self.catalogue.find(request.path_params["system"])
        content = await body.read(request.scope, request.receive, self.body_limit)
        outcome = body.parse(content, Outcome)
        await accept(self.platform, system, outcome)
        return Response(orjson.dumps({"prediction_id": outcome.prediction_id}), 202, media_type=JSON)

    async def items(self, request: Request) -> Response:
        """Take in an item of the system's catalogue; 202 once it is in the log."""
        system = self.catalogue.find(request.path_params["system"])
        model = self.item_model(system.name)
        content = await body.read(request.scope, request.receive, self.body_limit)
        item_id = await items.publish(self.platform, system, body.parse(content, model))
        return Response(orjson.dumps({"item_id": item_id}), 202, media_type=JSON)

    async def reviews(self, request: Request) -> Response:
        """The predictions that wait for a person's label, the newest first."""
        system = self.catalogue.find(request.path_params["system"])
        most = reviews.limit(request.query_params.get("limit"))
        return Response(await reviews.waiting(self.platform, system, most), media_type=JSON)

    async def systems(self) -> SystemList:
        """All systems, and which of them are broken."""
        return self.catalogue.summary()

    async def system(self, system: str) -> SystemDescription:
        """A system's requirements, its schemas and its features."""
        return describe(self.catalogue.find(system))

    async def healthz(self) -> dict[str, str]:
        """Whether this process is alive."""
        return {"status": "ok"}

    async def readyz(self, response: Response) -> Readiness:
        """Whether features, serving and log answer; 503 if not."""
        first = next(iter(self.catalogue.ready.values()), None)
        state = await readiness(self.platform, first)
        response.status_code = 200 if state.ready else 503
        return state

    async def metrics(self, request: Request) -> Response:
        """Prometheus' metrics."""
        return Response(self.platform.metrics.exposition(), headers={"Content-Type": METRICS})

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document."""
        return Response(self._document, media_type=JSON)

    @cached_property
    def _document(self) -> bytes:
        return orjson.dumps(document(self.typed.openapi(), self.catalogue))


async def refuse(request: Request, error: Exception) -> Response:
    """Where no route leads: the outermost layer gives the answer, as for every other error."""
    allowed = dict(getattr(error, "headers", None) or {}).get("Allow", "")
    path = request.scope["path"][:100]  # not request.url: a strange Host header makes it raise
    if getattr(error, "status_code", 404) == 405:
        text = f"{request.method} is not what {path} takes; it takes {allowed}."
        raise Refusal(405, "method_not_allowed", text).with_headers(Allow=allowed)
    raise Refusal(404, "not_found", f"There is nothing at {path}; /docs shows what there is.")


def _idempotency_key(request: Request) -> str | None:
    key: Any = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise InvalidInput(
            f"The Idempotency-Key has {len(key)} characters; it takes 1 to {LONGEST_KEY} printable ASCII ones.",
            "Idempotency-Key",
        )
    return str(key)
