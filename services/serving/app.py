"""Serving's HTTP for the other parts of the loop: raw floats in, raw floats out, and what serves.

JSON and typed validation cost more than the model does; the gateway has validated already. People use the typed API.
"""

import re
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.errors import FlywheelError, InvalidInput, NotFound
from contracts.system import Matrix

RAW = "application/octet-stream"
COLUMNS, VERSION = "x-columns", "x-model-version"
DIGITS = re.compile("[1-9][0-9]{0,5}")


async def score(request: Request) -> Response:
    """Body: little-endian float32, rows × `X-Columns`. Answer: little-endian float64, one a row; `X-Model-Version`.

    The model runs on the event loop: microseconds a row, and a thread's hand-over would cost more than most requests.
    """
    features = matrix(await request.body(), request.headers.get(COLUMNS, ""))
    scored = request.app.state.champions.score(request.path_params["system"], features)
    return Response(scored.scores.tobytes(), media_type=RAW, headers={VERSION: scored.model_version})


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
        "last_error": standing.error,
        "last_poll": standing.polled and standing.polled.isoformat(),
    }


async def _refuse(request: Request, error: Exception) -> Response:
    code = status(error) if isinstance(error, FlywheelError) else 500
    return JSONResponse({"error": str(error)}, status_code=code)


async def _refuse_http(request: Request, error: Exception) -> Response:
    code, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, str(error))
    return JSONResponse({"error": f"{detail}: {request.method} {request.url.path}."}, status_code=code)


application = Starlette(
    routes=[Route("/score/{system}", score, methods=["POST"]), Route("/models", models)],
    exception_handlers={FlywheelError: _refuse, HTTPException: _refuse_http},
)
