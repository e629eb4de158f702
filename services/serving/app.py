"""Serving's HTTP for the other parts of the loop: raw floats in, raw floats out; stage one; and what serves.

JSON and typed validation cost more than the model does; the gateway has validated already. People use the typed API.
"""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from contracts.errors import FlywheelError, InvalidInput, NotFound, Unavailable
from contracts.system import Matrix
from infra.candidates_codec import encode
from services.serving.lanes import Lanes

RAW = b"application/octet-stream"
COLUMNS, VERSION, EXPLAIN = b"x-columns", b"x-model-version", b"x-explain"
WANTED = b"x-version"  # the version that shall score, which stage one named just before
LANES = Lanes()
DIGITS = re.compile("[1-9][0-9]{0,5}")

Headers = Mapping[bytes, bytes]
Answer = tuple[str, bytes]  # the version that gave it, and the body


class Raw:
    """An answer to the gateway as an ASGI application: the system is the path's, the bodies are bytes, and what lies
    between the server and `answer` costs less than the model does."""

    def __init__(self, answer: Callable[[Any, str, Headers, bytes], Awaitable[Answer]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (body := await _body(receive)) is None:  # nobody is left to be told anything
            return
        champions, system = application.state.champions, scope["path_params"]["system"]
        try:
            version, content = await self._answer(champions, system, dict(scope["headers"]), body)
        except FlywheelError as error:
            await _refusal(error)(scope, receive, send)
            return
        length = str(len(content)).encode()
        headers = [(b"content-type", RAW), (b"content-length", length), (VERSION, version.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _body(receive: Receive) -> bytes | None:
    """The whole of a request's body; None when the client went away before it ended."""
    pieces: list[bytes] = []
    while (message := await receive())["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return None


async def _score(champions: Any, system: str, headers: Headers, body: bytes) -> Answer:
    """Body: little-endian float32, rows × `X-Columns`. Answer: little-endian float64, one a row; `X-Model-Version`.
    With `X-Version` that version scores, or none. With `X-Explain: 1` the scores are followed by each feature's
    contribution, little-endian float32, rows × columns.

    A quick model runs on the event loop: microseconds a row, and a thread's hand-over costs more than most requests.
    """
    features = matrix(body, headers.get(COLUMNS, b"").decode("latin-1"))
    explain, wanted = headers.get(EXPLAIN) == b"1", headers.get(WANTED)
    version = None if wanted is None else wanted.decode("latin-1")
    if champions.is_quick(system, len(features), explain):
        scored = champions.score(system, features, version, explain)
    else:
        scored = await LANES.run(system, partial(champions.score, system, features, version, explain))
    explained = b"" if scored.contributions is None else scored.contributions.astype("<f4").tobytes()
    return scored.model_version, scored.scores.tobytes() + explained


async def _retrieve(champions: Any, system: str, headers: Headers, body: bytes) -> Answer:
    """Body: JSON `{"request": {…}, "at": seconds since the epoch}`. Answer: the candidates as infra/candidates_codec.py
    writes them; `X-Model-Version`.

    In a thread: a search takes milliseconds, for which no other request shall wait.
    """
    return await LANES.run(system, partial(_retrieved, champions, system, body))


def _retrieved(champions: Any, system: str, body: bytes) -> Answer:
    found = champions.retrieve(system, *_asked(body))
    try:
        return found.model_version, encode(found.rows)
    except (ValueError, TypeError) as error:
        raise Unavailable(
            f"Stage one of {system} version {found.model_version} gave no candidates: {error}."
        ) from error


def _asked(body: bytes) -> tuple[dict[str, Any], float]:
    """A client's request, and when it was made."""
    try:
        asked = orjson.loads(body)
        request, at = dict(asked["request"]), float(asked["at"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"The body is not {{request, at}} in JSON: {type(error).__name__}: {error}.", "body"
        ) from error
    if not math.isfinite(at):
        raise InvalidInput(f"at cannot be {at}; it should be seconds since the epoch.", "at")
    return request, at


async def models(request: Request) -> Response:
    """What serves each system, since when, who said so, and what went wrong last."""
    return JSONResponse({each.system: _described(each) for each in request.app.state.champions.standings()})


def matrix(body: bytes, columns: str) -> Matrix:
    """The rows in a raw body; `InvalidInput` when it does not divide into rows of that many float32."""
    if not DIGITS.fullmatch(columns):
        raise InvalidInput(
            f"The header X-Columns is {columns[:20]!r}; it should be the number of features a row.", COLUMNS.decode()
        )
    if len(body) % (4 * int(columns)):
        raise InvalidInput(f"A body of {len(body)} bytes does not divide into rows of {columns} float32.", "body")
    return np.frombuffer(body, dtype="<f4").reshape(-1, int(columns))


def status(error: FlywheelError) -> int:
    """The HTTP status for an error."""
    if isinstance(error, NotFound):
        return 404
    return 422 if isinstance(error, InvalidInput) else 503


def _described(standing: Any) -> dict[str, Any]:
    loaded = standing.loaded
    return {
        "model_version": loaded and loaded.version.version,
        "sha256": loaded and loaded.version.sha256,
        "feature_names": loaded and list(loaded.version.feature_names),
        "since": loaded and loaded.since.isoformat(),
        "source": standing.source,
        "stage_one": loaded and loaded.stage_one and _stage_one(loaded.stage_one),
        "last_error": standing.error,
        "last_poll": standing.polled and standing.polled.isoformat(),
    }


def _stage_one(stage_one: Any) -> dict[str, Any]:
    """How far a stage one has been told of what is published."""
    heard = stage_one.heard
    return {"items_told": len(stage_one.told), "heard": heard and heard.isoformat(), "last_error": stage_one.error}


def _refusal(error: FlywheelError) -> Response:
    return JSONResponse({"error": str(error)}, status_code=status(error))


async def _refuse_http(request: Request, error: Exception) -> Response:
    code, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, str(error))
    return JSONResponse({"error": f"{detail}: {request.method} {request.url.path}."}, status_code=code)


score, retrieve = Raw(_score), Raw(_retrieve)
application = Starlette(
    routes=[
        Route("/score/{system}", score, methods=["POST"]),
        Route("/retrieve/{system}", retrieve, methods=["POST"]),
        Route("/models", models),
    ],
    exception_handlers={HTTPException: _refuse_http},
)
