"""The figures of the data-drift benchmark, the tables that show them, and the plot."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.monitoring.data_drift_comparators import Found
from benchmarks.monitoring.measured import Figures

TARGETS = {200: 0.5, 500: 0.3, 2_000: 0.2}  # rows a window: shift in σ, to be found 9 times in 10
MOST_ALARMS, LEAST_FOUND = 1.0, 0.9  # false alarms in 90 days; found
ASKED = "normal 0"  # the column that shifts where one does


@dataclass(frozen=True)
class Alarms:
    """Dataset alarms among windows in which nothing had changed, in 90 days, with an interval of 95%."""

    windows: int
    alarms: int
    in_90_days: float
    low: float
    high: float


@dataclass(frozen=True)
class Power:
    """Of windows in which one column of 20 had shifted: in how many it was named, and it alone.

    The interval of `found` is of 95%, by Student's t over worlds with histories of their own."""

    windows: int  # each with every column in its turn
    found: float
    low: float
    high: float
    rightly: float  # of those with an alarm, the share in which the shifted column and no other is named
    kinds: Mapping[str, float]  # found, by kind of column
    possible: float  # found of the autocorrelated ones by a test that is told their true spread


@dataclass(frozen=True)
class Edges:
    """Shares of windows with an alarm (with the column named, where one was shifted)."""

    windows: int
    tiny_windows: int
    rival_windows: int
    tiny_shift: float  # 0.02σ, 200,000 rows, every column
    tiny_shift_without_floor: float
    calm: float  # the same windows as below, as they were
    outlier_alone: float  # 1e12, 200 rows
    shift: float  # of 1σ
    outlier_and_shift: float
    outlier_alone_psi: float
    outlier_alone_wasserstein: float
    outlier_and_shift_psi: float


EDGES = {
    "tiny_shift": "0.02σ in every column, 200,000 rows: alarms",
    "tiny_shift_without_floor": "… without the floor of effects",
    "calm": "200 rows: alarms",
    "outlier_alone": "… one of them 1e12: alarms",
    "outlier_alone_wasserstein": "… Evidently with Wasserstein: flagged",
    "outlier_alone_psi": "… Evidently with PSI: flagged",
    "shift": "200 rows, a shift of 1σ: named",
    "outlier_and_shift": "… one of them 1e12: named",
    "outlier_and_shift_psi": "… Evidently with PSI: flagged",
}


@dataclass(frozen=True)
class Speed:
    """One judgement of a window of so many rows × 20 columns."""

    rows: int
    seconds: float
    peak_mb: float  # of the whole process, the window in it


def alarm_table(found: Mapping[str, Alarms]) -> Table:
    table = _table("Nothing changes: dataset alarms (at most 1 in 90 days)", "windows", "alarms", "in 90 days", "95%")
    for name, one in found.items():
        interval = f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(name, f"{one.windows:,}", str(one.alarms), f"{one.in_90_days:.2f}", interval)
    return table


def power_table(found: Mapping[int, Power]) -> Table:
    table = _table("One column in 20 shifted: found", *(f"{by}σ, n = {rows:,}" for rows, by in TARGETS.items()))
    table.add_row("any column", *(f"{one.found:.1%} ({one.low:.1%} to {one.high:.1%})" for one in found.values()))
    table.add_row("named, and no other", *(f"{one.rightly:.1%}" for one in found.values()))
    for kind in next(iter(found.values())).kinds:
        table.add_row(f"  {kind}", *(f"{one.kinds[kind]:.1%}" for one in found.values()))
    table.add_row("  … knowing its spread", *(f"{one.possible:.1%}" for one in found.values()))
    return table


def compared_table(found: Mapping[int, Mapping[str, Found]]) -> Table:
    names = ("rows", "windows", "false alarms", "columns flagged for nothing", "alarms at a shift", "found", "it alone")
    table = _table("The usual defaults, on the same windows", *names)
    for rows, one in found.items():
        for name, of in one.items():
            figures = (f"{share:.1%}" for share in (of.alarms, of.columns, of.raised, of.found, of.alone))
            table.add_row(name, f"{rows:,}", str(of.windows), *figures)
    return table


def edge_table(found: Edges) -> Table:
    table = _table("At the edges", "share of windows")
    for field, name in EDGES.items():
        table.add_row(name, f"{getattr(found, field):.1%}")
    return table


def picture(figures: Figures) -> Figure:
    """False alarms with their intervals; what is found, by kind of column; and how often the usual defaults alarm where
    nothing has changed. Grey lines are what is asked."""
    alarms = {name: Alarms(**one) for name, one in figures["alarms"].items()}
    power = {int(rows): Power(**one) for rows, one in figures["power"].items()}
    compared = {
        int(rows): {name: Found(**one) for name, one in by_name.items()}
        for rows, by_name in figures["compared"].items()
    }
    figure = Figure(figsize=(13, 4), layout="constrained")
    steady, found, rivals = figure.subplots(1, 3, width_ratios=(3, 4, 3))
    for place, one in enumerate(alarms.values()):
        steady.plot([one.low, one.high], [place, place], marker="|", color="C1")
        steady.plot(one.in_90_days, place, marker="o", color="C1")
    steady.set_yticks(range(len(alarms)), list(alarms))
    steady.set(xlabel="alarms in 90 days without a change (95%)", xlim=(0, None))
    steady.axvline(MOST_ALARMS, color="grey", linewidth=0.5)
    kinds, methods = list(next(iter(power.values())).kinds), list(next(iter(compared.values())))
    for mark, rows in zip("os^", power, strict=True):
        shares = [power[rows].kinds[kind] for kind in kinds]
        found.plot(shares, range(len(kinds)), mark, label=f"{TARGETS[rows]}σ, n = {rows:,}", alpha=0.7)
        rivals.plot([compared[rows][name].alarms for name in methods], range(len(methods)), mark, alpha=0.7)
    found.axvline(LEAST_FOUND, color="grey", linewidth=0.5)
    found.set_yticks(range(len(kinds)), kinds)
    found.set(xlabel="shifted column found by ours", xlim=(0, 1.05))
    rivals.set_yticks(range(len(methods)), methods)
    rivals.set(xlabel="windows that alarm, nothing changed", xlim=(-0.05, 1.05))
    figure.legend(loc="outside upper right", ncols=len(power))
    for axes in (steady, found, rivals):
        axes.invert_yaxis()
    return figure


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table
