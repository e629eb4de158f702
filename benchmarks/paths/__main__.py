"""The paths beside that of a prediction: `python -m benchmarks.paths`, some ten minutes.

Prints the tables, keeps figures in `results/`, and rewrites the marked tables of `benchmarks/README.md`. `--only NAME`
measures one of them; `--quick` takes two minutes and keeps nothing unless `--folder` says where; `--readme` only writes
the tables anew. Whatever it starts ends with it, Ctrl-C and SIGTERM included.
"""

import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import tables
from benchmarks.paths import first_prediction, materialization, recorder, report, training_set
from benchmarks.paths.kept import RESULTS, about, keep, kept
from benchmarks.paths.plan import QUICK, Plan
from benchmarks.paths.runs import Say
from benchmarks.serving import campaign, usage
from contracts.errors import FlywheelError

README = Path(__file__).parents[1] / "README.md"
MEASUREMENTS: Mapping[str, Callable[[Plan, Path, Say], dict[str, Any]]] = {
    "training_set": training_set.measure,
    "materialization": materialization.measure,
    "recorder": recorder.measure,
    "first_prediction": first_prediction.measure,
}


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(MEASUREMENTS)}; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option(help="Small sizes; the figures mean nothing.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where figures go, instead of results/.")] = None,
    rewrite: Annotated[bool, typer.Option("--readme", help="Run nothing; write the tables anew.")] = False,
) -> None:
    """Measure, print, keep."""
    if unknown := set(only or ()) - set(MEASUREMENTS):
        raise typer.BadParameter(f"There is no measurement {min(unknown)!r}: there are {', '.join(MEASUREMENTS)}.")
    if rewrite:
        readme()
        return
    console = Console(width=200, highlight=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # contexts are left, and end what they started
    try:
        for name in only or MEASUREMENTS:
            measured(name, QUICK if quick else Plan(), folder, console)
    except FlywheelError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    if not quick and folder is None:
        readme()


def measured(name: str, plan: Plan, folder: Path | None, console: Console) -> None:
    """One measurement, printed; what is quick is kept only where that is asked for."""
    console.print(f"\n{name}")
    busy = usage.busy_cores(campaign.LOOK_SECONDS)
    campaign.check_quiet(campaign.QUICK if plan.quick else campaign.Plan(), busy)
    origin = about(plan, busy)
    with tempfile.TemporaryDirectory(prefix="flywheel-benchmark-") as state:
        figures = MEASUREMENTS[name](plan, Path(state), console.print)
    if folder is not None or not plan.quick:
        keep(folder or RESULTS, name, origin, figures)
    found = {"about": origin, "figures": figures}
    for table, (measurement, make) in report.TABLES.items():
        if measurement == name:
            console.print(f"\n{table}\n{make(found)}", markup=False, soft_wrap=True)


def readme() -> None:
    """Write the README's tables anew from what is kept."""
    README.write_text(tables.written(README.read_text(), report.tables(results())))


def results() -> dict[str, Any]:
    """What the last full run of each measurement kept."""
    return {name: kept(name) for name in MEASUREMENTS}


if __name__ == "__main__":
    typer.run(main)
