"""A whole living stack for the tests of the loop: real processes, a champion from simulated history, a fast clock."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

import systems
from contracts.errors import Unavailable
from contracts.ports import Clock
from contracts.records import ModelVersion
from contracts.system import System
from contracts.world import SimulatedOutcome, World
from infra import wiring
from infra.settings import Settings
from services.client.gateway import GatewayClient
from services.client.simulation import Simulation
from tests.conftest import poll, settings_in

SEED, SPEED, ROWS = 7, 240.0, 150_000


@dataclass(frozen=True)
class Living:
    """The stack as a test sees it."""

    settings: Settings
    system: System
    world: World
    clock: Clock

    def of(self, system: str) -> "Living":
        """The same stack, as another system's clients see it."""
        loaded = systems.load(system)
        return replace(self, system=loaded, world=loaded.world(SEED))

    def run(self, deployment: str, **parameters: Any) -> list[str]:
        """Run a deployment to its end; the test fails when it does not complete."""
        return run_deployment(self.settings, deployment, system=self.system.name, **parameters)

    def client(self) -> GatewayClient:
        return GatewayClient(self.settings.gateway, self.settings.secret("api_key"))

    def predict(self, request: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        async def once() -> dict[str, Any]:
            async with self.client() as client:
                return await client.predict(self.system.name, request, key)

        return asyncio.run(once())

    def outcome(self, prediction_id: str, item: str, occurred_at: datetime) -> None:
        async def once() -> None:
            async with self.client() as client:
                await client.outcome(self.system.name, prediction_id, SimulatedOutcome(item, 1.0, occurred_at))

        asyncio.run(once())

    def simulation(self, rate: float) -> Simulation:
        return Simulation(self.client(), self.system.name, self.world, self.clock, rate)

    def request(self, stream: int = 0) -> dict[str, Any]:
        return self.world.requests(1, self.clock.now(), 1_000_000 + stream)[0]

    def champion(self) -> ModelVersion:
        found = wiring.registry(self.settings).resolve(self.system.name, "champion")
        assert found is not None
        return found

    def answered_by(self, version: str, seconds: float = 10.0) -> dict[str, Any]:
        """The first answer that `version` gives; until then a request may be told to come again."""

        def answer() -> dict[str, Any] | None:
            try:
                given = self.predict(self.request())
            except Unavailable:
                return None
            return given if given["model_version"] == version else None

        return poll(answer, seconds, f"an answer of version {version}")  # type: ignore[no-any-return]

    def pids(self, component: str) -> int:
        found = {one.name: one.pid for one in wiring.stack(self.settings).states()}
        assert found[component], f"{component} does not run"
        return int(found[component] or 0)


@pytest.fixture(scope="session")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """Up, history, features, first champion: once for all tests of the loop."""
    settings = settings_in(tmp_path_factory.mktemp("living"))
    system = systems.load("ad_click")
    clock = wiring.start_clock(settings, wiring.clock(settings).now() - timedelta(days=6), SPEED)
    with wiring.stack(settings):
        living = Living(settings, system, system.world(SEED), clock)
        living.run("ingest", world={"seed": SEED, "days": 14, "rows": ROWS})
        living.run("materialize")
        living.run("train", data="history")
        living.run("promote")
        living.answered_by(living.champion().version, seconds=20.0)
        yield living


def run_deployment(settings: Settings, deployment: str, **parameters: Any) -> list[str]:
    """Run a deployment to its end, and return what it logged; the test fails when it does not complete."""
    dispatcher = wiring.dispatcher(settings)
    run_id = dispatcher.run(deployment, parameters)
    lines = list(dispatcher.follow(run_id))
    state = dispatcher.state(run_id)
    assert state.state == "completed", "\n".join([*lines, state.message])
    return lines


def settle(simulation: Simulation, predictions: int, seconds: float = 60.0) -> None:
    """Wait until the simulated clients have that many answers."""
    deadline = time.monotonic() + seconds
    while len(simulation.ledger.predictions) < predictions:
        simulation.check()
        assert time.monotonic() < deadline, (
            f"{len(simulation.ledger.predictions)} of {predictions} answers in {seconds} s"
        )
        time.sleep(0.05)
