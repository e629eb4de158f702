"""Flywheel's serving path beside the usual stack and the floor: `python -m benchmarks.serving`, some 25 minutes.

Prints the tables, keeps figures and the plot in `results/`, and rewrites the marked tables of `benchmarks/README.md`.
`--quick` takes two or three minutes and keeps nothing unless `--folder` says where; `--readme` only writes anew what
is made from the kept figures. Whatever it starts ends with it, Ctrl-C and SIGTERM included.
"""

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import tables
from benchmarks.serving import plot, report
from benchmarks.serving.campaign import QUICK, Campaign, Plan, keep
from contracts.errors import FlywheelError

RESULTS = Path(__file__).with_name("results")
README = Path(__file__).parents[1] / "README.md"
FIGURES, PLOT = "serving.json", "latency.svg"


def main(
    quick: Annotated[bool, typer.Option(help="Two seconds a point; the figures mean nothing.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where figures and plot go, instead of results/.")] = None,
    rewrite: Annotated[bool, typer.Option("--readme", help="Run nothing; write tables and plot anew.")] = False,
) -> None:
    """Measure, print, keep."""
    console = Console(width=200, highlight=False)
    if rewrite:
        if found := results():
            plot.draw(found, RESULTS / PLOT)
        readme(found)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # contexts are left, and end what they started
    try:
        with tempfile.TemporaryDirectory(prefix="flywheel-benchmark-") as state:
            measured = Campaign(QUICK if quick else Plan(), Path(state), console.print).run()
    except FlywheelError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from error
    if not quick or folder is not None:
        keep(measured, (folder or RESULTS) / FIGURES)
        plot.draw(measured, (folder or RESULTS) / PLOT)
    for title, table in report.tables(measured).items():
        console.print(f"\n{title}\n{table}", markup=False, soft_wrap=True)
    if not quick and folder is None:
        readme(results())


def results() -> report.Results | None:
    """What the last full run kept; None before there was one."""
    path = RESULTS / FIGURES
    found: report.Results | None = json.loads(path.read_text()) if path.exists() else None
    return found


def readme(found: report.Results | None) -> None:
    """Write the README's tables anew."""
    README.write_text(tables.written(README.read_text(), report.tables(found)))


if __name__ == "__main__":
    typer.run(main)
