"""The command line's monitoring side: `flywheel monitor`, `flywheel metrics`, `flywheel parity`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import systems
from contracts.errors import FlywheelError, NotFound
from contracts.findings import OnlineFigure, OnlineFigures, ParityFinding
from infra import wiring
from infra.settings import Settings

SystemName = Annotated[str, typer.Argument(help="A folder in systems/.")]
Now = Annotated[bool, typer.Option("--now", help="Run the flow first, instead of showing what it found last.")]


def monitor(system: SystemName) -> None:
    """Judge the latest window of the log now, in a run of the `monitor` flow, and show what it found."""
    _run("monitor", systems.load(system).name, Console())


def metrics(
    system: SystemName,
    now: Now = False,
    slices: Annotated[bool, typer.Option("--slices", help="By slice as well.")] = False,
) -> None:
    """Show what each version earned, with 95% intervals, and whether online and offline metrics agree over versions."""
    name, console = systems.load(system).name, Console()
    if now:
        _run("metrics", name, console)
    found = wiring.findings(Settings.load()).read(OnlineFigures, name)
    if found is None:
        raise NotFound(f"The online metrics of {name} were never measured; `flywheel metrics {name} --now` does.")
    console.print(table(found, slices))
    for sentence in found.agreement:
        console.print(sentence, highlight=False, markup=False)


def parity(system: SystemName, now: Now = False) -> None:
    """Show whether features were served as they are recomputed; status 1 where any was not."""
    name, console = systems.load(system).name, Console()
    if now:
        _run("parity", name, console)
    found = wiring.findings(Settings.load()).read(ParityFinding, name)
    if found is None:
        raise NotFound(f"Served features of {name} were never recomputed; `flywheel parity {name} --now` does.")
    console.print(f"{found.since:%Y-%m-%d %H:%M} to {found.at:%H:%M} UTC. {found.words}", highlight=False, markup=False)
    for column in found.differing:
        console.print(f"{column.name}: {column.words}.", highlight=False, markup=False)
    if found.differing:
        raise typer.Exit(1)


def table(found: OnlineFigures, slices: bool) -> Table:
    """Figures as a person reads them; of each version as a whole, or of its slices as well."""
    title = f"{found.system}, outcomes that matured from {found.since:%Y-%m-%d %H:%M} to {found.at:%Y-%m-%d %H:%M} UTC"
    made = Table("metric", "version", *(["slice"] if slices else []), title=title)
    for heading in ("value", "95% interval", "rows"):
        made.add_column(heading, justify="right", no_wrap=True)
    for each in found.figures:
        if slices or not each.slice:
            of = [f"{each.metric} ({each.unit})", each.version, *([each.slice] if slices else [])]
            made.add_row(*of, f"{each.value:.4g}", _interval(each), f"{each.rows:,}")
    return made


def _interval(each: OnlineFigure) -> str:
    if each.low is None or each.high is None:
        return "too few"
    return f"{each.low:.4g} to {each.high:.4g}"


def _run(deployment: str, system: str, console: Console) -> None:
    """Run a flow on the flow runner and show its lines."""
    dispatcher = wiring.dispatcher(Settings.load())
    run_id = dispatcher.run(deployment, {"system": system})
    with console.status(f"Running {deployment} of {system}"):
        for line in dispatcher.follow(run_id):
            console.print(line, highlight=False, markup=False)
    if (state := dispatcher.state(run_id)).state != "completed":
        raise FlywheelError(f"The {deployment} run {state.name} ended as {state.state}: {state.message}")
