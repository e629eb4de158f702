"""Whether the gateway could answer with a model now: each part behind it is asked the way a request asks it."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from pydantic import BaseModel, Field

from contracts.errors import NoChampion, Unavailable
from contracts.system import AT, Columns, System
from services.gateway.stages import Platform

PATIENCE = 1.0  # seconds for each part
PROBE_KEY = " readyz"  # nothing is ever kept under it: no client's key begins with a blank


class Readiness(BaseModel):
    """Which parts answer, and what is the matter with the others."""

    ready: bool
    parts: dict[str, str] = Field(description="`ok`, or what is the matter")


async def readiness(platform: Platform, system: System | None) -> Readiness:
    """Ask features, serving and log at once, by the example of one system."""
    if system is None:
        return Readiness(ready=False, parts={"systems": "No system in systems/ can be loaded."})
    now = platform.clock.now()
    rows = _example_rows(system, now)
    width = len(system.features.names)
    features, serving, log = await asyncio.gather(
        _ask(platform.reader.online(system, rows, now)),
        _ask(platform.scorer.score(system.name, np.zeros((1, width), dtype=np.float32))),
        _ask(platform.log.recall(system.name, PROBE_KEY)),
    )
    parts = {"features": features, "serving": serving, "log": log}
    return Readiness(ready=all(said == "ok" for said in parts.values()), parts=parts)


def _example_rows(system: System, now: datetime) -> Columns:
    """The example's rows; where they would be stage one's, a row of somebody unknown."""
    if system.serving.rows is None:
        kinds = {name: kind for name, kind in system.features.source.columns.items() if name != system.task.target}
        rows: Columns = {n: np.array(["-"], dtype=object) if k == "string" else np.zeros(1) for n, k in kinds.items()}
    else:
        example = orjson.dumps(dict(system.task.example))
        rows = system.serving.rows(system.task.request.model_validate_json(example))
    return {**rows, AT: np.full(len(next(iter(rows.values()))), now.timestamp())}


async def _ask(question: Awaitable[Any]) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            await question
    except NoChampion:  # it answers, and before the first training that is all it can do
        return "ok"
    except Unavailable as error:
        return str(error)
    except TimeoutError:
        return f"did not answer within {PATIENCE:g} s"
    return "ok"
