"""Serving's HTTP for the other parts of the loop: raw floats in, raw floats out; stage one; and what serves.

JSON and typed validation cost more than the model does; the gateway has validated already. People use the typed API.
"""

import math
import re
from functools import partial
from typing import Any

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.errors import FlywheelError, InvalidInput, NotFound, Unavailable
from contracts.system import Matrix
from infra.candidates_codec import encode
from services.serving.lanes import Lanes

RAW = "application/octet-stream"
COLUMNS, VERSION, EXPLAIN = "x-columns", "x-model-version", "x-explain"
WANTED = "x-version"  # the version that shall score, which stage one named just before
LANES = Lanes()
DIGITS = re.compile("[1-9][0-9]{0,5}")


async def score(request: Request) -> Response:
    """Body: little-endian float32, rows × `X-Columns`. Answer: little-endian float64, one a row; `X-Model-Version`.
    With `X-Version` that version scores, or none. With `X-Explain: 1` the scores are followed by each feature's
    contribution, little-endian float32, rows × columns.

    A quick model runs on the event loop: microseconds a row, and a thread's hand-over costs more than most requests.
    """
    features = matrix(await request.body(), request.headers.get(COLUMNS, ""))
    explain = request.headers.get(EXPLAIN) == "1"
    champions, system, version = request.app.state.champions, request.path_params["system"], request.headers.get(WANTED)
    work = partial(champions.score, system, features, version, explain)
    scored = work() if champions.is_quick(system, len(features), explain) else await LANES.run(system, work)
    explained = b"" if scored.contributions is None else scored.contributions.astype("<f4").tobytes()
    return Response(scored.scores.tobytes() + explained, media_type=RAW, headers={VERSION: scored.model_version})


async def retrieve(request: Request) -> Response:
    """Body: JSON `{"request": {…}, "at": seconds since the epoch}`. Answer: the candidates as infra/candidates_codec.py
    writes them; `X-Model-Version`.

    In a thread: a search takes milliseconds, for which no other request shall wait.
    """
    body = await request.body()
    system = request.path_params["system"]
    return await LANES.run(system, partial(_retrieved, request.app.state.champions, system, body))


def _retrieved(champions: Any, system: str, body: bytes) -> Response:
    found = champions.retrieve(system, *_asked(body))
    try:
        content = encode(found.rows)
    except (ValueError, TypeError) as error:
        raise Unavailable(
            f"Stage one of {system} version {found.model_version} gave no candidates: {error}."
        ) from error
    return Response(content, media_type=RAW, headers={VERSION: found.model_version})


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
            f"The header X-Columns is {columns[:20]!r}; it should be the number of features a row.", COLUMNS
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


async def _refuse(request: Request, error: Exception) -> Response:
    code = status(error) if isinstance(error, FlywheelError) else 500
    return JSONResponse({"error": str(error)}, status_code=code)


async def _refuse_http(request: Request, error: Exception) -> Response:
    code, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, str(error))
    return JSONResponse({"error": f"{detail}: {request.method} {request.url.path}."}, status_code=code)


application = Starlette(
    routes=[
        Route("/score/{system}", score, methods=["POST"]),
        Route("/retrieve/{system}", retrieve, methods=["POST"]),
        Route("/models", models),
    ],
    exception_handlers={FlywheelError: _refuse, HTTPException: _refuse_http},
)
