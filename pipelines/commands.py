"""Commands of the pipelines: each starts a Prefect deployment, follows the run and says what became of it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import systems
from contracts.errors import FlywheelError, RefusedCandidate, SetupError, Unavailable
from contracts.records import RunState
from infra import wiring
from infra.settings import Settings
from pipelines import event_file, mapping
from pipelines.deployments import REFUSED


def ingest(
    system: Annotated[str, typer.Argument(help="whose events the file holds")],
    file: Annotated[Path, typer.Argument(help="your own log, CSV or Parquet")],
    mapping_file: Annotated[Path, typer.Option("--mapping", help="TOML: which column is what, see docs/own-data.md")],
) -> None:
    """Bring your own log of events into a system."""
    settings, mapped = Settings.load(), mapping.load(mapping_file)
    mapping.check(mapped, systems.load(system))
    event_file.look(file, mapped)
    parameters = {"system": system, "file": str(file.resolve()), "mapping": str(mapping_file.resolve())}
    run_id = _followed(settings, "ingest", parameters).run_id
    Console().print(_ingested(json.loads(settings.path("run", f"ingest-{run_id}.json").read_text())))


def materialize(system: Annotated[str, typer.Argument(help="whose features are brought up to date")]) -> None:
    """Bring a system's features up to date, offline and online."""
    settings = Settings.load()
    systems.load(system)
    _followed(settings, "materialize", {"system": system})


def train(
    system: Annotated[str, typer.Argument(help="whose model is trained")],
    data: Annotated[str, typer.Option(help="the rows: history, log, or auto: the log once it has enough")] = "auto",
    promote: Annotated[bool, typer.Option(help="let the gate decide afterwards whether it becomes champion")] = True,
) -> None:
    """Train a model, and make it champion if the gate lets it."""
    settings = Settings.load()
    systems.load(system)
    _said(_followed(settings, "train", {"system": system, "data": data}))
    if promote:
        _said(_followed(settings, "promote", {"system": system}))


def retrain(system: Annotated[str, typer.Argument(help="whose model is trained again")]) -> None:
    """Bring in the log, train on what there is now, and let the gate decide: the loop's return path at once."""
    settings = Settings.load()
    systems.load(system)
    _said(_followed(settings, "retrain", {"system": system, "reason": "asked for by hand"}))


def promote(
    system: Annotated[str, typer.Argument(help="whose challenger is judged")],
    version: Annotated[str | None, typer.Option(help="judge this version, and not the challenger")] = None,
) -> None:
    """Let the gate decide whether the challenger becomes champion."""
    settings = Settings.load()
    systems.load(system)
    _said(_followed(settings, "promote", {"system": system, "version": version}))


def rollback(system: Annotated[str, typer.Argument(help="whose champion is taken back")]) -> None:
    """Bring the champion before this one back; serving follows within seconds."""
    settings = Settings.load()
    systems.load(system)
    try:
        back = wiring.registry(settings).rollback(system)
    except Unavailable as error:
        raise SetupError(f"`rollback` needs the stack; start it with `flywheel up` ({error})") from error
    Console().print(f"{system} version {back.version} is champion again.", highlight=False)


def _said(ended: RunState) -> None:
    """Show what a run ended with; RefusedCandidate, and with it exit status 1, where the gate refused."""
    if ended.message.startswith(REFUSED):
        raise RefusedCandidate(ended.message.removeprefix(f"{REFUSED}: "))
    Console().print(ended.message, markup=False, highlight=False, style="bold")


def _followed(settings: Settings, deployment: str, parameters: dict[str, Any]) -> RunState:
    """Run a deployment and show what it logs until it has ended well: what it ended with."""
    dispatcher, console = wiring.dispatcher(settings), Console()
    try:
        run_id = dispatcher.run(deployment, parameters)
        with console.status(f"{deployment} is running"):
            for line in dispatcher.follow(run_id):
                console.print(line, markup=False, highlight=False)
        ended = dispatcher.state(run_id)
    except Unavailable as error:
        raise SetupError(f"`{deployment}` runs on the stack; start it with `flywheel up` ({error})") from error
    if ended.state != "completed":
        raise FlywheelError(f"The run {ended.name} of {deployment} {ended.state}: {ended.message}")
    return ended


def _ingested(report: dict[str, Any]) -> Table:
    table = Table("", "rows", title=f"{report['source']} → {report['system']}")
    for name in ("read", "appended", "already_there"):
        table.add_row(name.replace("_", " "), f"{report[name]:,}")
    for reason, count in report["rejected"].items():
        table.add_row(f"rejected: {reason}", f"{count:,}")
    if report["reject_file"]:
        table.caption = f"rejected rows: {report['reject_file']}"
    return table
