"""The whole stack in containers, brought up from nothing once for all tests here, and taken down whatever happens."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import systems
from contracts.ports import Clock
from contracts.system import System
from infra.clock import read_clock
from infra.registry_rest import RestModelSource
from services.client.gateway import GatewayClient
from services.client.simulation import Simulation
from tests.docker.containers import Containers, engine_fault

SEED, SPEED, LEAD_HOURS, ROWS = 7, 240, 240, 150_000
FAULT = engine_fault()
MEASURED: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without an engine nothing here can be tried, and each test says so. The first one waits for the image's build."""
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(1800))
        if FAULT:
            item.add_marker(pytest.mark.skip(reason=f"no Docker engine: {FAULT}"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was measured, for people and for the README."""
    for what, figure in MEASURED.items():
        terminalreporter.write_line(f"{what}: {figure}")


@dataclass(frozen=True)
class Stack:
    """The stack as a client on this machine sees it, and the engine's view beside it."""

    containers: Containers
    system: System
    clock: Clock
    models: RestModelSource
    started: datetime = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "started", self.clock.now())

    def champion(self) -> str:
        """The version that the registry names."""
        found = self.models.resolve(self.system.name, "champion")
        assert found is not None
        return found.version

    def client(self) -> GatewayClient:
        settings = self.containers.settings
        return GatewayClient(settings.gateway, settings.secret("api_key"))

    def clients(self, rate: float) -> Simulation:
        return Simulation(self.client(), self.system.name, self.system.world(SEED), self.clock, rate)


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`docker compose up --wait` from nothing, its clock fast, and all of it removed afterwards."""
    folder, say = tmp_path_factory.mktemp("docker"), _teller(pytestconfig)
    clock = {"FLYWHEEL_CLOCK_SPEED": str(SPEED), "FLYWHEEL_CLOCK_LEAD_HOURS": str(LEAD_HOURS)}
    clock["FLYWHEEL_BOOTSTRAP_ROWS"] = str(ROWS)
    containers = Containers.on_free_ports(folder, **clock)
    containers.remove()  # what a run that was killed left
    try:
        say("building the image; from nothing this takes minutes ...")
        started = time.monotonic()
        containers.compose("build", timeout=1800)
        MEASURED["image built"] = f"{time.monotonic() - started:.0f} s, {_image_size()} on this base"
        say("starting the stack and training a first model of every system ...")
        MEASURED["first start, a first model of every system trained and serving"] = f"{containers.up():.0f} s"
        with closing(RestModelSource(containers.settings.mlflow)) as models:
            yield _seen(containers, folder, models)
    finally:
        logs = folder / "logs.txt"
        logs.write_text(containers.attempt("logs", "--no-color").stdout)
        say(f"taking everything down; its logs are in {logs}")
        containers.remove()


def _teller(config: pytest.Config) -> Callable[[str], None]:
    """How a long fixture says what it does, whatever pytest captures."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")

    def say(line: str) -> None:
        reporter.ensure_newline()
        reporter.write_line(line)

    return say


def _seen(containers: Containers, folder: Path, models: RestModelSource) -> Stack:
    """The client's key and the platform's clock come from the containers that have them."""
    (folder / "secrets").mkdir()
    (folder / "secrets" / "api_key").write_text(containers.execute("gateway", "flywheel", "key").stdout)
    clock = folder / "clock.json"
    clock.write_text(containers.execute("gateway", "cat", "/state/clock/clock.json").stdout)
    return Stack(containers, systems.load("ad_click"), read_clock(clock), models)


def _image_size() -> str:
    command = ["docker", "image", "inspect", "flywheel:local", "--format", "{{.Size}}"]
    size = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f"{int(size) / 1e9:.2f} GB"
