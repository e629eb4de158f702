"""Every figure on monitoring that is quoted anywhere: `python -m benchmarks.monitoring`, a quarter of an hour.

Prints the tables, keeps figures and pictures in `results/`, and rewrites the marked tables of the README files from
them. `--quick` takes a minute or two and keeps nothing unless `--folder` says where; `--readme` only writes the tables
and pictures anew.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.monitoring import concept_drift, data_drift, estimated_performance, readme
from benchmarks.monitoring.measured import RESULTS, SEED, Benchmark, about, draw, keep
from benchmarks.monitoring.method import digest

BENCHMARKS: dict[str, Benchmark] = {
    "data_drift": data_drift.BENCHMARK,  # first: it measures the peak of memory, which is the process's
    "concept_drift": concept_drift.BENCHMARK,
    "estimated_performance": estimated_performance.BENCHMARK,
}


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(BENCHMARKS)}; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option(help="Seconds instead of minutes; the figures mean nothing.")] = False,
    seed: int = SEED,
    folder: Annotated[Path | None, typer.Option(help="Where figures and pictures go, instead of results/.")] = None,
    rewrite: Annotated[bool, typer.Option("--readme", help="Run nothing; write tables and pictures anew.")] = False,
) -> None:
    """Measure, print, keep."""
    if rewrite:
        for name, one in BENCHMARKS.items():
            draw(RESULTS, name, one.picture)
        readme.rewrite()
        return
    if unknown := set(only or ()) - set(BENCHMARKS):
        raise typer.BadParameter(f"There is no benchmark {min(unknown)!r}: there are {', '.join(BENCHMARKS)}.")
    for name in only or BENCHMARKS:
        measure(name, quick, seed, folder)
    if not quick and folder is None:
        readme.rewrite()


def measure(name: str, quick: bool, seed: int, folder: Path | None) -> None:
    """One benchmark; what is quick is kept only where it is asked for."""
    code, started = digest(name), time.process_time()
    figures = BENCHMARKS[name].run(quick, seed, Console(width=190).print)
    if folder is not None or not quick:
        keep(folder or RESULTS, name, figures, about(code, seed, quick, time.process_time() - started))
        draw(folder or RESULTS, name, BENCHMARKS[name].picture)


if __name__ == "__main__":
    typer.run(main)
