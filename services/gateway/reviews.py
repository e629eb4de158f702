"""The predictions of a system that wait for a person to say what their label is, as the gateway lists them.

A person's answer comes in as an outcome whose source is `review`: that takes the case off the list.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from contracts.errors import InvalidInput
from contracts.records import ReviewCase
from contracts.system import System
from services.gateway.stages import Deadline, Platform

USUAL, MOST = 50, 200  # cases in one answer


async def waiting(platform: Platform, system: System, most: int) -> bytes:
    """The newest cases, as JSON; `Unavailable` when the log does not answer."""
    cases = await platform.logging.call(lambda: platform.log.reviews(system.name, most), system, Deadline.of(system))
    return orjson.dumps({"cases": [_told(case) for case in cases]})


def limit(given: str | None) -> int:
    """How many cases are wanted; InvalidInput names what may be."""
    if given is None:
        return USUAL
    if not (given.isascii() and given.isdecimal() and len(given) <= 4 and 1 <= int(given) <= MOST):
        raise InvalidInput(f"limit cannot be {given[:20]!r}; it takes 1 to {MOST}.", "limit")
    return int(given)


def _told(case: ReviewCase) -> Mapping[str, Any]:
    return {
        "prediction_id": case.prediction_id,
        "at": case.at.isoformat(),
        "model_version": case.model_version,
        "request": case.request,
        "result": case.result,
    }
