"""The command line's side of the stack: `flywheel up`, `down`, `status`, `run`, `doctor` and `key`."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from contracts.errors import SetupError
from infra import broken_systems
from infra import doctor as examination
from infra.components import component, environ_of
from infra.settings import ROOT, Settings
from infra.stack import OnChange, Stack
from infra.stack_table import StackLines, StackTable

PATIENCE = 300.0  # seconds; a first start makes databases and compiles bytecode


def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once all is healthy; `flywheel down` stops it.")
    ] = False,
) -> None:
    """Start the local stack and show it until Ctrl-C, which stops it."""
    settings, console = Settings.load(), Console(highlight=False)
    stack = Stack(settings)
    with _ended_like_ctrl_c(), _display(console) as tell:
        try:
            stack.start()
            stack.wait_healthy(PATIENCE, tell)
            console.print(
                f"Up. The gateway answers at {settings.gateway}; `flywheel key` prints its key.", soft_wrap=True
            )
            _tell_broken(console, settings)
            if detach:
                return
            console.print("Press Ctrl-C to stop everything.")
            while states := stack.states():
                tell(states)
                time.sleep(0.2)
        except SetupError:  # nothing was started, or another's stack runs
            raise
        except BaseException:
            stack.stop()
            raise
    console.print("The stack was stopped.")


def down() -> None:
    """Stop the local stack and everything it started, whoever started it; nothing of it runs afterwards."""
    settings = Settings.load()
    stack = Stack(settings)
    was_up = stack.running()
    stack.stop()
    said = "The stack was stopped." if was_up else f"No stack was running from {settings.state_dir}."
    Console().print(Text(said), soft_wrap=True)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """Show health, pid, memory, restarts and addresses; exit status 1 unless all of the stack is healthy."""
    settings = Settings.load()
    states = Stack(settings).status()
    if as_json:
        sys.stdout.write(json.dumps([asdict(one) for one in states], indent=1) + "\n")
    elif states:
        Console().print(StackTable(states, memory=True))
        _tell_broken(Console(highlight=False), settings)
    else:
        raise SetupError(f"No stack runs from {settings.state_dir}; start one with `flywheel up`.")
    if not states or any(one.state != "healthy" for one in states):
        raise typer.Exit(1)


def doctor() -> None:
    """Check what the stack needs of this machine; exit status 1 when something is in its way."""
    settings, console = Settings.load(), Console(highlight=False)
    findings = examination.examine(settings)
    for finding in findings:
        sign = Text("✓ ", style="green") if finding.well else Text("✗ ", style="red")
        console.print(sign + Text(f"{finding.what}: {finding.found}"), soft_wrap=True)
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)


def run(name: Annotated[str, typer.Argument(help="mlflow, prefect, flows, serving, gateway, …")]) -> None:
    """Become one part of the stack, in this process, until it is told to stop: what a container does."""
    settings = Settings.load()
    one = component(settings, name)
    os.chdir(ROOT)
    os.execve(one.command[0], one.command, environ_of(one, settings))  # noqa: S606  # the stack's own command line


def key() -> None:
    """Print the API key that the gateway takes: `Authorization: Bearer KEY`."""
    sys.stdout.write(Settings.load().secret("api_key") + "\n")


def _tell_broken(console: Console, settings: Settings) -> None:
    """The stack is up without them; whoever broke them shall not have to find out by asking."""
    for fault in broken_systems.of_gateway(settings):
        console.print(Text(f"✗ {fault}", style="red"), soft_wrap=True)


@contextmanager
def _display(console: Console) -> Iterator[OnChange]:
    if not console.is_terminal:
        yield StackLines(console).tell
        return
    table = StackTable()
    with Live(table, console=console, refresh_per_second=4):
        yield table.tell


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """A closed terminal and a polite kill stop the stack as Ctrl-C does."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
