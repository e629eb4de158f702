"""Serving as the console asks it: which version answers for each system. Nothing depends on its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import httpx

SECONDS = 2.0


@dataclass(frozen=True)
class Champion:
    """The version that answers for a system, and what serving has to say about it."""

    version: str | None
    error: str


class Serving:
    """A client of serving at `url`; use it as a context manager."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=SECONDS, transport=transport, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def champions(self) -> Mapping[str, Champion] | None:
        """By system; None when serving does not say: a page without versions is better than no page."""
        try:
            answer = await self._client.get("/v1/models")
            found = answer.raise_for_status().json()
            return {name: Champion(each["model_version"], each["last_error"] or "") for name, each in found.items()}
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
            return None
