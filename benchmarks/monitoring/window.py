"""What judging a window costs: `python -m benchmarks.monitoring.window`, 1,000,000 served rows of ad_click in the log.

The log is made in a temporary folder (features and scores at random, pages of eight ads, one impression in ten
clicked), and its last window is judged from the Parquet files on, as the monitor's flow does: quality, and data drift
with a past of the same size. The estimate is left out: it takes 10,000 rows of any window. Each part is timed, with
the peak of memory of the process that judges. `--rows` for another size.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import typer
from rich.console import Console

import systems
from contracts.records import ModelVersion, OutcomeRecord, PredictionRecord
from contracts.system import AT, System
from infra import wiring
from infra.settings import Settings
from monitoring.data import judge_data
from monitoring.judge import NORMALISED, judge_quality, latest_window

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
PAGE, AT_ONCE, CLICKED = 8, 5_000, 0.1
T = TypeVar("T")
say = Console(highlight=False).print


def main(rows: int = 1_000_000, folder: Path | None = None) -> None:
    """Make the log, then judge it in a process of its own."""
    if folder is not None:
        judge(Settings.model_validate({"state_dir": folder}), systems.load("ad_click"))
        return
    with tempfile.TemporaryDirectory() as made:
        settings = Settings.model_validate({"state_dir": Path(made)})
        write(settings, systems.load("ad_click"), rows)
        subprocess.run([sys.executable, "-m", __spec__.name, "--folder", made], check=True)


def write(settings: Settings, system: System, rows: int) -> None:
    """Two windows of the log, each of so many rows, and the outcomes of their clicks."""
    random, archive = np.random.default_rng(2026_11_21), wiring.archive(settings)
    for window in (2, 1):
        since = NOW - window * system.monitoring.window
        for pages in _batches(rows // PAGE):
            times = np.sort(random.uniform(0, system.monitoring.window.total_seconds(), pages))
            served = [_prediction(system, since + timedelta(seconds=float(at)), random) for at in times]
            archive.append([*served, *(one for each in served for one in _clicks(system, each, random))])


def judge(settings: Settings, system: System) -> None:
    """Judge the last window, and print what each part took."""
    champion = ModelVersion(system.name, "1", "", "", system.features.names, NOW, {NORMALISED: 1.0})
    window = timed("reading the window", lambda: latest_window(wiring.archive(settings), system, champion, NOW))
    timed("quality", lambda: judge_quality(system, champion, window))
    timed("data drift, its past counted first", lambda: judge_data(settings, system, champion, window, ()))
    timed("data drift, its past known", lambda: judge_data(settings, system, champion, window, ()))
    say(f"{len(window.served):,} rows × {len(system.features.names)} features")


def timed(what: str, part: Callable[[], T]) -> T:
    """What `part` gives, after its seconds, and the process's peak of memory so far, are printed."""
    started = time.perf_counter()
    found = part()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"{time.perf_counter() - started:6.1f} s, peak until then {peak:,.0f} MB: {what}")
    return found


def _batches(pages: int) -> Iterator[int]:
    for start in range(0, pages, AT_ONCE):
        yield min(AT_ONCE, pages - start)


def _prediction(system: System, at: datetime, random: np.random.Generator) -> PredictionRecord:
    request = system.task.request.model_validate(system.task.example)
    rows = system.serving.rows(request) if system.serving.rows else {}
    count = len(next(iter(rows.values())))
    taken = np.resize(np.arange(count), PAGE)
    return PredictionRecord(
        prediction_id=random.bytes(16).hex(),
        system=system.name,
        at=at,
        model_version="1",
        variant="champion",
        request=system.task.example,
        rows={**{name: values[taken] for name, values in rows.items()}, AT: np.full(PAGE, at.timestamp())},
        feature_names=system.features.names,
        features=random.standard_normal((PAGE, len(system.features.names)), dtype=np.float32),
        scores=random.beta(1, 9, PAGE),
        shown=np.arange(PAGE),
        propensity=np.ones(PAGE),
        result={},
        degraded=(),
    )


def _clicks(system: System, served: PredictionRecord, random: np.random.Generator) -> Iterator[OutcomeRecord]:
    items = served.rows[system.task.item] if system.task.item else [None]
    for item in {str(one) for one in items if random.random() < CLICKED}:
        at = served.at + timedelta(minutes=1)
        yield OutcomeRecord(served.prediction_id, system.name, item, 1.0, at, at, "client")


if __name__ == "__main__":
    typer.run(main)
