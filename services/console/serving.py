"""Serving as the console asks it: which version answers for each system, since when, and what went wrong last."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import httpx

from contracts.errors import FlywheelError, Unavailable
from contracts.records import FALLBACK_VERSION
from services.console.quantities import share, span

SECONDS = 2.0


@dataclass(frozen=True)
class Champion:
    """The version that answers for a system, and what serving has to say about it."""

    version: str | None
    error: str = ""
    since: datetime | None = None


class Serving:
    """A client of serving at `url`; use it as a context manager."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=SECONDS, transport=transport, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def champions(self) -> Mapping[str, Champion]:
        """By system; `Unavailable` when serving does not say."""
        try:
            answer = await self._client.get("/v1/models")
            answer.raise_for_status()
            return {name: _champion(each) for name, each in answer.json().items()}
        except httpx.HTTPError as error:
            raise Unavailable(f"Serving at {self.url} does not answer ({type(error).__name__}).") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FlywheelError(f"{self.url}/v1/models lists no models; is it serving?") from error


def _champion(found: Mapping[str, Any]) -> Champion:
    since = found.get("since")
    return Champion(found["model_version"], found["last_error"] or "", since and datetime.fromisoformat(since))


def serves(champion: Champion, now: datetime, shares: Mapping[str, float]) -> str:
    """The version that serves, for how long, and which answered how much: for a moment after a swap two do."""
    if champion.version is None:
        return "no model yet"
    since = f" for {span(now - champion.since)}" if champion.since else ""
    told = [f"{share(part)} of answers by {_named(name)}" for name, part in shares.items()]
    return ", ".join([f"version {champion.version}{since}", *told])


def _named(version: str) -> str:
    return "the fallback" if version == FALLBACK_VERSION else f"version {version}"
