"""The command `flywheel loadtest`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra.settings import Settings
from services.client.loadtest.run import Options, load_test

STATUS = {"held": 0, "broken": 1, "not judged": 3}
PLAIN_WIDTH = 140  # columns of output that is no terminal's


def loadtest(
    system: Annotated[str, typer.Argument(help="A folder in systems/.")],
    users: Annotated[
        int | None, typer.Option(min=1, help="Closed: so many clients, each waits for its answer.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, help="Open: requests a second, whatever becomes of them. Default: what is required."),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", "--duration", min=1, help="How long; of a step, too.")] = 30.0,
    candidates: Annotated[int | None, typer.Option(min=1, help="Candidates a request, if not the world's own.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that send.")] = 1,
    find_saturation: Annotated[bool, typer.Option(help="Step the rate up until something breaks.")] = False,
    web: Annotated[bool, typer.Option(help="Show Locust's page, on this machine, until Ctrl-C.")] = False,
    web_port: Annotated[int, typer.Option(min=1, max=65535, help="The page's port.")] = 8089,
    html: Annotated[Path | None, typer.Option(help="The report's file. Default: in the state folder.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write what was found to this file, for programs.")] = None,
    seed: Annotated[int, typer.Option(help="The world's, and the arrivals'.")] = 7,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of the same load beforehand, not measured.")] = 3.0,
) -> None:
    """Put a system under load and hold what comes back against its requirements.

    Exit status 0: they held; 1: broken; 3: the generator was too slow itself to tell.
    """
    page = web_port if web else None
    options = Options(
        system, users, rate, seconds, candidates, processes, find_saturation, page, html, json, seed, warm_up
    )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    held = load_test(options, Settings.load(), console)
    raise typer.Exit(STATUS[held])
