"""How near does estimated performance come to what the labels show?

`python -m benchmarks.monitoring.estimated_performance` prints the table, in some minutes on one core. Windows of two
worlds whose data shift by degrees, each estimated without its labels and then held against them: mean absolute errors
of the log loss beside those of the dummy ("performance stays as it was on the hold-out"), of plain confidence-based
estimation (CBPE: the same kind of curve, unweighted), of the fully weighted one (PAPE), and of an oracle that knows the
probabilities of the labels and errs by their chance alone; and how often the labels' figures fell inside the interval.
The last scenarios change the concept: no estimate without labels can see that.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

import systems
from contracts.system import Floats, Matrix
from contracts.world import Drift
from monitoring.calibration_curve import Curve, Labelled, fitted
from monitoring.density_ratio import density_ratios
from monitoring.estimated import BLIND, METRICS, Estimate, Figures, Reference, Rules, ServedRows, estimate
from tests.conformance.sample import END, Sample, columns_of, features_of

SHARED, OWN, ALIKE = 5, 5, 4  # features that rows of a prediction share, others, and rows of a prediction
SHIFTS = (0.0, 0.5, 1.0, 1.5)  # standard deviations, of two features of ten
BEYOND = 6.0  # where no row of the hold-out is
STRENGTHS = (0.0, 0.5, 1.0)  # of ad_click's data drift
DAYS = 10
NAMES = ("as on the hold-out", "CBPE", "PAPE", "ours", "oracle")


@dataclass(frozen=True)
class Size:
    """How much is measured: windows of a scenario, and rows of a hold-out and of a window."""

    windows: int
    holdout: int
    window: int
    history: int  # ad_click's rows, of which the newest 15% are the hold-out
    resamples: int


FULL, QUICK = Size(40, 10_000, 4_000, 200_000, 200), Size(3, 10_000, 2_000, 20_000, 60)


@dataclass(frozen=True)
class Case:
    """A window with its labels and their true probabilities, and the hold-out that it is estimated from."""

    reference: Reference
    window: ServedRows
    labels: Floats
    truth: Floats


@dataclass(frozen=True)
class Found:
    """One window's figures: realised, and by each estimator's name; and ours with its intervals and its time."""

    realised: dict[str, float]
    by_name: dict[str, dict[str, float]]
    ours: Estimate
    seconds: float

    def inside(self) -> list[bool]:
        """Of each metric, whether the labels' figure lies in our interval."""
        return [self.ours.metrics[m].low <= self.realised[m] <= self.ours.metrics[m].high for m in METRICS]


Scenario = Callable[[Size, int], Iterator[Case]]


def main(quick: bool = False, seed: int = 7) -> None:
    """Print the table: some minutes on one core; `--quick` takes seconds and says little."""
    size = QUICK if quick else FULL
    table = Table(title=f"Log loss estimated without labels, {size.windows} windows a scenario; nominal coverage 95%")
    for name in ("scenario", "realised", *(f"MAE {n}" for n in NAMES), "our mean"):
        table.add_column(name, justify="right" if name != "scenario" else "left")
    for name in ("covers log loss", "covers all", "refused", "s a window"):
        table.add_column(name, justify="right")
    for name, scenario in scenarios().items():
        table.add_row(name, *cells([measured(case, size, seed) for case in scenario(size, seed)]))
    Console(width=190).print(table, BLIND)


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
        "CBPE": figures.of(_curve(case, None).probabilities(case.window.scores)),
        "PAPE": figures.of(_curve(case, seed).probabilities(case.window.scores)),
        "ours": {name: interval.value for name, interval in ours.metrics.items()},
        "oracle": figures.of(case.truth),
    }
    return Found(figures.of(case.labels), by_name, ours, seconds)


def cells(found: list[Found]) -> list[str]:
    """A scenario's figures in the table's order; the windows that ours refuses count for none of the estimators."""
    seconds, refused = np.mean([f.seconds for f in found]), [f for f in found if f.ours.refusal]
    judged = [f for f in found if not f.ours.refusal]
    if not judged:
        return [*[""] * 9, f"{len(refused)} of {len(found)}", f"{seconds:.2f}"]
    real = np.array([f.realised["log_loss"] for f in judged])
    values = {name: np.array([f.by_name[name]["log_loss"] for f in judged]) for name in NAMES}
    inside = np.array([f.inside() for f in judged])
    return [
        f"{real.mean():.4f}",
        *(f"{np.abs(values[name] - real).mean():.4f}" for name in NAMES),
        f"{values['ours'].mean():.4f}",
        f"{inside[:, 0].mean():.1%}",
        f"{inside.mean():.1%}",
        f"{len(refused)} of {len(found)}",
        f"{seconds:.2f}",
    ]


def _curve(case: Case, seed: int | None) -> Curve:
    """The hold-out's curve: plain, or with a seed weighed like the window."""
    rows, groups = case.reference.rows, case.reference.rows.groups
    weights = rows.weights
    if seed is not None:
        weights = weights * density_ratios(rows.features, case.window.features, (groups, case.window.groups), seed)[0]
    return fitted(Labelled(case.reference.labels, rows.scores, groups), weights)


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
    eight windows have a world of their own, with its champion and hold-out."""
    for part in range(-(-size.windows // 8)):
        yield from _windows(drift, min(8, size.windows - 8 * part), size, seed + part)


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


if __name__ == "__main__":
    typer.run(main)
