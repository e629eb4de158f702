"""The figures of the benchmark of estimated performance, the table that shows them, and the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from scipy.stats import beta

from benchmarks.monitoring.measured import Figures
from monitoring.estimated import METRICS, Estimate

NAMES = ("as on the hold-out", "CBPE", "ours", "oracle")
BLINDS = ("beyond support", "concept drift")  # how the scenarios end that no estimate can say anything of


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


@dataclass(frozen=True)
class Scored:
    """A scenario's figures; the windows that ours refuses count for none of the estimators. Without judged windows the
    figures are None."""

    windows: int
    refused: int
    seconds: float  # a window
    realised: float | None = None  # the mean log loss
    estimated: float | None = None  # … as ours says it
    errors: Mapping[str, float] | None = None  # mean absolute, of the log loss, by estimator
    covered: Mapping[str, float] | None = None  # share of the windows, by metric
    covered_interval: tuple[float, float] | None = None  # of log loss, 95% (Clopper and Pearson, 1934)


def scored(found: Sequence[Found]) -> Scored:
    """A scenario's figures, of all its windows."""
    judged = [one for one in found if not one.ours.refusal]
    counts = Scored(len(found), len(found) - len(judged), float(np.mean([one.seconds for one in found])))
    if not judged:
        return counts
    real = np.array([one.realised["log_loss"] for one in judged])
    values = {name: np.array([one.by_name[name]["log_loss"] for one in judged]) for name in NAMES}
    inside = np.array([one.inside() for one in judged])
    return replace(
        counts,
        realised=float(real.mean()),
        estimated=float(values["ours"].mean()),
        errors={name: float(np.abs(value - real).mean()) for name, value in values.items()},
        covered=dict(zip(METRICS, (float(share) for share in inside.mean(axis=0)), strict=True)),
        covered_interval=_share_interval(int(inside[:, METRICS.index("log_loss")].sum()), len(judged)),
    )


def table_of(found: Mapping[str, Scored]) -> Table:
    """A row a scenario."""
    table = Table(title="Log loss estimated without labels; nominal coverage 95%", title_justify="left")
    for name in ("scenario", "realised", *(f"MAE {n}" for n in NAMES), "our mean"):
        table.add_column(name, justify="right" if name != "scenario" else "left")
    for name in ("covers log loss", "covers all", "refused", "s a window"):
        table.add_column(name, justify="right")
    for name, one in found.items():
        table.add_row(name, *cells(one))
    return table


def cells(one: Scored) -> list[str]:
    """A scenario's figures in the table's order."""
    counts = [f"{one.refused} of {one.windows}", f"{one.seconds:.2f}"]
    if one.errors is None or one.covered is None or one.covered_interval is None:
        return [*[""] * 8, *counts]
    low, high = one.covered_interval
    return [
        f"{one.realised:.4f}",
        *(f"{one.errors[name]:.4f}" for name in NAMES),
        f"{one.estimated:.4f}",
        f"{one.covered['log_loss']:.0%} ({low:.0%} to {high:.0%})",
        f"{np.mean(list(one.covered.values())):.0%}",
        *counts,
    ]


def picture(figures: Figures) -> Figure:
    """How often intervals hold what the labels show, and how far the estimates are off; grey is what is asked."""
    found = {name: Scored(**one) for name, one in figures.items()}
    judged = {name: one for name, one in found.items() if one.errors and one.covered and one.covered_interval}
    figure = Figure(figsize=(11, 0.35 * len(judged) + 1.2), layout="constrained")
    covers, errors = figure.subplots(1, 2, sharey=True)
    for place, one in enumerate(judged.values()):
        covers.plot(one.covered_interval, [place, place], marker="|", color="C0")
        covers.plot((one.covered or {})["log_loss"], place, marker="o", color="C0")
        for colour, (name, error) in enumerate((one.errors or {}).items()):
            errors.plot(error, place, marker="o", color=f"C{colour}", linestyle="", label="" if place else name)
    covers.axvline(0.95, color="grey", linewidth=0.5)
    covers.set(xlabel="windows whose log loss lies in its interval (95%)", xlim=(0, 1.02))
    covers.set_yticks(range(len(judged)), list(judged))
    covers.invert_yaxis()
    errors.set(xscale="log", xlabel="mean absolute error of the log loss")
    if judged:
        figure.legend(loc="outside upper right", ncols=len(NAMES))
    return figure


def _share_interval(times: int, of: int) -> tuple[float, float]:
    low = float(beta.ppf(0.025, times, of - times + 1)) if times else 0.0
    high = float(beta.ppf(0.975, times + 1, of - times)) if times < of else 1.0
    return low, high
