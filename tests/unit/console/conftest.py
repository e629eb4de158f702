"""A console in this process, before a gateway in this process: only the network between them is left out."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from pydantic import BaseModel
from starlette.types import ASGIApp

import systems
from contracts.errors import Unavailable
from contracts.records import RunState, Verdict
from contracts.system import Decision, System
from infra import wiring
from infra.clock import ManualClock
from infra.memory_registry import MemoryRegistry
from infra.settings import Settings
from services.console.app import Parts, build
from services.console.gateway import Gateway
from services.console.serving import Serving
from services.console.session import Sessions
from services.console.stores import Stores
from services.gateway.app import build as gateway_of
from services.gateway.catalogue import Catalogue
from tests.conftest import poll, settings_in
from tests.unit.gateway.conftest import KEY, NOW, World

CONSOLE = "http://127.0.0.1:8090"


@dataclass
class Prefect:
    """Runs as Prefect would have them, without its clock: what is started stays running until a test ends it."""

    started: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    kept: list[tuple[str, str, RunState]] = field(default_factory=list)  # deployment, system, run
    down: bool = False

    def run(self, deployment: str, parameters: Mapping[str, Any]) -> str:
        self.answering()
        run_id = f"{len(self.started):08x}-0000-4000-8000-000000000000"
        self.started.append((deployment, dict(parameters)))
        made = RunState(run_id, f"{deployment} {parameters['system']}", "running", "", datetime.now(UTC))
        self.kept.insert(0, (deployment, parameters["system"], made))
        return run_id

    def runs(self, deployment: str, system: str, since: datetime) -> list[RunState]:
        self.answering()
        return [run for name, whose, run in self.kept if (name, whose) == (deployment, system)]

    def answering(self) -> None:
        if self.down:
            raise Unavailable("Prefect at http://prefect cannot be reached (refused).")


@dataclass
class Found:
    """Verdicts by system, oldest first."""

    kept: dict[str, list[Verdict]] = field(default_factory=dict)

    def read(self, system: str, most: int = 1000) -> list[Verdict]:
        return self.kept.get(system, [])[-most:]


def stores_of(registry: Any, prefect: Any, found: Any, settings: Settings) -> Stores:
    """Stores of a console: details of monitoring and retrainings are the files of the settings."""
    details, retrainings = wiring.findings(settings), wiring.retrainings(settings)
    return Stores(registry, prefect, found, details, retrainings, lambda: registry)


class Result(BaseModel):
    score: float
    decision: str
    reasons: list[dict[str, Any]]


def payments() -> System:
    """A system without items that wants a person to look at every answer, which has reasons in words."""
    own = systems.load("ad_click")

    def respond(request: Any, evidence: Any, random: Any) -> Decision:
        reasons = [{"feature": "amount", "words": "A much higher amount than this card's usual <b>ones</b>"}]
        result = Result(score=float(evidence.scores[0]), decision="review", reasons=reasons)
        return Decision(result, np.array([], dtype=np.int64), np.array([]), review=True)

    task = replace(own.task, item=None, target="fraud", response=Result)
    return replace(own, name="payments", task=task, serving=replace(own.serving, respond=respond))


@dataclass
class Desk:
    """The parts, and clients of both sides."""

    settings: Settings
    world: World
    now: float = 1.8e9
    champions: Any = field(default_factory=lambda: {"payments": {"model_version": "7", "last_error": None}})
    gateway_down: bool = False

    def __post_init__(self) -> None:
        self.stores = stores_of(MemoryRegistry(), Prefect(), Found(), self.settings)

    def gateway(self) -> Gateway:
        made = gateway_of(self.world.platform(), self.world.catalogue, self.world.limits).app
        return Gateway("http://gateway", KEY, down() if self.gateway_down else httpx.ASGITransport(made))

    def serving(self) -> Serving:
        def answer(request: httpx.Request) -> httpx.Response:
            if self.champions is None:
                raise httpx.ConnectError("refused")
            return httpx.Response(200, json=self.champions)

        return Serving("http://serving", httpx.MockTransport(answer))

    @asynccontextmanager
    async def stranger(self) -> AsyncIterator[httpx.AsyncClient]:
        """A browser without a session."""
        parts = Parts(self.settings, self.gateway(), self.serving(), self.world.clock, self.stores)
        app = build(parts, Sessions(KEY, lambda: self.now))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=CONSOLE)
        async with app.router.lifespan_context(app), client:
            yield client

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        """A browser that has signed in."""
        async with self.stranger() as client:
            assert (await client.post("/login", data={"key": KEY})).status_code == 303
            yield client

    async def predict(self, system: str = "payments") -> str:
        """One prediction's id."""
        async with self.world.client() as client:
            answer = await client.post(f"/v1/systems/{system}/predictions", json=self.world.request())
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prediction_id"])


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """The application under uvicorn in a thread, at this address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    poll(lambda: server.started, what="uvicorn")
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def down() -> httpx.MockTransport:
    """Nobody listens there."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    return httpx.MockTransport(refuse)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    known = {each.name: each for each in (systems.load("ad_click"), payments())}
    broken = {"wreck": "System 'wreck' has no <task.py>; add it."}
    world = World(Catalogue(known, broken), clock=ManualClock(NOW))
    for name in known:
        world.scorer.champions[name] = ("7", lambda X: np.full(len(X), 0.734, dtype=np.float64))
    return Desk(settings_in(tmp_path), world)
