"""The figures of the data-drift benchmark, and the tables that show them."""

from dataclasses import dataclass

from rich.table import Table

from benchmarks.monitoring.data_drift_comparators import Found

TARGETS = {200: 0.5, 500: 0.3, 2_000: 0.2}  # rows a window: shift in σ, to be found 9 times in 10
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
    """Of windows in which one column of 20 had shifted: in how many it was named, and it alone."""

    found: float
    rightly: float  # of those with an alarm, the share in which the shifted column and no other is named
    kinds: dict[str, float]  # found, by kind of column
    possible: float  # found of the autocorrelated ones by a test that is told their true spread


@dataclass(frozen=True)
class Edges:
    """Shares of windows with an alarm (with the column named, where one was shifted)."""

    tiny_shift: float  # 0.02σ, 200,000 rows, every column
    tiny_shift_without_floor: float
    outlier_alone: float  # 1e12, 200 rows
    outlier_and_shift: float  # … beside a shift of 1σ
    outlier_alone_psi: float
    outlier_alone_wasserstein: float
    outlier_and_shift_psi: float


EDGES = {
    "tiny_shift": "0.02σ in every column, 200,000 rows: alarms",
    "tiny_shift_without_floor": "… without the floor of effects",
    "outlier_alone": "one value of 1e12 in 200: alarms",
    "outlier_alone_wasserstein": "… Evidently with Wasserstein: flagged",
    "outlier_alone_psi": "… Evidently with PSI: flagged",
    "outlier_and_shift": "the same beside a shift of 1σ: named",
    "outlier_and_shift_psi": "… Evidently with PSI: flagged",
}


@dataclass(frozen=True)
class Speed:
    """One judgement of a window of so many rows × 20 columns."""

    rows: int
    seconds: float
    peak_mb: float  # of the whole process, the window in it


def alarm_table(found: dict[str, Alarms]) -> Table:
    table = _table("Nothing changes: dataset alarms (at most 1 in 90 days)", "windows", "alarms", "in 90 days", "95%")
    for name, one in found.items():
        interval = f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(name, f"{one.windows:,}", str(one.alarms), f"{one.in_90_days:.2f}", interval)
    return table


def power_table(found: dict[int, Power]) -> Table:
    table = _table("One column in 20 shifted: found", *(f"{by}σ, n = {rows:,}" for rows, by in TARGETS.items()))
    table.add_row("any column", *(f"{one.found:.1%}" for one in found.values()))
    table.add_row("named, and no other", *(f"{one.rightly:.1%}" for one in found.values()))
    for kind in next(iter(found.values())).kinds:
        table.add_row(f"  {kind}", *(f"{one.kinds[kind]:.1%}" for one in found.values()))
    table.add_row("  … knowing its spread", *(f"{one.possible:.1%}" for one in found.values()))
    return table


def compared_table(found: dict[int, dict[str, Found]]) -> Table:
    table = _table("Usual defaults", "rows", "dataset alarms", "columns flagged", f"{ASKED} flagged")
    for rows, one in found.items():
        for name, flagged in one.items():
            figures = (f"{share:.0%}" for share in (flagged.alarms, flagged.columns, flagged.named))
            table.add_row(name, f"{rows:,}", *figures)
    return table


def edge_table(found: Edges) -> Table:
    table = _table("At the edges", "share of windows")
    for field, name in EDGES.items():
        table.add_row(name, f"{getattr(found, field):.0%}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table
