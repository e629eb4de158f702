"""The gateway as a client sees it: a few calls over HTTP, with the errors it answers turned into the platform's own."""

import json
from collections.abc import Mapping
from typing import Any, Self

import aiohttp

from contracts.errors import Conflict, FlywheelError, InvalidInput, NotFound, SetupError, Unavailable
from contracts.world import SimulatedOutcome

ERRORS: dict[int, type[FlywheelError]] = {
    401: SetupError,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    422: InvalidInput,
    429: Unavailable,
    503: Unavailable,
}


class GatewayClient:
    """An asynchronous client of one gateway; use it as a context manager.

    On aiohttp, which took a quarter of the processor time of httpx a call: simulated clients share the machine with
    what they measure.
    """

    def __init__(self, url: str, key: str, timeout: float = 5.0, connections: int = 64) -> None:
        self._url, self._connections = url, connections
        self._headers = {"Authorization": f"Bearer {key}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(
            self._url, headers=self._headers, timeout=self._timeout, connector=connector
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def predict(
        self, system: str, request: Mapping[str, Any], idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """The gateway's answer: prediction_id, model_version, variant, result, degraded."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return await self._post(f"/v1/systems/{system}/predictions", request, headers)

    async def outcome(self, system: str, prediction_id: str, outcome: SimulatedOutcome) -> None:
        """Report what became of a prediction; sent twice it counts once."""
        body = {
            "prediction_id": prediction_id,
            "label": outcome.label,
            "occurred_at": outcome.occurred_at.isoformat(),
            "source": outcome.source,
        }
        item = {} if outcome.item is None else {"item_id": outcome.item}
        await self._post(f"/v1/systems/{system}/outcomes", {**body, **item}, {})

    async def publish(self, system: str, item: Mapping[str, Any]) -> None:
        """Publish an item of the system's catalogue: its id, `published_at` and its columns; again, it is replaced."""
        await self._post(f"/v1/systems/{system}/items", item, {})

    async def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("GatewayClient is used within `async with`.")
        try:
            async with self._session.post(path, json=body, headers=headers) as response:
                status, text = response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"The gateway at {self._url} does not answer: {type(error).__name__}.") from error
        if status < 300:
            return _answer(text)
        raise ERRORS.get(status, FlywheelError)(_message(status, text))


def _answer(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise FlywheelError(f"The gateway answered what is no JSON object: {text[:200]!r}.") from error


def _message(status: int, text: str) -> str:
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The gateway answered {status}: {text[:200]}"
