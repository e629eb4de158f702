"""More than the serving path can answer, and ten minutes of half of it: `python -m benchmarks.overload`.

Measures the overload, some 4 minutes; `--soak` the ten minutes instead. Prints the tables, keeps figures in `results/`,
and rewrites its marked tables of `benchmarks/README.md`. `--quick` does both in a minute and keeps nothing unless
`--folder` says where; `--readme` only writes anew what is made from the kept figures.
"""

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import tables
from benchmarks.overload import report
from benchmarks.overload.campaign import QUICK, Campaign, Plan
from benchmarks.serving.campaign import keep
from contracts.errors import FlywheelError

RESULTS = Path(__file__).with_name("results")
README = Path(__file__).parents[1] / "README.md"
PARTS = ("overload", "soak")


def main(
    quick: Annotated[bool, typer.Option(help="Seconds a point; the figures mean nothing.")] = False,
    soak: Annotated[bool, typer.Option(help="Ten minutes at half of saturation, instead of the overload.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where figures go, instead of results/.")] = None,
    rewrite: Annotated[bool, typer.Option("--readme", help="Run nothing; write the tables anew.")] = False,
) -> None:
    """Measure, print, keep."""
    if rewrite:
        readme()
        return
    console = Console(width=200, highlight=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # contexts are left, and end what they started
    parts = PARTS if quick else ("soak",) if soak else ("overload",)
    try:
        with tempfile.TemporaryDirectory(prefix="flywheel-benchmark-") as state:
            measured = Campaign(QUICK if quick else Plan(), Path(state), console.print).run(parts)
    except FlywheelError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from error
    if not quick or folder is not None:
        for part, found in measured.items():
            keep(found, (folder or RESULTS) / f"{part}.json")
    for title, table in report.tables(measured).items():
        console.print(f"\n{title}\n{table}", markup=False, soft_wrap=True)
    if not quick and folder is None:
        readme()


def results(folder: Path = RESULTS) -> dict[str, Any]:
    """What the last full runs kept, by part."""
    paths = {part: folder / f"{part}.json" for part in PARTS}
    return {part: json.loads(path.read_text()) for part, path in paths.items() if path.exists()}


def readme() -> None:
    """Write this benchmark's tables of the README anew."""
    README.write_text(tables.written(README.read_text(), report.tables(results())))


if __name__ == "__main__":
    typer.run(main)
