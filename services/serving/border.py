"""The border of serving: BentoML itself bounds no body, and reads pickles and forms where it may. Here it may not.

It is the outermost layer, and answers the gateway's calls itself (services/serving/app.py): none of BentoML's
middlewares sees them.
"""

from collections.abc import Mapping

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.serving.app import Headers, retrieve, score

BODY_BYTES = 1_048_576  # ten thousand rows of 26 features; they hold the event loop for some 12 ms
OF_THE_GATEWAY: Mapping[str, ASGIApp] = {"/v1/score": score, "/v1/retrieve": retrieve}
TAKEN = (b"application/json", b"application/octet-stream")


class Border:
    """ASGI middleware: a body that is too large, of unknown length or of another type is refused before it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
        elif fault := _fault(dict(scope["headers"])):
            code, sentence = fault
            refusal = JSONResponse({"error": sentence}, status_code=code, headers={"connection": "close"})
            await refusal(scope, receive, send)
        else:
            await self._routed(scope)(scope, receive, send)

    def _routed(self, scope: Scope) -> ASGIApp:
        """Who answers: what is no call of the gateway's in every respect is BentoML's to refuse."""
        path, _, system = scope["path"].rpartition("/")
        answer = OF_THE_GATEWAY.get(path)
        if answer is None or not system or scope["method"] != "POST":
            return self.app
        scope["path_params"] = {"system": system}
        return answer


def _fault(headers: Headers) -> tuple[int, str] | None:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip()
    if kind not in TAKEN:
        taken = " or ".join(each.decode() for each in TAKEN)
        return 415, f"Serving takes {taken}, not {kind.decode('latin-1')!r}."
    length = headers.get(b"content-length", b"").decode("latin-1")
    if not length.isdigit():
        return 411, "Serving takes only bodies whose Content-Length is given."
    if int(length) > BODY_BYTES:
        return 413, f"Serving takes bodies of at most {BODY_BYTES} bytes, not {length}."
    return None
