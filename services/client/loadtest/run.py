"""A load test from its options to its findings: prepare, warm up, run a stage or search, judge, write down."""

import asyncio
import json
import os
import socket
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

import systems
from contracts.errors import FlywheelError, InvalidInput, SetupError
from contracts.system import System
from infra import wiring
from infra.settings import Settings
from services.client.gateway import GatewayClient
from services.client.loadtest import bodies, summary
from services.client.loadtest.fleet import Fleet
from services.client.loadtest.plan import MOST_CONNECTIONS, Stage, Target, connections
from services.client.loadtest.saturation import FIRST, Step, search
from services.client.loadtest.verdict import Held, judge
from services.client.loadtest.watch import watching

REST = 1.0  # seconds between two steps, for queues to empty


@dataclass(frozen=True)
class Options:
    """What the user asked for; see commands.py for each."""

    system: str
    users: int | None
    rate: float | None
    seconds: float
    candidates: int | None
    processes: int
    saturate: bool
    web_port: int | None
    html: Path | None
    json: Path | None
    seed: int
    warm_up: float


@dataclass(frozen=True)
class Test:
    """A load test that is ready to run."""

    options: Options
    system: System
    fleet: Fleet
    console: Console
    rate: float | None

    def stage(self, title: str, stage: Stage) -> Step:
        with watching(self.console, title, stage.seconds) as watch:
            tally = self.fleet.run(stage, watch)
        verdict = judge(tally, self.system.requirements, stage.rate, stage.seconds)
        return Step(stage.rate or 0.0, tally, verdict)

    def warm_up(self) -> None:
        if self.options.warm_up:
            stage = Stage(self.options.warm_up, self.rate, self.options.users, self.options.seed + 1)
            if self.stage("Warming up", stage).tally.stopped:
                raise FlywheelError("The test was stopped from the page while it warmed up.")


def load_test(options: Options, settings: Settings, console: Console) -> Held:
    """Run the test and say what it found. Errors that keep it from running are FlywheelError."""
    system = systems.load(options.system)
    rate = checked_rate(options, system)
    check_port(options.web_port)
    report = report_file(settings, options)
    with tempfile.TemporaryDirectory(prefix="flywheel-loadtest-") as folder:
        target = prepared(options, settings, system, rate, Path(folder))
        console.print(f"{describe(options, rate)} against {settings.gateway}", soft_wrap=True)
        with Fleet(target, options.processes, Path(folder), options.web_port) as fleet:
            if fleet.page:
                console.print(f"Locust's page: {fleet.page}", soft_wrap=True)
            test = Test(options, system, fleet, console, rate)
            test.warm_up()
            finding = _search(test, rate) if options.saturate and rate else _single(test)
            fleet.report(report, [finding["report"]])
            _write(options, settings, finding["record"])
            console.print(f"Report: {report}", soft_wrap=True)
            _linger(fleet, console)
    return finding["held"]  # type: ignore[no-any-return]  # set below, by both


def checked_rate(options: Options, system: System) -> float | None:
    """The rate of an open test, None for a closed one; without either option, the rate that the system requires."""
    if options.users is not None and (options.rate is not None or options.saturate):
        raise InvalidInput("--users waits for each answer and --rate for none: a test is one or the other.", "users")
    if options.users is None:
        required = system.requirements.requests_per_second
        return options.rate or (required * FIRST if options.saturate else required)
    if not options.processes <= options.users <= MOST_CONNECTIONS * options.processes:
        raise InvalidInput(
            f"--users is {options.users}; {options.processes} processes take from {options.processes} to "
            f"{MOST_CONNECTIONS * options.processes}: change --processes.",
            "users",
        )
    return None


def check_port(port: int | None) -> None:
    """SetupError where the page's port is taken."""
    if port is not None:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError as error:
                raise SetupError(f"Port {port} for Locust's page is taken; choose another with --web-port.") from error


def prepared(options: Options, settings: Settings, system: System, rate: float | None, folder: Path) -> Target:
    """Bodies on disk, and one of them answered: a gateway that is away or refuses is known before the test."""
    most = bodies.MOST if rate is None or options.saturate else max(1, int(rate * options.seconds))
    world, at = system.world(options.seed), wiring.clock(settings).now()
    bodies.write(folder / "bodies", system, world, at, most, options.candidates)
    key = settings.secret("api_key")
    with (folder / "bodies").open("rb") as file:
        first = json.loads(file.readline())

    async def ask() -> None:
        async with GatewayClient(settings.gateway, key) as client:
            await client.predict(system.name, first)

    asyncio.run(ask())
    timeout = max(2.0, 10 * system.requirements.deadline.total_seconds())
    widest = MOST_CONNECTIONS if options.saturate else connections(rate, options.users, timeout, options.processes)
    path = f"/v1/systems/{system.name}/predictions"
    return Target(settings.gateway, path, key, str(folder / "bodies"), widest, timeout)


def report_file(settings: Settings, options: Options) -> Path:
    """Where the report goes: as told, else into the state folder, else (it cannot be written) to the temporary one."""
    name = f"{options.system}-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
    for path in filter(None, (options.html, options.json)):
        if not os.access(path.absolute().parent, os.W_OK) or path.is_dir():
            raise InvalidInput(f"{path} cannot be written: its folder must be there and be yours.")
    if options.html is not None:
        return options.html
    with suppress(OSError):
        path = settings.path("loadtest", name)
        if os.access(path.parent, os.W_OK):
            return path
    return Path(tempfile.gettempdir()) / f"flywheel-loadtest-{name}"


def describe(options: Options, rate: float | None) -> str:
    load = f"{options.users} users, each waiting for its answer" if rate is None else f"{rate:g} requests a second"
    kind = f"the rate stepped up from {load}" if options.saturate else load
    candidates = f", {options.candidates} candidates a request" if options.candidates else ""
    processes = f", from {options.processes} processes" if options.processes > 1 else ""
    return f"{options.system}: {kind}, {options.seconds:g} s{candidates}{processes}"


def _single(test: Test) -> dict[str, Any]:
    options = test.options
    title = describe(options, test.rate)
    fresh = Stage(options.seconds, test.rate, options.users, options.seed, fresh=True)
    step = test.stage("Measuring", fresh)
    test.console.print(summary.table(step.tally, step.verdict), step.verdict.sentence, *step.verdict.remarks, sep="\n")
    return {
        "held": step.verdict.held,
        "report": summary.findings(title, step.tally, step.verdict),
        "record": {**summary.record(step.tally, step.verdict), "rate": test.rate},
    }


def _search(test: Test, first: float) -> dict[str, Any]:
    options, required = test.options, test.system.requirements
    taken: list[Step] = []

    def run(rate: float) -> Step:
        if taken:
            time.sleep(REST)
        stage = Stage(options.seconds, rate, None, options.seed + len(taken), fresh=not taken)
        taken.append(test.stage(f"{rate:,.1f} requests a second", stage))
        return taken[-1]

    found = search(run, first)
    held, sentence = found.judged(required), found.sentence(required)
    test.console.print(summary.steps_table(found), sentence, *found.remarks, sep="\n")
    return {
        "held": held,
        "report": summary.steps_findings(describe(options, first), found, sentence),
        "record": {"verdict": held, "last_rate_that_held": found.held, "steps": summary.steps_record(found.steps)},
    }


def _write(options: Options, settings: Settings, record: dict[str, Any]) -> None:
    if options.json is not None:
        asked = {"system": options.system, "gateway": settings.gateway, "seconds": options.seconds}
        load = {name: getattr(options, name) for name in ("users", "candidates", "processes", "seed")}
        options.json.write_text(json.dumps({**asked, **load, **record}, indent=2) + "\n")


def _linger(fleet: Fleet, console: Console) -> None:
    """Leave the page up until Ctrl-C, which is then no failure."""
    if not fleet.page:
        return
    console.print(f"The page stays at {fleet.page} until Ctrl-C.", soft_wrap=True)
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(0.5)
            fleet.check()
