"""How often does the data-drift verdict cry wolf, and what does it find? `python -m benchmarks.monitoring.data_drift`.

Prints the figures beside those of the usual defaults on the same windows, in minutes on one core; `--quick` in seconds,
with figures too coarse to quote.
"""

import resource
import time
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from scipy.stats import chi2, norm, t

from benchmarks.monitoring import data_drift_comparators as rivals
from benchmarks.monitoring.columns import (
    DAY_OF_HOURS,
    HOUR,
    KIND_OF,
    LEVEL_SIGMA,
    MONDAY,
    NAMES,
    Floats,
    Plan,
    made,
    plan,
    traffic,
)
from benchmarks.monitoring.data_drift_comparators import REFERENCE_ROWS, Flags, Found
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
    picture,
    power_table,
)
from benchmarks.monitoring.measured import SEED, Benchmark, Figures, Show
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
    large: int  # such windows
    speed: int  # rows of the window that is timed


FULL = Sizes(1_344, 336, DAYS_90, 12, 4, 200, 16, 200_000, 20, 1_000_000)
QUICK = Sizes(336, 168, 168, 1, 2, 20, 1, 20_000, 2, 20_000)


def main(quick: bool = False, seed: int = SEED) -> None:
    """Print every figure."""
    run(quick, seed, Console(width=160).print)


def run(quick: bool, seed: int, show: Show) -> Figures:
    """Every table, as it is done."""
    sizes = QUICK if quick else FULL
    timed = speed(sizes, seed)  # first: the peak of memory is the process's
    steady = {
        "one row an answer": alarms(sizes, sizes.worlds, seed),
        "pages of 8 rows": alarms(sizes, max(sizes.worlds // 2, 1), seed, page=8, mean=1_200),
        "about 200 rows an hour": alarms(sizes, sizes.worlds, seed, mean=200),
        "2 weeks of history": alarms(sizes, max(sizes.worlds // 2, 1), seed, past=sizes.few),
    }
    show(alarm_table(steady))
    found = {rows: power(sizes, rows, shift, seed) for rows, shift in TARGETS.items()}
    show(power_table(found))
    compared = {rows: comparators(sizes, rows, shift, seed) for rows, shift in TARGETS.items()}
    show(compared_table(compared))
    extremes = edges(sizes, seed)
    show(edge_table(extremes))
    show(f"{timed.rows:,} rows × 20 columns: {timed.seconds:.1f} s, peak of the process {timed.peak_mb:,.0f} MB")
    return {
        "alarms": {name: asdict(one) for name, one in steady.items()},
        "power": {str(rows): asdict(one) for rows, one in found.items()},
        "compared": {str(rows): {name: asdict(f) for name, f in one.items()} for rows, one in compared.items()},
        "edges": asdict(extremes),
        "speed": asdict(timed),
    }


def alarms(sizes: Sizes, worlds: int, seed: int, page: int = 1, mean: float = 600, past: int | None = None) -> Alarms:
    """Windows after windows in which nothing changes, in several worlds, each with a past of its own."""
    past, count, windows = past or sizes.past, 0, 0
    for world in range(worlds):
        random = np.random.default_rng((seed, 1, world, page, past, int(mean)))
        planned = plan(random, traffic(random, past + sizes.fresh, mean), page=page)
        columns, all_of_it = _counted(random, planned)
        learned = reference(columns, all_of_it[:past])
        fresh = all_of_it[past:]
        fresh = fresh[learned.rules.enough(fresh)]
        count += int(_flags(learned, fresh).any(axis=1).sum())
        windows += len(fresh)
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0  # of a Poisson mean (Garwood, Biometrika 28, 1936)
    high = float(chi2.ppf(0.975, 2 * count + 2)) / 2
    return Alarms(windows, count, *(float(one * DAYS_90 / windows) for one in (count, low, high)))


def power(sizes: Sizes, rows: int, shift: float, seed: int) -> Power:
    """Each column in its turn is the one that shifted, the 19 others being as they were in the same window."""
    named, rightly, alarmed = [], [], []
    for world in range(sizes.repeats):
        random = np.random.default_rng((seed, 2, world, rows))
        columns, learned = _learned(random, sizes, rows)
        still, moved = (_flags(learned, _fresh(random, columns, sizes, rows, by)) for by in (0.0, shift))
        others = still.sum(axis=1, keepdims=True) - still
        named.append(moved)
        rightly.append(moved & (others == 0))
        alarmed.append(moved | (others > 0))
    found, right, alarm = (np.concatenate(one) for one in (named, rightly, alarmed))
    kinds = np.array([KIND_OF[name] for name in NAMES])
    by_kind = {kind: float(found[:, kinds == kind].mean()) for kind in dict.fromkeys(kinds.tolist())}
    ends = _interval(np.array([one.mean() for one in named]))
    right_share = float(right.sum() / max(alarm.sum(), 1))
    return Power(len(found), float(found.mean()), *ends, right_share, by_kind, _possible(rows, shift))


def comparators(sizes: Sizes, rows: int, shift: float, seed: int) -> dict[str, Found]:
    """Ours and the usual defaults on the same windows, all of midnights: as they were, and with one column shifted."""
    random = np.random.default_rng((seed, 3, rows))
    columns, learned = _learned(random, sizes, rows)
    midnights = slice(None, None, DAY_OF_HOURS)
    before = made(random, plan(random, np.full(sizes.past, _a_midnight(sizes)))[midnights]).frame
    fresh = made(random, plan(random, np.full(sizes.shifted * DAY_OF_HOURS, rows), first=sizes.past)[midnights])
    moved = fresh.frame.assign(**{ASKED: fresh.frame[ASKED] + 3 * shift})  # that column's σ is 3
    flags: list[dict[str, Flags]] = []
    for frame in (fresh.frame, moved):
        windows = [one for _, one in frame.groupby(fresh.windows)]
        counted = sketches(frame, columns, fresh.windows, fresh.starts, fresh.predictions)
        flags.append(
            {
                "ours": _flags(learned, counted),
                "Evidently": rivals.evidently(windows[: sizes.compared], before),
                "KS and chi² at 0.05": rivals.uncorrected(windows, before),
                "PSI above 0.2": rivals.stability(windows, before),
            }
        )
    return rivals.all_of(flags[0], flags[1], ASKED)


def edges(sizes: Sizes, seed: int) -> Edges:
    """A shift too small to matter in very many rows, and one absurd value, beside the same windows without it."""
    random = np.random.default_rng((seed, 4))
    tiny, floorless = _tiny(random, sizes)
    columns, learned = _learned(random, sizes, 200)
    calm = [
        made(random, plan(random, np.array([200]), first=sizes.past)).frame for _ in range(sizes.shifted)
    ]  # of the same hour of the week, years apart
    moved = [window.assign(**{ASKED: window[ASKED] + 3.0}) for window in calm]
    outlier, both = ([_with_outlier(window) for window in side] for side in (calm, moved))
    start = MONDAY + sizes.past * HOUR
    named = [[judge(learned, sketch(one, columns, start)).shifted for one in side] for side in (calm, outlier)]
    found = [[judge(learned, sketch(one, columns, start)).shifted for one in side] for side in (moved, both)]
    before = made(random, plan(random, np.array([REFERENCE_ROWS]))).frame[[ASKED]]
    few = slice(sizes.compared)
    theirs = [
        float(rivals.evidently([one[[ASKED]] for one in side[few]], before, method).mean())
        for side, method in ((outlier, "psi"), (outlier, "wasserstein"), (both, "psi"))
    ]
    alarm, with_outlier = (float(np.mean([bool(names) for names in side])) for side in named)
    seen, beside_outlier = (float(np.mean([ASKED in names for names in side])) for side in found)
    counts = len(calm), sizes.large, len(calm[few])
    return Edges(*counts, tiny, floorless, alarm, with_outlier, seen, beside_outlier, *theirs)


def speed(sizes: Sizes, seed: int) -> Speed:
    """A past of hourly windows of 200 rows, then one window of very many."""
    random = np.random.default_rng((seed, 5))
    columns, learned = _learned(random, sizes, 200)
    window = pd.concat([made(random, plan(random, np.array([sizes.speed // 10]))).frame for _ in range(10)])
    window = window.reset_index(drop=True)
    predictions = pd.Series(np.arange(len(window)) // 10).astype(str)
    started = time.perf_counter()
    judge(learned, sketch(window, columns, 0.0, predictions))
    seconds = time.perf_counter() - started
    return Speed(len(window), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _flags(learned: Reference, windows: Sketches) -> Flags:
    """Windows × columns: which shifted, as `judge` says of one window."""
    return np.asarray(learned.evidence(windows).columns > learned.tail.threshold)


def _interval(shares: Floats) -> tuple[float, float]:
    """Of the mean, by Student's t; from 0 to 1 where one world is all there is."""
    if len(shares) < 2:
        return 0.0, 1.0
    off = float(t.ppf(0.975, len(shares) - 1) * shares.std(ddof=1) / np.sqrt(len(shares)))
    return max(float(shares.mean()) - off, 0.0), min(float(shares.mean()) + off, 1.0)


def _a_midnight(sizes: Sizes) -> int:
    """The rows of each past midnight that make up the reference of the defaults."""
    return -(-REFERENCE_ROWS * DAY_OF_HOURS // sizes.past)


def _tiny(random: np.random.Generator, sizes: Sizes) -> tuple[float, float]:
    """A past of some 2,000 rows an hour; the share of very large windows that alarm, with and without the floor."""
    columns, past = _counted(random, plan(random, traffic(random, sizes.past, sizes.many / 100)))
    large = plan(random, np.full(sizes.large, sizes.many), first=sizes.past)
    windows = joined([_sketches(columns, random, large[place : place + 1], 0.02) for place in range(sizes.large)])
    found = []
    for rules in (Rules(), Rules(floor=0.0)):
        found.append(float(_flags(reference(columns, past, rules), windows).any(axis=1).mean()))
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


def _with_outlier(window: pd.DataFrame) -> pd.DataFrame:
    values: Floats = window[ASKED].to_numpy()
    return window.assign(**{ASKED: np.append(values[:-1], 1e12)})


BENCHMARK = Benchmark(run, picture)

if __name__ == "__main__":
    typer.run(main)
