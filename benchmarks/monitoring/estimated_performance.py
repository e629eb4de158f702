"""How near does estimated performance come to what the labels show?

`python -m benchmarks.monitoring.estimated_performance` prints the table, in some minutes on one core. Windows of two
worlds whose data shift by degrees, each estimated without its labels and then held against them: mean absolute errors
of the log loss beside those of the dummy ("performance stays as it was on the hold-out"), of plain confidence-based
estimation (CBPE: the same kind of curve, unweighted), and of an oracle that knows the probabilities of the labels and
errs by their chance alone; and how often the labels' figures fell inside the interval.
The last scenarios change the concept: no estimate without labels can see that. Every synthetic window has a hold-out of
its own; of ad_click's windows, four in turn share a world, its champion and its hold-out.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from rich.console import Console
from sklearn.linear_model import LogisticRegression

import systems
from benchmarks.monitoring.estimated_figures import BLINDS, Found, picture, scored, table_of
from benchmarks.monitoring.measured import SEED, Benchmark, Show
from benchmarks.monitoring.measured import Figures as KeptFigures
from contracts.system import Floats, Matrix
from contracts.world import Drift
from monitoring.calibration_curve import Curve, Labelled, fitted
from monitoring.estimated import BLIND, Figures, Reference, Rules, ServedRows, estimate
from tests.conformance.sample import END, Sample, columns_of, features_of

SHARED, OWN, ALIKE = 5, 5, 4  # features that rows of a prediction share, others, and rows of a prediction
SHIFTS = (0.0, 0.5, 1.0, 1.5)  # standard deviations, of two features of ten
BEYOND = 6.0  # where no row of the hold-out is
STRENGTHS = (0.0, 0.5, 1.0)  # of ad_click's data drift
DAYS = 10


@dataclass(frozen=True)
class Size:
    """How much is measured: windows of a scenario, and rows of a hold-out and of a window."""

    windows: int
    holdout: int
    window: int
    history: int  # ad_click's rows, of which the newest 15% are the hold-out
    resamples: int
    blind: int = 4  # windows of a scenario that no estimate can say anything of


FULL, QUICK = Size(20, 10_000, 4_000, 200_000, 200), Size(2, 10_000, 2_000, 20_000, 60, blind=1)
IN_A_WORLD = 4  # windows of ad_click


@dataclass(frozen=True)
class Case:
    """A window with its labels and their true probabilities, and the hold-out that it is estimated from."""

    reference: Reference
    window: ServedRows
    labels: Floats
    truth: Floats


Scenario = Callable[[Size, int], Iterator[Case]]


def main(quick: bool = False, seed: int = SEED) -> None:
    """Print the table: some minutes on one core; `--quick` takes seconds and says little."""
    run(quick, seed, Console(width=190).print)


def run(quick: bool, seed: int, show: Show) -> KeptFigures:
    """The table, when all of it is done."""
    size, found = QUICK if quick else FULL, {}
    for name, scenario in scenarios().items():
        own = replace(size, windows=size.blind) if name.endswith(BLINDS) else size
        found[name] = scored([measured(case, own, seed) for case in scenario(own, seed)])
    show(table_of(found))
    show(BLIND)
    return {name: asdict(one) for name, one in found.items()}


def scenarios() -> dict[str, Scenario]:
    """What is measured, by name."""
    found: dict[str, Scenario] = {f"synthetic, shift {s}σ": partial(synthetic, s, 0.0) for s in SHIFTS}
    found["synthetic, beyond support"] = partial(synthetic, BEYOND, 0.0)
    found |= {f"ad_click, data drift {s}": partial(ad_click, Drift("data", END, s)) for s in STRENGTHS}
    found["synthetic, concept drift"] = partial(synthetic, 0.0, 1.0)
    found["ad_click, concept drift"] = partial(ad_click, Drift("concept", END, 1.0))
    return found


def measured(case: Case, size: Size, seed: int) -> Found:
    """All estimators on one window."""
    figures = Figures(case.window)
    started = time.process_time()
    ours = estimate(case.reference, case.window, Rules(resamples=size.resamples), seed)
    seconds = time.process_time() - started
    by_name = {
        "as on the hold-out": Figures(case.reference.rows).of(case.reference.labels),
        "CBPE": figures.of(_unweighted(case.reference).probabilities(case.window.scores)),
        "ours": {name: interval.value for name, interval in ours.metrics.items()},
        "oracle": figures.of(case.truth),
    }
    return Found(figures.of(case.labels), by_name, ours, seconds)


def _unweighted(reference: Reference) -> Curve:
    """The hold-out's curve as it is."""
    rows = reference.rows
    return fitted(Labelled(reference.labels, rows.scores, rows.groups), rows.weights)


def synthetic(shift: float, concept: float, size: Size, seed: int) -> Iterator[Case]:
    """Windows whose features 0 and 5 lie `shift` higher; a logistic regression, blind to what crosses them and to what
    bends, serves. Each has a hold-out of its own, so that the intervals have the hold-out's chance to cover."""
    random = np.random.default_rng(seed)
    features, truth = drawn(random, 10 * size.holdout, 0.0, 0.0)
    champion = LogisticRegression().fit(features, random.random(len(truth)) < truth)
    for _ in range(size.windows):
        sides = [drawn(random, size.holdout, 0.0, 0.0), drawn(random, size.window, shift, concept)]
        labels = [(random.random(len(chance)) < chance).astype(np.float64) for _, chance in sides]
        served = [rows_of(x, champion.predict_proba(x)[:, 1], np.arange(len(x)) // ALIKE) for x, _ in sides]
        yield Case(Reference(served[0], labels[0]), served[1], labels[1], sides[1][1])


def drawn(random: np.random.Generator, rows: int, shift: float, concept: float) -> tuple[Matrix, Floats]:
    """Features, and the true probability of each row's label; `concept` turns what its first feature means."""
    shared = np.repeat(random.normal(size=(-(-rows // ALIKE), SHARED)), ALIKE, axis=0)[:rows]
    x = np.hstack([shared, random.normal(size=(rows, OWN))])
    x[:, [0, SHARED]] += shift
    odds = -1.6 + 0.7 * (1 - 2 * concept) * x[:, 0] + 0.5 * x[:, 5] + 0.5 * x[:, 0] * x[:, 5]
    odds += 0.5 * np.maximum(x[:, 1], 0) ** 1.5 - 0.4 * x[:, 6] + 0.3 * x[:, 2] * x[:, 7]
    return x.astype(np.float32), 1 / (1 + np.exp(-odds))


def rows_of(features: Matrix, scores: Floats, predictions: NDArray[Any]) -> ServedRows:
    """Rows that each stand for themselves."""
    return ServedRows(features, np.asarray(scores, np.float64), predictions.astype(object), np.ones(len(scores)))


def ad_click(drift: Drift, size: Size, seed: int) -> Iterator[Case]:
    """Windows of ad_click's world in the days after the drift, with the champion trained on the days before it. Every
    few windows have a world of their own, with its champion and hold-out."""
    for part in range(-(-size.windows // IN_A_WORLD)):
        yield from _windows(drift, min(IN_A_WORLD, size.windows - IN_A_WORLD * part), size, seed + part)


def _windows(drift: Drift, count: int, size: Size, seed: int) -> Iterator[Case]:
    system, sample = systems.load("ad_click"), _sample(size.history, seed)
    world = system.world(seed, drift)
    later = pd.concat(world.history(END, END + timedelta(days=2), count * size.window), ignore_index=True)
    features = features_of(system, pd.concat([sample.history, later], ignore_index=True), later)
    held, scored = sample.features[sample.cut :], sample.estimator.predict_proba
    shown = sample.rows["at"].to_numpy()[sample.cut :]  # the ads of one answer were shown at the same moment
    reference = Reference(rows_of(held, scored(held)[:, 1], shown), sample.labels[sample.cut :])
    served = rows_of(features, scored(features)[:, 1], later["at"].to_numpy())
    labels, truth = later[system.task.target].to_numpy(np.float64), world.truth(columns_of(later))
    for first in range(0, len(labels), size.window):
        mine = slice(first, first + size.window)
        yield Case(reference, taken(served, mine), labels[mine], truth[mine])


@cache
def _sample(rows: int, seed: int) -> Sample:
    """The days before the drift, which are alike whatever drifts after them."""
    system, start = systems.load("ad_click"), END - timedelta(days=DAYS)
    world = system.world(seed)
    return Sample(system, world, start, pd.concat(world.history(start, END, rows), ignore_index=True))


def taken(rows: ServedRows, mine: slice) -> ServedRows:
    """Some of the rows."""
    return replace(
        rows,
        features=rows.features[mine],
        scores=rows.scores[mine],
        predictions=rows.predictions[mine],
        weights=rows.weights[mine],
    )


BENCHMARK = Benchmark(run, picture)

if __name__ == "__main__":
    typer.run(main)
