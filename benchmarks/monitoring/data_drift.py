"""How often does the data-drift verdict cry wolf, and what does it find? `python -m benchmarks.monitoring.data_drift`.

Prints the figures beside Evidently's defaults and an uncorrected Kolmogorov-Smirnov test on windows of the same kind,
in minutes on one core; `--quick` in seconds, with figures too coarse to quote. `--figures FILE` writes JSON, too.
"""

import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from scipy.stats import chi2, norm

from benchmarks.monitoring.columns import HOUR, KIND_OF, LEVEL_SIGMA, MONDAY, NAMES, Floats, Plan, made, plan, traffic
from benchmarks.monitoring.data_drift_comparators import REFERENCE_ROWS, Found, evidently, naive
from benchmarks.monitoring.data_drift_figures import (
    ASKED,
    TARGETS,
    Alarms,
    Edges,
    Power,
    Speed,
    alarm_table,
    compared_table,
    edge_table,
    power_table,
)
from monitoring.data_drift.columns import Column, learn
from monitoring.data_drift.evidence import PARTS
from monitoring.data_drift.reference import Reference, Rules, reference
from monitoring.data_drift.sketch import Sketches, joined, sketch, sketches
from monitoring.data_drift.verdict import judge

DAYS_90 = 2_160  # hourly windows


@dataclass(frozen=True)
class Sizes:
    """How much is simulated."""

    past: int  # windows of history: eight weeks of hours
    few: int  # … and of a short history
    fresh: int  # judged windows a world
    worlds: int  # independent ones, for false alarms
    repeats: int  # … for what is found
    shifted: int  # windows in each of those
    compared: int  # windows that Evidently judges
    many: int  # rows of a very large window
    speed: int  # rows of the window that is timed


FULL = Sizes(1_344, 336, DAYS_90, 12, 2, 200, 8, 200_000, 1_000_000)
QUICK = Sizes(336, 168, 168, 1, 1, 20, 1, 20_000, 20_000)


def main(quick: bool = False, figures: Annotated[Path | None, typer.Option()] = None) -> None:
    """Print every figure."""
    sizes, console = QUICK if quick else FULL, Console()
    timed = speed(sizes)  # first: the peak of memory is the process's
    steady = {
        "one row an answer, 8 weeks of past": alarms(sizes, sizes.worlds),
        "pages of 8 rows, 8 weeks of past": alarms(sizes, max(sizes.worlds // 2, 1), page=8, mean=1_200),
        "few rows (200 an hour), 8 weeks of past": alarms(sizes, sizes.worlds, mean=200),
        "one row an answer, 2 weeks of past": alarms(sizes, max(sizes.worlds // 2, 1), past=sizes.few),
    }
    found = {rows: power(sizes, rows, shift) for rows, shift in TARGETS.items()}
    compared = {rows: comparators(sizes, rows, shift) for rows, shift in TARGETS.items()}
    extremes = edges(sizes)
    for table in (alarm_table(steady), power_table(found), compared_table(compared), edge_table(extremes)):
        console.print(table)
    console.print(
        f"{timed.rows:,} rows × 20 columns: {timed.seconds:.1f} s, peak of the process {timed.peak_mb:,.0f} MB"
    )
    if figures:
        everything = {
            "alarms": {name: asdict(one) for name, one in steady.items()},
            "power": {str(rows): asdict(one) for rows, one in found.items()},
            "compared": {str(rows): {name: asdict(f) for name, f in one.items()} for rows, one in compared.items()},
            "edges": asdict(extremes),
            "speed": asdict(timed),
        }
        figures.write_text(json.dumps(everything, indent=1) + "\n")


def alarms(sizes: Sizes, worlds: int, page: int = 1, mean: float = 600, past: int | None = None) -> Alarms:
    """Windows after windows in which nothing changes, in several worlds, each with a past of its own."""
    past, count, windows = past or sizes.past, 0, 0
    for world in range(worlds):
        random = np.random.default_rng((world, page, past))
        planned = plan(random, traffic(random, past + sizes.fresh, mean), page=page)
        columns, all_of_it = _counted(random, planned)
        learned = reference(columns, all_of_it[:past])
        fresh = all_of_it[past:]
        fresh = fresh[learned.rules.enough(fresh)]
        count += int((learned.evidence(fresh).columns.max(axis=1) > learned.tail.threshold).sum())
        windows += len(fresh)
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0  # of a Poisson mean (Garwood, Biometrika 28, 1936)
    high = float(chi2.ppf(0.975, 2 * count + 2)) / 2
    return Alarms(windows, count, *(float(one * DAYS_90 / windows) for one in (count, low, high)))


def power(sizes: Sizes, rows: int, shift: float) -> Power:
    """Each column in its turn is the one that shifted, the 19 others being as they were in the same window."""
    named, rightly, alarmed = [], [], []
    for world in range(sizes.repeats):
        random = np.random.default_rng((world, rows))
        columns, learned = _learned(random, sizes, rows)
        still, moved = (
            learned.evidence(_fresh(random, columns, sizes, rows, by)).columns > learned.tail.threshold
            for by in (0.0, shift)
        )
        others = still.sum(axis=1, keepdims=True) - still
        named.append(moved)
        rightly.append(moved & (others == 0))
        alarmed.append(moved | (others > 0))
    found, right, alarm = (np.concatenate(one) for one in (named, rightly, alarmed))
    kinds = np.array([KIND_OF[name] for name in NAMES])
    by_kind = {kind: float(found[:, kinds == kind].mean()) for kind in dict.fromkeys(kinds.tolist())}
    return Power(float(found.mean()), float(right.sum() / max(alarm.sum(), 1)), by_kind, _possible(rows, shift))


def comparators(sizes: Sizes, rows: int, shift: float) -> dict[str, Found]:
    """The defaults on windows in which nothing changed, and in which one normal column did."""
    random = np.random.default_rng((rows, 7))
    before = made(random, plan(random, np.array([REFERENCE_ROWS]))).frame
    calm = _frames(random, rows, max(sizes.compared, 1))
    moved = [window.assign(**{ASKED: window[ASKED] + 3 * shift}) for window in calm]  # that column's σ is 3
    return {
        "Evidently, nothing changed": evidently(calm, before, ASKED),
        "Evidently, one shifted": evidently(moved, before, ASKED),
        "KS at 0.05, nothing changed": naive(calm, before, ASKED),
        "KS at 0.05, one shifted": naive(moved, before, ASKED),
    }


def edges(sizes: Sizes) -> Edges:
    """A shift too small to matter in very many rows, and one absurd value."""
    random = np.random.default_rng(11)
    tiny, floorless = _tiny(random, sizes)
    columns, learned = _learned(random, sizes, 200)
    calm = _frames(random, 200, max(sizes.shifted, 1), first=sizes.past)
    outlier = [_with_outlier(window, 0.0) for window in calm]
    both = [_with_outlier(window, 3.0) for window in calm]
    start = MONDAY + sizes.past * HOUR
    verdicts = [[judge(learned, sketch(one, columns, start)).shifted for one in side] for side in (outlier, both)]
    before = made(random, plan(random, np.array([REFERENCE_ROWS]))).frame[[ASKED]]
    few = slice(sizes.compared)
    rivals = [
        evidently([one[[ASKED]] for one in side[few]], before, ASKED, method).named
        for side, method in ((outlier, "psi"), (outlier, "wasserstein"), (both, "psi"))
    ]
    return Edges(
        tiny,
        floorless,
        float(np.mean([bool(names) for names in verdicts[0]])),
        float(np.mean([ASKED in names for names in verdicts[1]])),
        *rivals,
    )


def speed(sizes: Sizes) -> Speed:
    """A past of hourly windows of 200 rows, then one window of very many."""
    random = np.random.default_rng(3)
    columns, learned = _learned(random, sizes, 200)
    window = pd.concat([made(random, plan(random, np.array([sizes.speed // 10]))).frame for _ in range(10)])
    window = window.reset_index(drop=True)
    predictions = pd.Series(np.arange(len(window)) // 10).astype(str)
    started = time.perf_counter()
    judge(learned, sketch(window, columns, 0.0, predictions))
    seconds = time.perf_counter() - started
    return Speed(len(window), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _tiny(random: np.random.Generator, sizes: Sizes) -> tuple[float, float]:
    """A past of some 2,000 rows an hour; the share of very large windows that alarm, with and without the floor."""
    columns, past = _counted(random, plan(random, traffic(random, sizes.past, sizes.many / 100)))
    large = plan(random, np.full(5, sizes.many), first=sizes.past)
    windows = joined([_sketches(columns, random, large[place : place + 1], 0.02) for place in range(5)])
    found = []
    for rules in (Rules(), Rules(floor=0.0)):
        learned = reference(columns, past, rules)
        found.append(float((learned.evidence(windows).columns.max(axis=1) > learned.tail.threshold).mean()))
    return found[0], found[1]


def _possible(rows: int, shift: float) -> float:
    deviation = float(np.sqrt(LEVEL_SIGMA**2 + 1 / rows))
    needed = float(norm.isf(Rules().false_alarms * PARTS[0] / len(NAMES) / 2))
    return float(norm.sf(needed - shift / deviation))


def _learned(random: np.random.Generator, sizes: Sizes, rows: int) -> tuple[tuple[Column, ...], Reference]:
    columns, past = _counted(random, plan(random, np.full(sizes.past, rows)))
    return columns, reference(columns, past)


def _fresh(random: np.random.Generator, columns: tuple[Column, ...], sizes: Sizes, rows: int, shift: float) -> Sketches:
    return _sketches(columns, random, plan(random, np.full(sizes.shifted, rows), first=sizes.past), shift)


def _counted(random: np.random.Generator, planned: Plan) -> tuple[tuple[Column, ...], Sketches]:
    columns = learn(made(random, planned[:168]).frame)
    return columns, _sketches(columns, random, planned)


def _sketches(columns: tuple[Column, ...], random: np.random.Generator, planned: Plan, shift: float = 0.0) -> Sketches:
    parts = (made(random, part, shift) for part in planned.in_parts())
    return joined([sketches(part.frame, columns, part.windows, part.starts, part.predictions) for part in parts])


def _frames(random: np.random.Generator, rows: int, windows: int, first: int = 0) -> list[pd.DataFrame]:
    return [made(random, plan(random, np.array([rows]), first=first)).frame for _ in range(windows)]


def _with_outlier(window: pd.DataFrame, shift: float) -> pd.DataFrame:
    values: Floats = window[ASKED].to_numpy() + shift
    return window.assign(**{ASKED: np.append(values[:-1], 1e12)})


if __name__ == "__main__":
    typer.run(main)
