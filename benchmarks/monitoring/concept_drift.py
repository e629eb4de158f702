"""How soon is a worse model found, at how many false alarms? `python -m benchmarks.monitoring.concept_drift`

The error of a model goes from 10% to 20%. What is normal each stream learns from a hold-out of its own, of 20,000
rows: its upper bound at 99%, and half a percentage point. All figures come with a 95% interval. A few minutes on one
core; `--quick` shows the same tables within seconds, and their figures mean nothing.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.monitoring import concept_drift_comparators as comparators
from benchmarks.monitoring import concept_drift_late as late
from benchmarks.monitoring.concept_drift_rows import Row, table_of
from benchmarks.monitoring.concept_drift_streams import (
    AFTER,
    FULL,
    QUICK,
    Change,
    Draw,
    Size,
    Watched,
    bounds_of,
    delays,
    errors,
    labelled_share,
    over_the_day,
    pages,
    run_length,
    selected,
    unweighted,
)
from benchmarks.monitoring.measured import SEED, Benchmark, Figures, Show
from contracts.system import Floats
from monitoring.concept_drift.bound import upper_bound
from monitoring.concept_drift.detector import RUN_LENGTH, Rules, start, update

NORMAL, CHANGED, HOLDOUT, MARGIN = 0.1, 0.2, 20_000, 0.005
SOON, OFTEN, PAGE = Change(NORMAL, CHANGED, 1_000), Change(0.3, 0.4, 1_000), 10
LATER = Change(NORMAL, CHANGED, 20_000)
MOST_LABELS = (450, 700)  # what is asked: the median, and the 95th percentile
AtRate = Callable[[float | Floats], Draw]
ANY = Rules(bound=0.5)  # the streams have bounds of their own
LOWERED = (2_000.0, 3_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0, 100_000.0)


@dataclass(frozen=True)
class Part:
    """One table of what was measured."""

    key: str
    title: str
    unit: str
    rows: list[Row]


def main(quick: bool = False, seed: int = SEED) -> None:
    """Print the tables."""
    run(quick, seed, Console(width=180).print)


def run(quick: bool, seed: int, show: Show) -> Figures:
    """Every table, as it is done."""
    kept: dict[str, Any] = {}
    for part in measured(QUICK if quick else FULL, seed):
        show(table_of(part.title, part.unit, part.rows))
        kept[part.key] = [row.as_dict() for row in part.rows]
    seconds, size = cost(20_000 if quick else 1_000_000)
    show(f"Judging 1,000,000 labels takes {seconds:.2f} s; the state is {size} bytes of JSON.")
    return {**kept, "cost": {"seconds": seconds, "bytes": size}}


def measured(size: Size, seed: int) -> Iterator[Part]:
    """Every table, as it is done."""
    watched = Watched(ANY, bounds_of(errors(NORMAL), HOLDOUT, size, seed, MARGIN))
    chosen = comparators.settings(NORMAL, RUN_LENGTH, size, seed)
    edge = "false alarms counted where the error is at the bound"
    change = "the error goes from 10% to 20%, after {:,} labels"
    rows = [*ours(SOON, watched, size, seed), *comparators.rows(chosen, SOON, size, seed)]
    rows += comparators.dummies(size.streams, seed)
    yield Part("detectors", change.format(1_000), "labels", rows)
    rows = [_row("e-CUSUM", _pair(LATER), watched, size, seed, LATER.before)]
    yield Part("later", change.format(20_000), "labels", [*rows, *comparators.rows(chosen, LATER, size, seed)])
    usual = Watched(ANY, bounds_of(errors(OFTEN.normal), HOLDOUT, size, seed, MARGIN))
    rows = [_row("e-CUSUM", _pair(OFTEN), usual, size, seed), *comparators.rows(chosen, OFTEN, size, seed)]
    yield Part("often", "the same settings where 30% is normal, and goes to 40%", "labels", rows)
    yield Part("normal", "e-CUSUM: what it is told is normal, and what is", "labels", normals(watched, size, seed))
    yield Part(
        "selective", f"e-CUSUM: labels for some predictions only; {edge}", "labels", selective(watched, size, seed)
    )
    few = Watched(ANY, watched.bounds[: max(size.streams // 8, 1)])
    rows = late.rows(Change(NORMAL, CHANGED, 3_000), few, size.labels // 20, seed)
    title = "e-CUSUM: labels that come late, one prediction a tick, 8,000 ticks a stream"
    yield Part("late", title, "ticks", rows)
    yield Part("pages", f"e-CUSUM: pages of 10 rows that are alike; {edge}", "pages", of_pages(size, seed))


def ours(change: Change, watched: Watched, size: Size, seed: int) -> list[Row]:
    """The detector as it is used; at the very edge of normal; without its proof; and told what will change."""
    draws, at_bound = _pair(change), errors(watched.bounds)
    lowered = Watched(_lowered(watched.bounds, size, seed + 1), watched.bounds)
    told = Rules(change.normal, rates=((change.changed - change.normal) / (1 - change.normal),))
    return [
        _row("e-CUSUM (100,000 proved)", draws, watched, size, seed),
        Row(
            "… where the error is at its bound until it changes",
            run_length(at_bound, watched, size.labels, seed),
            delays((at_bound, draws[1]), watched, change.before, seed),
        ),
        Row(
            f"… its threshold lowered to {lowered.rules.run_length:,.0f}, without proof, at the bound",
            run_length(at_bound, lowered, size.labels // 10, seed),
            delays((at_bound, draws[1]), lowered, change.before, seed),
        ),
        _row(
            "Page's CUSUM, told both rates beforehand",
            draws,
            Watched(told, np.full(size.streams, change.normal)),
            size,
            seed,
        ),
    ]


def _lowered(bounds: Floats, size: Size, seed: int) -> Rules:
    """The least threshold of a few at which so long a run length is still measured: proofs have room to spare."""
    for threshold in LOWERED:
        rules = Rules(ANY.bound, threshold)
        if run_length(errors(bounds), Watched(rules, bounds), size.labels // 10, seed).mean >= RUN_LENGTH:
            break
    return rules


def normals(watched: Watched, size: Size, seed: int) -> list[Row]:
    """Hold-outs of several sizes, and swings over a day: past the bound at their peaks, where nothing is promised."""
    rows = []
    for count in (2_000, 5_000, 20_000, 100_000):
        own = Watched(ANY, bounds_of(errors(NORMAL), count, size, seed, MARGIN))
        name = f"hold-out of {count:,} rows, bound {own.bounds.mean():.4f}"
        rows.append(_row(name, _pair(SOON), own, size, seed))
    exact = Watched(ANY, np.full(size.streams, NORMAL))
    rows.append(_row("told the very rate, no hold-out and no margin", _pair(SOON), exact, size, seed))
    for low, high in ((0.09, 0.11), (0.08, 0.12), (0.06, 0.14)):
        draws = over_the_day(low, high, 2_400), errors(CHANGED)
        rows.append(_row(f"swinging from {low:.0%} to {high:.0%} over 2,400 labels", draws, watched, size, seed))
    return rows


def selective(watched: Watched, size: Size, seed: int) -> list[Row]:
    """Labels at random, for the hard predictions above all, or for the easy ones, weighed and not."""
    name = "one in ten, at random (10 predictions a label)"
    rows = [_at_bound(name, errors, watched, size, seed)]
    for name, hard, easy in (("hard, one in ten easy", 1, 0.1), ("easy, one in ten hard", 0.1, 1)):
        labels = partial(selected, hard=hard, easy=easy)
        own = Watched(ANY, bounds_of(labels(NORMAL), HOLDOUT, size, seed, MARGIN))
        each = f"({1 / labelled_share(hard, easy):.1f} predictions a label)"
        rows.append(_at_bound(f"{name} {each}: weighed", labels, own, size, seed))
        rows.append(_at_bound("… not weighed (wrong)", partial(_unweighted, labels), watched, size, seed))
    return rows


def of_pages(size: Size, seed: int) -> list[Row]:
    """A page as one value, and its rows as if they were independent."""
    whole, single = (partial(pages, rows=PAGE, whole=kind) for kind in (True, False))
    watched = Watched(ANY, bounds_of(whole(NORMAL), HOLDOUT, size, seed, MARGIN))
    alike = _at_bound("row by row (wrong)", single, watched, size, seed)
    return [
        _at_bound("the mean of a page's rows", whole, watched, size, seed),
        Row(alike.name, alike.run, alike.delays, PAGE),
    ]


def _unweighted(labels: AtRate, rate: float | Floats) -> Draw:
    return unweighted(labels(rate))


def cost(labels: int) -> tuple[float, int]:
    """Processor seconds for a million labels, and the bytes that are kept."""
    wrong = (np.random.default_rng(0).random(labels) < NORMAL).astype(np.float64)
    state, started = start(Rules(upper_bound(wrong[:HOLDOUT], 0.99))), time.process_time()
    state = update(state, wrong)
    return (time.process_time() - started) * 1e6 / labels, len(state.dump())


def picture(figures: Figures) -> Figure:
    """A line a detector: how long it takes, and how long it keeps still; grey lines are what is asked of both.

    A 95th percentile past AFTER is drawn there; an arrow says at least."""
    rows = figures["detectors"]
    figure = Figure(figsize=(11, 0.35 * len(rows) + 1), layout="constrained")
    delay, run = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        if row["median"]:
            delay.plot([row["median"], row["p95"] or AFTER], [place, place], marker="|", color="C0")
        low, high = row["run_length_interval"]
        if low:
            run.plot([low, high or low], [place, place], marker="|" if high else ">", color="C1")
    delay.set(xscale="log", xlabel="labels to the alarm: median to 95th percentile")
    run.set(xscale="log", xlabel="labels between false alarms (95%)")
    delay.set_yticks(range(len(rows)), [row["name"] for row in rows])
    delay.invert_yaxis()
    for axes, asked in ((delay, MOST_LABELS), (run, (RUN_LENGTH,))):
        for value in asked:
            axes.axvline(value, color="grey", linewidth=0.5)
    return figure


def _pair(change: Change) -> tuple[Draw, Draw]:
    return errors(change.normal), errors(change.changed)


def _at_bound(name: str, draw: AtRate, watched: Watched, size: Size, seed: int) -> Row:
    """The false alarms of streams at their own bounds, the largest rates that are normal; the delays from 10%."""
    run = run_length(draw(watched.bounds), watched, size.labels // 10, seed)
    return Row(name, run, delays((draw(NORMAL), draw(CHANGED)), watched, SOON.before, seed))


def _row(
    name: str, draws: tuple[Draw, Draw], watched: Watched, size: Size, seed: int, before: int = SOON.before
) -> Row:
    run = run_length(draws[0], watched, size.labels // 10, seed)
    return Row(name, run, delays(draws, watched, before, seed))


BENCHMARK = Benchmark(run, picture)

if __name__ == "__main__":
    typer.run(main)
