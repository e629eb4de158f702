"""The border of serving: BentoML itself bounds no body, and reads pickles and forms where it may. Here it may not.

The gateway's calls go straight from here to `services/serving/app.py`, past BentoML's other middlewares.
"""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.serving.app import application

BODY_BYTES = 1_048_576  # ten thousand rows of 26 features; they hold the event loop for some 12 ms
MOUNT = "/v1"
OF_THE_GATEWAY = (f"{MOUNT}/score/", f"{MOUNT}/retrieve/")
TAKEN = ("application/json", "application/octet-stream")


class Border:
    """ASGI middleware: a body that is too large, of unknown length or of another type is refused before it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD") and (fault := _fault(scope)):
            code, sentence = fault
            await JSONResponse({"error": sentence}, status_code=code, headers={"connection": "close"})(
                scope, receive, send
            )
            return
        if scope["type"] == "http" and scope["path"].startswith(OF_THE_GATEWAY):
            await application({**scope, "root_path": scope.get("root_path", "") + MOUNT}, receive, send)
            return
        await self.app(scope, receive, send)


def _fault(scope: Scope) -> tuple[int, str] | None:
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
    if kind not in TAKEN:
        return 415, f"Serving takes {' or '.join(TAKEN)}, not {kind!r}."
    length = headers.get(b"content-length", b"").decode("latin-1")
    if not length.isdigit():
        return 411, "Serving takes only bodies whose Content-Length is given."
    if int(length) > BODY_BYTES:
        return 413, f"Serving takes bodies of at most {BODY_BYTES} bytes, not {length}."
    return None
