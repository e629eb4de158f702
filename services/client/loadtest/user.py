"""The client that Locust runs, many at once: takes a turn, sends a body, and says what came of it."""

import itertools
import json
from time import perf_counter
from typing import Any

import gevent
from geventhttpclient.client import HTTPClientPool
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FastResponse, ResponseContextManager
from locust.exception import CatchResponseError

from services.client.loadtest.arrivals import Arrivals, Turn
from services.client.loadtest.plan import Target

NO_CONNECTION = "no free connection"
TIMED_OUT = "timed out"


class LoadClient(FastHttpUser):
    """All of a process share its connections, so that as many are open as requests are under way."""

    abstract = True
    arrivals: Arrivals
    target: Target
    bodies: "itertools.cycle[bytes]"
    request_headers: dict[str, str]

    @task
    def predict(self) -> None:
        turn = self.arrivals.take()
        try:
            waited = perf_counter() - turn.due
            if waited > self.target.timeout:  # a client would have gone away by now
                self._gave_up(turn, waited)
            else:
                self._send(turn)
        finally:
            self.arrivals.finished(turn)

    def _gave_up(self, turn: Turn, waited: float) -> None:
        turn.tally.latency.add(waited)
        text = f"All {self.target.connections} connections were busy until the client gave up."
        turn.tally.fail(NO_CONNECTION, text)
        event = {"request_type": "POST", "name": self.target.path, "response_length": 0, "context": {}}
        self.environment.events.request.fire(**event, response_time=waited * 1000, exception=CatchResponseError(text))

    def _send(self, turn: Turn) -> None:
        sent = perf_counter()
        with self.client.post(
            self.target.url + self.target.path,  # whole, so that no host typed into the web page is ever sent the key
            data=next(self.bodies),  # type: ignore[arg-type]  # bytes go through as they are
            headers=self.request_headers,
            name=self.target.path,
            catch_response=True,
            allow_redirects=False,
        ) as response:
            done = perf_counter()
            response.request_meta["response_time"] = (done - turn.due) * 1000
            error = account(turn, response, sent, done)
            if error:
                response.failure(error)
            else:
                response.success()


def account(turn: Turn, response: ResponseContextManager, sent: float, done: float) -> str:
    """Put an answer into its stage's tally; returns the kind of error, empty where it is none."""
    tally = turn.tally
    kind, text, answer = judged(response)
    if not kind or not response.status_code:  # a refusal is no answer, and its speed is nobody's merit
        tally.latency.add(done - turn.due)
    if kind:
        tally.fail(kind, text)
        return kind
    tally.service.add(done - sent)
    tally.answered += 1
    tally.fallbacks += answer.get("variant") == "fallback"
    tally.degraded.update(answer.get("degraded", ()))
    return ""


def judged(response: FastResponse) -> tuple[str, str, dict[str, Any]]:
    """The kind of error and what it said, both empty for an answer, and the answer."""
    if not response.status_code:
        return _unanswered(getattr(response, "error", None))
    try:
        answer = json.loads(response.content or b"")
        if response.status_code == 200 and answer["prediction_id"]:
            return "", "", answer
        error = answer["error"]
        return f"{response.status_code} {error['code']}", str(error["message"]), {}
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code}, not the gateway's", repr((response.content or b"")[:200]), {}


def _unanswered(error: BaseException | None) -> tuple[str, str, dict[str, Any]]:
    original = getattr(error, "original", None) or error
    if isinstance(original, TimeoutError | gevent.Timeout):
        return TIMED_OUT, "No answer came before the client gave up.", {}
    return type(original).__name__, str(original), {}


def client_class(target: Target, arrivals: Arrivals, first: int) -> type[LoadClient]:
    """The class that Locust makes its users of; bodies are sent in turn from the `first` on."""
    with open(target.bodies, "rb") as file:  # noqa: PTH123  # read here once, in lines
        lines = file.read().splitlines()
    first %= len(lines)
    pool = HTTPClientPool(
        concurrency=target.connections,
        connection_timeout=target.timeout,
        network_timeout=target.timeout,
        ssl_context_factory=gevent.ssl.create_default_context,
    )
    headers = {
        "Authorization": f"Bearer {target.key}",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
    }
    members = {
        "abstract": False,
        "host": target.url,
        "client_pool": pool,
        "arrivals": arrivals,
        "target": target,
        "bodies": itertools.cycle(lines[first:] + lines[:first]),
        "request_headers": headers,
    }
    return type("Client", (LoadClient,), members)
