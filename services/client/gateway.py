"""The gateway as a client sees it: two calls over HTTP, with the errors it answers turned into the platform's own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import httpx

from contracts.errors import Conflict, FlywheelError, InvalidInput, NotFound, Unavailable

ERRORS: dict[int, type[FlywheelError]] = {
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    422: InvalidInput,
    429: Unavailable,
    503: Unavailable,
}


class GatewayClient:
    """An asynchronous client of one gateway; use it as a context manager."""

    def __init__(self, url: str, key: str, timeout: float = 5.0, connections: int = 64) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,  # a proxy set for the web must not see loopback traffic
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def predict(
        self, system: str, request: Mapping[str, Any], idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """The gateway's answer: prediction_id, model_version, variant, result, degraded."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return await self._post(f"/v1/systems/{system}/predictions", request, headers)

    async def outcome(
        self, system: str, prediction_id: str, item: str | None, label: float, occurred_at: datetime
    ) -> None:
        """Report what became of a prediction; sent twice it counts once."""
        body = {"prediction_id": prediction_id, "label": label, "occurred_at": occurred_at.isoformat()}
        await self._post(f"/v1/systems/{system}/outcomes", body if item is None else {**body, "item_id": item}, {})

    async def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        try:
            response = await self._http.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The gateway at {self._http.base_url} does not answer: {type(error).__name__}."
            ) from error
        if response.is_success:
            return dict(response.json())
        raise ERRORS.get(response.status_code, FlywheelError)(_message(response))


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The gateway answered {response.status_code}: {response.text[:200]}"
