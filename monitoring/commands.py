"""The command line's monitoring side: `flywheel monitor`."""

from typing import Annotated

import typer
from rich.console import Console

import systems
from contracts.errors import FlywheelError
from infra import wiring
from infra.settings import Settings


def monitor(system: Annotated[str, typer.Argument(help="A folder in systems/.")]) -> None:
    """Judge the latest window of the log now, in a run of the `monitor` flow, and show what it found."""
    name, dispatcher, console = systems.load(system).name, wiring.dispatcher(Settings.load()), Console()
    run_id = dispatcher.run("monitor", {"system": name})
    with console.status(f"Monitoring {name}"):
        for line in dispatcher.follow(run_id):
            console.print(line, highlight=False, markup=False)
    if (state := dispatcher.state(run_id)).state != "completed":
        raise FlywheelError(f"The monitor run {state.name} ended as {state.state}: {state.message}")
