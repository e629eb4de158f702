"""Commands of the pipelines: each starts a Prefect deployment, follows the run and says what became of it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import systems
from contracts.errors import FlywheelError, InvalidInput, RefusedCandidate, SetupError, Unavailable
from contracts.records import RunState
from contracts.system import System
from infra import wiring
from infra.settings import Settings
from pipelines import event_file, mapping
from pipelines.deployments import REFUSED


def ingest(
    system: Annotated[str, typer.Argument(help="whose events they are")],
    file: Annotated[Path | None, typer.Argument(help="your own log, CSV or Parquet")] = None,
    mapping_file: Annotated[
        Path | None, typer.Option("--mapping", help="TOML: which column is what, see docs/own-data.md")
    ] = None,
    world: Annotated[bool, typer.Option("--world", help="the history of the simulated world, and no file")] = False,
    rows: Annotated[int, typer.Option(min=1, help="of the world's history")] = 1_000_000,
    days: Annotated[
        float | None, typer.Option(min=0.1, help="of the world's history; without it, what the label delay asks for")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the world")] = 7,
) -> None:
    """Bring in events: a log of your own, the history of the simulated world, or what the served log has gained."""
    settings, chosen = Settings.load(), systems.load(system)
    if world and file:
        raise InvalidInput("Ingest takes a file or the history of the world (--world), not both in one run.")
    parameters: dict[str, Any] = {"system": system}
    if world:
        parameters["world"] = {"seed": seed, "days": days, "rows": rows}
    elif file or mapping_file:
        parameters |= _checked(chosen, file, mapping_file)
    run_id = _followed(settings, "ingest", parameters).run_id
    if not file:
        return  # the run's own sentence said it all
    report = json.loads(settings.path("run", f"ingest-{run_id}.json").read_text())
    Console().print(_ingested(report))
    if report["reject_file"]:
        Console(soft_wrap=True).print(f"Rejected rows: {report['reject_file']}", markup=False, highlight=False)


def _checked(system: System, file: Path | None, mapping_file: Path | None) -> dict[str, str]:
    """A file and its mapping as parameters of a run; one that is useless is refused here, and not in the run."""
    if file is None or mapping_file is None:
        raise InvalidInput("A log of your own comes as two files: flywheel ingest SYSTEM FILE --mapping FILE.toml.")
    mapped = mapping.load(mapping_file)
    mapping.check(mapped, system)
    event_file.open_event_file(file, mapped)
    return {"file": str(file.resolve()), "mapping": str(mapping_file.resolve())}


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
    return table
