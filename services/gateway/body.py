"""A request's body: read within bounds, taken only as strict JSON, turned into its model."""

import asyncio
import json
from typing import NoReturn, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from services.gateway import problems
from services.gateway.problems import Refusal

SLOWEST = 5.0  # seconds a client may take to send its body; the deadline runs from its end on
DIGITS = bytes.maketrans(b"123456789", b"000000000")  # makes every digit a 0
LONG_NUMBER = b"0" * 19  # no integer beyond 64 bits, with a sign, has fewer digits
LARGEST = 2**63 - 1

M = TypeVar("M", bound=BaseModel)


async def read(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body, of at most `limit` bytes; one that says it is longer is refused before any of it is read."""
    headers = Headers(scope=scope)
    _check_type(headers.get("content-type", ""))
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(SLOWEST):
            return await _collected(receive, limit)
    except TimeoutError as error:
        raise Refusal(408, "body_too_slow", f"The body did not arrive within {SLOWEST:g} s.") from error


def parse(body: bytes, model: type[M]) -> M:
    """The body as `model`; a Refusal in one sentence when it is not JSON, or is not one."""
    _check_json(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error) from error


def _check_type(given: str) -> None:
    if given.partition(";")[0].strip().lower() != "application/json":
        said = f"is {problems.shown(given)!r}" if given else "is missing"
        raise Refusal(415, "unsupported_media_type", f"The Content-Type {said}; send application/json.", "Content-Type")


async def _collected(receive: Receive, limit: int) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "body_incomplete", "The client left before its body was complete.")
        piece: bytes = message.get("body", b"")
        body += piece
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return body


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "body_too_large", f"The body is larger than the {limit} bytes that are taken.")


def _check_json(body: bytes) -> None:
    """Pydantic takes NaN, Infinity and 1e999 for floats and integers of any length, none of which is meant: orjson
    refuses the former and nesting beyond 1,024; integers beyond 64 bits are looked for where there are long numbers."""
    try:
        orjson.loads(body)
        if LONG_NUMBER in body.translate(DIGITS):
            json.loads(body, parse_int=_bounded, parse_constant=_not_json)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise problems.not_json(str(error)) from error


def _bounded(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > LARGEST:
        number = problems.shown(digits)
        raise Refusal(422, "invalid_input", f"The number {number} is too large: an integer has at most 64 bits.")
    return int(digits)


def _not_json(constant: str) -> NoReturn:
    raise problems.not_json(f"{constant} is no number in JSON")
