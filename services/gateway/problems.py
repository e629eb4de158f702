"""Every refusal a client can meet: an HTTP status and one sentence. Only the gateway knows HTTP's codes."""

import logging
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from contracts.errors import BrokenSystem, Conflict, InvalidInput, NotFound, Unavailable, UnknownSystem

LOGGER = logging.getLogger("flywheel.gateway")
RETRY: Mapping[str, str] = {"Retry-After": "1"}  # seconds; as long as a hanging part is left alone
LONGEST = 100  # characters of a client's own value that an error repeats


class Refusal(Exception):  # a refusal is an answer that was decided on, not an error of the gateway
    """An answer that is not a 200: its status, a code for programs, a sentence for people, the field at fault."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers: Mapping[str, str] = RETRY if status == 503 else {}

    def with_headers(self, **headers: str) -> "Refusal":
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self

    def content(self) -> bytes:
        """The answer's body."""
        return orjson.dumps({"error": {"code": self.code, "message": self.message, "field": self.field}})

    def response(self) -> Response:
        return Response(self.content(), self.status, self.headers, "application/json")


# Looked up along the error's classes, the nearest first.
KINDS: Mapping[type[Exception], tuple[int, str]] = {
    InvalidInput: (422, "invalid_input"),
    UnknownSystem: (404, "unknown_system"),
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    BrokenSystem: (503, "broken_system"),
    Unavailable: (503, "unavailable"),
}


def refusal(error: Exception) -> Refusal | None:
    """What a client is told of an expected error; None for an unexpected one."""
    if isinstance(error, Refusal):
        return error
    for kind in type(error).__mro__:
        if kind in KINDS:
            return Refusal(*KINDS[kind], str(error), getattr(error, "field", None))
    return None


def crash(error: Exception) -> Refusal:
    """What a client is told of an unexpected error: an id by which its trace is found in the log."""
    crash_id = uuid.uuid4().hex
    LOGGER.error("unexpected error %s", crash_id, exc_info=error)
    return Refusal(500, "internal", f"The gateway failed; its log has the reason under {crash_id}.")


def invalid(error: ValidationError, what: str = "The body") -> Refusal:
    """The first of pydantic's errors as one sentence that names the field and the value."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return not_json(first["msg"])
    field = shown(".".join(map(str, first["loc"]))) or None
    return Refusal(422, "invalid_input", f"{_subject(field, first, what)}: {_fault(first)}.", field)


def not_json(why: str) -> Refusal:
    return Refusal(400, "not_json", f"The body is not JSON that can be taken: {why}.")


def shown(value: object) -> str:
    """A client's own value as an error may repeat it: printable, and never long."""
    text = value if isinstance(value, str) else _printed(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _printed(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # Python prints no integer of more than 4,300 digits
        return f"a {type(value).__name__} too large to print"


def _subject(field: str | None, error: Mapping[str, Any], what: str) -> str:
    if error["type"] == "missing":
        return f"{field} is missing"
    if field is None and isinstance(error["input"], dict):
        return f"{what} cannot be taken"  # a model's own check, which names what it found
    return f"{field or what} cannot be {shown(_printed(error['input']))}"


def _fault(error: Mapping[str, Any]) -> str:
    """Pydantic's own words, from the middle of a sentence on."""
    message = str(error.get("ctx", {}).get("error", error["msg"]))
    return (message[:1].lower() + message[1:]).rstrip(".")
