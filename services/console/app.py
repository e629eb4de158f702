"""The console's HTTP: its routes and what stands before them.

Everything is a page made here, a form posted to it, or JSON for the script that keeps a page up to date; each page is
whole without scripts, and the policy forbids all but the console's own. A page that cannot be made says why in one
sentence.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import FlywheelError, InvalidInput, NotFound, Unavailable
from contracts.ports import Clock
from infra.settings import Settings
from services.console import plotly
from services.console.gateway import Gateway
from services.console.overview import Overview
from services.console.pages import Pages, local
from services.console.policy import HEADERS
from services.console.serving import Serving
from services.console.session import COOKIE, LASTS, Session, Sessions
from services.console.sources import Sources
from services.console.stores import Stores
from services.console.system_page import ACTS, SystemPage

LARGEST = 10_000  # bytes of a form
Answer = Callable[[Request], Awaitable[Mapping[str, Any]]]
Handler = Callable[[Request, Session], Awaitable[Response]]


class Refused(FlywheelError):
    """A form that this session's pages did not make."""


STATUS: dict[type[FlywheelError], int] = {Refused: 403, NotFound: 404, InvalidInput: 422, Unavailable: 503}


@dataclass(frozen=True)
class Parts:
    """What the console needs of the platform."""

    settings: Settings
    gateway: Gateway
    serving: Serving
    clock: Clock
    stores: Stores | None = None  # None: those that the settings name


def build(parts: Parts, sessions: Sessions) -> Starlette:
    """The whole console as one ASGI application."""
    console = Console(parts, sessions)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with parts.gateway, parts.serving, console.sources:
            yield

    return Starlette(
        routes=console.routes(),
        lifespan=lifespan,
        middleware=[Middleware(Headers)],
        exception_handlers={FlywheelError: console.failed, HTTPException: console.lost},
    )


class Console:
    """The handlers; each is one page or one form."""

    def __init__(self, parts: Parts, sessions: Sessions) -> None:
        self.parts, self.sessions = parts, sessions
        self.pages = Pages(parts.gateway)
        stores = parts.stores or Stores.of(parts.settings)
        self.sources = Sources(parts.settings, parts.gateway, parts.serving, stores)
        self.front = Overview(parts.settings, self.sources, parts.clock)
        self.system = SystemPage(parts.settings, self.sources, parts.clock)

    def routes(self) -> list[Route | Mount]:
        """The handlers at their paths."""
        return [
            Route("/", self.inside(self.overview)),
            Route("/loop.json", self.asked(self.loop)),
            Route("/systems/{system}", self.inside(self.one)),
            Route("/systems/{system}/history.json", self.asked(self.history)),
            *(route for act in ACTS for route in self.acts(act)),
            Route("/systems/{system}/reviews", self.inside(self.pages.reviews)),
            Route("/systems/{system}/reviews", self.inside(self.judge), methods=["POST"]),
            Route("/login", self.login),
            Route("/login", self.enter, methods=["POST"]),
            Route("/enter", self.follow),
            Route("/logout", self.inside(self.leave), methods=["POST"]),
            Route("/healthz", self.healthz),
            Route(plotly.ADDRESS, plotly.script),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ]

    def inside(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """A handler that only a session reaches; others are asked for the key first."""

        async def guarded(request: Request) -> Response:
            session = self.sessions.find(request.cookies.get(COOKIE))
            if session is None:
                return RedirectResponse(f"/login?to={local(request.url.path)}", 303)
            return await handler(request, session)

        return guarded

    def asked(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """JSON that only a session gets; what cannot be answered is said in JSON, too."""

        async def guarded(request: Request) -> Response:
            if self._session(request) is None:
                return JSONResponse({"error": "Your session has ended; load the page again."}, 401)
            try:
                return JSONResponse(await answer(request))
            except FlywheelError as error:
                return JSONResponse({"error": str(error)}, status(error))

        return guarded

    async def overview(self, request: Request, session: Session) -> Response:
        """The loop, of all systems or of the one asked for."""
        return self.pages.overview(session, await self.front.page(_system(request), self._host(request)))

    async def loop(self, request: Request) -> Mapping[str, Any]:
        """The loop's figures."""
        return await self.front.figures(_system(request))

    async def one(self, request: Request, session: Session) -> Response:
        """A system's own page."""
        system = request.path_params["system"]
        return self.pages.system(session, await self.system.page(system, self._host(request), request.query_params))

    async def history(self, request: Request) -> Mapping[str, Any]:
        """The same for its script."""
        return await self.system.figures(request.path_params["system"], self._host(request))

    def acts(self, act: str) -> tuple[Route, Route]:
        """An act's two steps: it is asked about, and then done."""
        path = f"/systems/{{system}}/{act}"

        async def ask(request: Request, session: Session) -> Response:
            return self.pages.confirm(session, await self.system.ask(request.path_params["system"], act))

        async def do(request: Request, session: Session) -> Response:
            await self.form(request, session)
            system = request.path_params["system"]
            what = await self.system.do(system, act)
            return RedirectResponse(f"/systems/{system}?done={act}&what={what}", 303)

        return Route(path, self.inside(ask)), Route(path, self.inside(do), methods=["POST"])

    async def judge(self, request: Request, session: Session) -> Response:
        """A person's label: on to the gateway, and back to the list."""
        form = await self.form(request, session)
        verdict = self.pages.verdict(form, self.parts.clock.now())
        system = request.path_params["system"]
        await self.parts.gateway.judge(system, verdict)
        return RedirectResponse(f"{request.url.path}?done={verdict.prediction_id}&label={verdict.label:g}", 303)

    async def login(self, request: Request) -> Response:
        """The page that asks for the key."""
        return self.pages.login(local(request.query_params.get("to", "/")))

    async def enter(self, request: Request) -> Response:
        """The key, as the page sends it."""
        form = await fields(request)
        to = local(form.get("to", "/"))
        if not self.sessions.knows(form.get("key", "")):
            return self.pages.login(to, "That is not this stack's key; `flywheel key` prints it.")
        return self.begun(to)

    async def follow(self, request: Request) -> Response:
        """The link that `flywheel console` prints."""
        if not self.sessions.takes(request.query_params.get("link", "")):
            return self.pages.login(
                "/", "This link was used already, or is too old; `flywheel console` prints another."
            )
        return self.begun("/")

    def begun(self, to: str) -> Response:
        """A new session, and on to a page of it."""
        answer = RedirectResponse(to, 303)
        answer.set_cookie(COOKIE, self.sessions.begin(), max_age=LASTS, httponly=True, samesite="strict")
        return answer

    async def leave(self, request: Request, session: Session) -> Response:
        """The end of a session in this browser."""
        await self.form(request, session)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    async def healthz(self, request: Request) -> Response:
        """Whether this process is alive."""
        return PlainTextResponse("ok\n")

    async def form(self, request: Request, session: Session) -> dict[str, str]:
        """The fields of a form that a page of this session made; Refused for any other."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise Refused(f"This form came from {origin[:100]}, not from the console.")
        form = await fields(request)
        if not self.sessions.fits(session, form.get("token", "")):
            raise Refused("This form is not of your session; load the page again.")
        return form

    async def failed(self, request: Request, error: Exception) -> Response:
        """A page of one sentence."""
        return self.pages.problem(str(error), status(error), self._session(request))

    async def lost(self, request: Request, error: Exception) -> Response:
        """Where no route leads, or not this way."""
        code = error.status_code if isinstance(error, HTTPException) else 500
        said = "There is no such page." if code == 404 else f"This page does not take {request.method}."
        return self.pages.problem(said, code, self._session(request))

    def _host(self, request: Request) -> str:
        return request.url.hostname or self.parts.settings.host

    def _session(self, request: Request) -> Session | None:
        return self.sessions.find(request.cookies.get(COOKIE))


class Headers:
    """ASGI layer: what every answer tells the browser not to do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(each for each in own if each[0] not in said)]
            await send(message)

        await self.app(scope, receive, with_headers)


def status(error: Exception) -> int:
    """The HTTP status for an error."""
    return next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)


def _system(request: Request) -> str | None:
    return request.query_params.get("system") or None


async def fields(request: Request) -> dict[str, str]:
    """The fields of a form as browsers send it; InvalidInput where it is none, or too large."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > LARGEST:
            raise InvalidInput(f"A form of the console has at most {LARGEST:,} bytes.")
    try:
        return dict(parse_qsl(content.decode("utf-8"), keep_blank_values=True, max_num_fields=20))
    except ValueError as error:
        raise InvalidInput("This is no form of the console.") from error
