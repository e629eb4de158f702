"""What is measured of a detector, with its uncertainty, and how it is printed and kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table
from scipy.stats import binom, chi2

from contracts.system import Floats


@dataclass(frozen=True)
class RunLength:
    """False alarms in so many labels. The interval is the exact one of a Poisson count (Garwood, 1936)."""

    alarms: int
    labels: int

    @property
    def mean(self) -> float:
        return self.labels / self.alarms if self.alarms else math.inf

    @property
    def interval(self) -> tuple[float, float]:
        most = chi2.ppf(0.975, 2 * self.alarms + 2) / 2
        least = chi2.ppf(0.025, 2 * self.alarms) / 2 if self.alarms else 0.0
        return float(self.labels / most), float(self.labels / least) if least else math.inf


@dataclass(frozen=True)
class Delays:
    """Labels from the change to the alarm, one a stream, infinite where there was none."""

    labels: Floats

    def quantile(self, level: float) -> tuple[float, float, float]:
        """The quantile, and a 95% interval of it between two of the sorted delays (Conover, 1999, section 3.2)."""
        ordered, count = np.sort(self.labels), len(self.labels)
        places = [math.ceil(level * count) - 1, *(int(binom.ppf(end, count, level)) for end in (0.025, 0.975))]
        middle, low, high = ordered[np.clip(places, 0, count - 1)]
        return float(middle), float(low), float(high)

    @property
    def found(self) -> float:
        return float(np.isfinite(self.labels).mean())


@dataclass(frozen=True)
class Row:
    """One detector under one condition. `unit` is how many labels make one of what the table counts in."""

    name: str
    run: RunLength | float  # a number is one that holds by construction
    delays: Delays
    unit: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        run = self.run
        measured = {"alarms": run.alarms, "labels": run.labels} if isinstance(run, RunLength) else {}
        low, high = run.interval if isinstance(run, RunLength) else (run, run)
        mean = run.mean if isinstance(run, RunLength) else run
        median, late = self.delays.quantile(0.5), self.delays.quantile(0.95)
        return {
            "name": self.name,
            **measured,
            "run_length": _finite(mean / self.unit),
            "run_length_interval": [_finite(low / self.unit), _finite(high / self.unit)],
            "median": _finite(median[0] / self.unit),
            "median_interval": [_finite(end / self.unit) for end in median[1:]],
            "p95": _finite(late[0] / self.unit),
            "p95_interval": [_finite(end / self.unit) for end in late[1:]],
            "found": self.delays.found,
        }


def table_of(title: str, unit: str, rows: Sequence[Row]) -> Table:
    """The rows as they are printed."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in (f"{unit} between false alarms", "median to the alarm", "95th percentile", "found"):
        table.add_column(name, justify="right")
    for kept in (row.as_dict() for row in rows):
        figures = (("run_length", "run_length_interval"), ("median", "median_interval"), ("p95", "p95_interval"))
        cells = (cell(kept[value], kept[interval]) for value, interval in figures)
        table.add_row(kept["name"], *cells, f"{kept['found']:.1%}")
    return table


def cell(value: float | None, interval: list[float | None]) -> str:
    """A figure with its interval; None is infinite."""
    low, high = interval
    if value is None:
        return "never" if low is None else f"none seen, ≥ {low:,.0f}"
    if low == high == value:
        return f"{value:,.0f}"
    return f"{value:,.0f} ({_end(low)} to {_end(high)})"


def _end(value: float | None) -> str:
    return "∞" if value is None else f"{value:,.0f}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
