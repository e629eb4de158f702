"""The shortest way to the endpoint that is asked all the time: a prediction passes none of FastAPI's layers.

Its route among the others stays, for what asks by another method and for OpenAPI; both lead to the same handler.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.asked import prediction_of

Handler = Callable[[Request], Awaitable[Response]]


class Lane:
    """ASGI layer before the router: `POST /v1/systems/{system}/predictions` goes to `handler`, the rest to `app`."""

    def __init__(self, app: ASGIApp, handler: Handler) -> None:
        self.app, self.handler = app, handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (system := prediction_of(scope["method"], scope["path"])):
            await self.app(scope, receive, send)
            return
        scope["path_params"], scope["endpoint"] = {"system": system}, self.handler  # as the router leaves them
        response = await self.handler(Request(scope, receive, send))
        await response(scope, receive, send)
