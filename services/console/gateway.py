"""The gateway as the console asks it: systems, the cases that wait for a person, and that person's labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import httpx

from contracts.errors import FlywheelError, InvalidInput, NotFound, SetupError, Unavailable
from services.console.exposition import Exposition, scrape

SECONDS = 5.0  # for an answer
ERRORS: Mapping[int, type[FlywheelError]] = {
    401: SetupError,
    404: NotFound,
    413: InvalidInput,
    422: InvalidInput,
    429: Unavailable,
    503: Unavailable,
}


@dataclass(frozen=True)
class SystemLine:
    """A system as the gateway lists it: whether it can be asked, and what to mend if not."""

    name: str
    ready: bool
    goal: str
    message: str


@dataclass(frozen=True)
class Question:
    """What a person is asked about a system's cases: whether `target` holds, and of which `item` where it has items."""

    target: str
    item: str | None


@dataclass(frozen=True)
class Case:
    """A prediction that waits for a person's label."""

    prediction_id: str
    at: datetime
    model_version: str
    request: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """A person's answer about one prediction."""

    prediction_id: str
    label: float
    at: datetime
    item: str | None = None


class Gateway:
    """A client of the gateway at `url`; use it as a context manager. Every call takes at most `SECONDS` and raises a
    FlywheelError in one sentence: `Unavailable` when there is no answer."""

    def __init__(self, url: str, key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=SECONDS,
            transport=transport,
            trust_env=False,  # no proxy of the machine's has any business between two parts of the stack
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def metrics(self) -> Exposition:
        """What it tells Prometheus."""
        return await scrape(self._client, "The gateway")

    async def systems(self) -> list[SystemLine]:
        """All systems, by name."""
        found = await self._ask("GET", "/v1/systems")
        return [
            SystemLine(each["name"], each["status"] == "ready", each["goal"] or "", each["message"] or "")
            for each in found["systems"]
        ]

    async def question(self, system: str) -> Question:
        """What a label of a system means; `NotFound` when there is no such system."""
        found = await self._ask("GET", f"/v1/systems/{quote(system, safe='')}")
        return Question(found["target"], found["item"])

    async def quality_margin(self, system: str) -> float:
        """By how much a loss may lie above the hold-out's before monitoring sees harm."""
        found = await self._ask("GET", f"/v1/systems/{quote(system, safe='')}")
        return float(found["quality_margin"])

    async def cases(self, system: str, most: int) -> list[Case]:
        """The newest cases that wait for a person."""
        found = await self._ask("GET", f"/v1/systems/{quote(system, safe='')}/reviews?limit={most}")
        return [
            Case(
                each["prediction_id"],
                datetime.fromisoformat(each["at"]),
                each["model_version"],
                each["request"],
                each["result"],
            )
            for each in found["cases"]
        ]

    async def judge(self, system: str, verdict: Verdict) -> None:
        """Report a person's label, which takes the case off the list."""
        outcome = {
            "prediction_id": verdict.prediction_id,
            "label": verdict.label,
            "occurred_at": verdict.at.isoformat(),
            "source": "review",
        }
        item = {} if verdict.item is None else {"item_id": verdict.item}
        await self._ask("POST", f"/v1/systems/{quote(system, safe='')}/outcomes", {**outcome, **item})

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The gateway at {self.url} does not answer ({type(error).__name__}); `flywheel status` shows why."
            ) from error
        try:
            content = answer.json()
        except ValueError as error:
            raise FlywheelError(f"{self.url} answered {answer.status_code} without JSON; is it the gateway?") from error
        if answer.is_success:
            return content
        raise ERRORS.get(answer.status_code, FlywheelError)(_message(answer.status_code, content))


def _message(status: int, content: Any) -> str:
    try:
        return str(content["error"]["message"])
    except (KeyError, TypeError):
        return f"The gateway answered {status}."
