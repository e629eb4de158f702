"""Pipelines started by name, over Prefect's REST API: the loop's stages reach each other by a name and an event.

HTTP and not Prefect's own client: importing that costs 1.7 s and 100 MB in every command and in monitoring, and six
calls of a documented interface are all that is needed.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import httpx

from contracts.errors import InvalidInput, NotFound, Unavailable
from contracts.records import RunState

SECONDS = 5.0  # of one request
POLL_SECONDS = 0.3
PICK_UP_SECONDS = 120.0  # a run still waiting after so long has no runner, or one that is very busy
LAST_LINES_SECONDS = 2.5  # Prefect ships logs in batches: the last ones come after the state
OVERLAP = timedelta(seconds=10)  # lines of a run's processes come in batches of their own, not in the order of time
LINES = 200  # the most that Prefect gives at once
WAITS = (0.3, 0.6, 1.2, 2.4)  # seconds before a busy server is asked again
BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
REFUSED = (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.BAD_REQUEST)

State = Literal["scheduled", "running", "completed", "failed", "cancelled"]
STATES: Mapping[str, State] = {
    "SCHEDULED": "scheduled",
    "PENDING": "scheduled",
    "RUNNING": "running",
    "PAUSED": "running",
    "CANCELLING": "running",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CRASHED": "failed",
    "CANCELLED": "cancelled",
}


class PrefectDispatcher:
    """Starts and follows deployments of the Prefect server at `url` (without /api). Times are the machine's own."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        no_idle = httpx.Limits(max_keepalive_connections=0)  # nobody closes a dispatcher
        self._client = httpx.Client(base_url=f"{self.url}/api", timeout=SECONDS, limits=no_idle, trust_env=False)

    def run(self, deployment: str, parameters: Mapping[str, Any], key: str = "") -> str:
        """Start a deployment (`train`, `promote` …): the run's id. NotFound names the deployments there are.

        The same key again is the same run, whatever became of it; without a key each call is a run of its own.
        """
        found = self._call("GET", f"/deployments/name/{deployment}/{deployment}")
        if found is None:
            known = ", ".join(self._deployments()) or "none"
            raise NotFound(f"Prefect has no deployment {deployment!r}. Known: {known}.")
        named = " ".join(filter(None, (deployment, str(parameters.get("system", "")))))
        body = {"parameters": dict(parameters), "name": named, "idempotency_key": key or str(uuid4())}
        made = self._call("POST", f"/deployments/{found['id']}/create_flow_run", body)
        return str(made["id"])

    def state(self, run_id: str) -> RunState:
        """Where a run stands; a state with a name of its own (`Refused`) has it before its message."""
        found = self._call("GET", f"/flow_runs/{run_id}")
        if found is None:
            raise NotFound(f"Prefect has no run {run_id}.")
        return _state(found)

    def follow(self, run_id: str) -> Iterator[str]:
        """What the run logs, line by line, until it has finished; Unavailable when nothing takes it up."""
        seen: set[str] = set()
        newest: datetime | None = None
        waiting_since, finished_at = time.monotonic(), None
        while finished_at is None or time.monotonic() < finished_at + LAST_LINES_SECONDS:
            state = self.state(run_id)
            if state.finished and finished_at is None:
                finished_at = time.monotonic()
            for line in self._lines(run_id, newest, seen):
                newest = max(newest or line[0], line[0])
                yield line[1]
            if state.state == "scheduled" and time.monotonic() > waiting_since + PICK_UP_SECONDS:
                raise Unavailable(f"No flow runner took up the run {state.name!r} within {PICK_UP_SECONDS:.0f} s.")
            time.sleep(POLL_SECONDS)

    def runs(self, deployment: str, system: str, since: datetime) -> Sequence[RunState]:
        """Runs of a deployment for a system that were to start since then, newest first."""
        found = self._call(
            "POST",
            "/flow_runs/filter",
            {
                "deployments": {"name": {"any_": [deployment]}},
                "flow_runs": {"expected_start_time": {"after_": since.isoformat()}},
                "sort": "EXPECTED_START_TIME_DESC",
                "limit": LINES,
            },
        )
        return [_state(each) for each in found or [] if each["parameters"].get("system") == system]

    def emit(self, event: str, system: str, payload: Mapping[str, Any]) -> None:
        """Emit an event about a system; the automations that wait for it get the payload, `system` in it."""
        resource = {"prefect.resource.id": f"flywheel.system.{system}", "prefect.resource.name": system}
        made = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": event,
            "resource": resource,
            "payload": {**payload, "system": system},
        }
        self._call("POST", "/events", [made])

    def _lines(self, run_id: str, newest: datetime | None, seen: set[str]) -> Iterator[tuple[datetime, str]]:
        wanted: dict[str, Any] = {"flow_run_id": {"any_": [run_id]}}
        if newest is not None:
            wanted["timestamp"] = {"after_": (newest - OVERLAP).isoformat()}
        asked = {"logs": wanted, "sort": "TIMESTAMP_ASC", "limit": LINES}
        offset = 0
        while found := self._call("POST", "/logs/filter", {**asked, "offset": offset}) or []:
            for each in found:
                if each["id"] not in seen:
                    seen.add(each["id"])
                    yield datetime.fromisoformat(each["timestamp"]), each["message"]
            offset += len(found)

    def _deployments(self) -> list[str]:
        return sorted(each["name"] for each in self._call("POST", "/deployments/filter", {}) or [])

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; None where there is no such thing."""
        answer = self._answer(method, path, body)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code in REFUSED:
            raise InvalidInput(f"Prefect refused {path}: {_detail(answer)}.")
        if not answer.is_success:
            raise Unavailable(f"Prefect at {self.url} answered {answer.status_code} to {path}: {_detail(answer)}.")
        return answer.json() if answer.content else None

    def _answer(self, method: str, path: str, body: Any) -> httpx.Response:
        """Asked again while Prefect is busy (its SQLite is locked): runs and events carry ids, so twice is once."""
        for wait in (*WAITS, None):
            try:
                answer = self._client.request(method, path, json=body)
            except httpx.HTTPError as error:
                said = str(error) or type(error).__name__
                raise Unavailable(f"Prefect at {self.url} cannot be reached ({said}).") from error
            if answer.status_code not in BUSY or wait is None:
                break
            time.sleep(wait)
        return answer


def _state(found: Mapping[str, Any]) -> RunState:
    state = found.get("state") or {"type": "SCHEDULED", "name": "Scheduled", "message": None}
    kind, name, message = state["type"], state["name"], state.get("message") or ""
    own_name = name.upper() not in STATES and name not in ("Late", "AwaitingRetry")
    said = f"{name}: {message}" if own_name else message
    started, ended = (_moment(found.get(each)) for each in ("start_time", "end_time"))
    return RunState(str(found["id"]), found["name"], STATES[kind], said, started, ended)


def _moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def _detail(answer: httpx.Response) -> str:
    return answer.text.strip().rstrip(".")[:300] or "no reason given"
