"""What the data-drift verdict is held against, on the very same windows: Evidently's defaults, one test a column at
0.05 without a correction (Kolmogorov-Smirnov, chi² for strings), and the population stability index above 0.2.

They are given a reference of past rows of the same hour of the day: kinder than their usual use, where every hour is
held against all hours and a daily cycle alone alarms.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp

from benchmarks.monitoring.columns import NAMES, Floats

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Evidently and what it stands on warn of their own deprecations at import
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

LEVEL, STABLE = 0.05, 0.2  # of a test; of the population stability index
BINS, NONE_SEEN = 10, 1e-4  # of that index, and the share that an empty bin is taken to have
HALF = 0.5  # of the columns: Evidently's default for "the dataset drifted"
REFERENCE_ROWS = 5_000
Flags = NDArray[np.bool_]  # windows × columns


@dataclass(frozen=True)
class Found:
    """Of windows in which nothing had changed, and of the same with one shifted column: shares."""

    windows: int
    alarms: float  # of the dataset, where nothing had changed
    columns: float  # of the columns, flagged where nothing had changed
    raised: float  # of the dataset, where one column had shifted
    found: float  # the shifted column is flagged
    alone: float  # of the windows with a flag while one column is shifted: it is flagged and no other


def compared(calm: Flags, moved: Flags, asked: int, share: float = 0.0) -> Found:
    """From flags; the dataset alarms where more than nothing, and at least this share of the columns, is flagged."""
    alarmed, raised = (flags.any(axis=1) & (flags.mean(axis=1) >= share) for flags in (calm, moved))
    alone = moved[:, asked] & (moved.sum(axis=1) == 1)
    flagged = max(int(moved.any(axis=1).sum()), 1)
    shares = alarmed.mean(), calm.mean(), raised.mean(), moved[:, asked].mean(), alone.sum() / flagged
    return Found(len(calm), *(float(one) for one in shares))


def evidently(windows: list[pd.DataFrame], reference: pd.DataFrame, method: str | None = None) -> Flags:
    """Its drift preset: a test chosen by type and size as it comes, or one for the numbers by name."""
    return np.array([_evidently(window, reference, method) for window in windows])


def uncorrected(windows: list[pd.DataFrame], reference: pd.DataFrame) -> Flags:
    """Kolmogorov-Smirnov on numbers and chi² on strings, each at 0.05; missing values are left out."""
    sides = {name: reference[name].dropna() for name in reference}
    return np.array([[_p_value(one[name].dropna(), sides[name]) < LEVEL for name in reference] for one in windows])


def stability(windows: list[pd.DataFrame], reference: pd.DataFrame) -> Flags:
    """The population stability index over the reference's deciles or levels, above 0.2; missing values are left out."""
    sides = {name: reference[name].dropna() for name in reference}
    return np.array([[_index(one[name].dropna(), sides[name]) > STABLE for name in reference] for one in windows])


def _evidently(window: pd.DataFrame, reference: pd.DataFrame, method: str | None) -> list[bool]:
    sides = [Dataset.from_pandas(side) for side in (window, reference)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        metrics = Report([DataDriftPreset(num_method=method)], include_tests=True).run(*sides).dict()
    columns = {}
    for test in metrics["tests"]:
        if column := test["metric_config"]["params"].get("column"):
            columns[column] = test["status"] == "FAIL"
    return [columns[name] for name in reference]


def _p_value(now: "pd.Series[float]", before: "pd.Series[float]") -> float:
    if pd.api.types.is_numeric_dtype(before):
        return float(ks_2samp(now, before, method="asymp").pvalue)
    counts = pd.concat([now.value_counts(), before.value_counts()], axis=1).fillna(0)
    return float(chi2_contingency(counts.to_numpy()).pvalue)


def _index(now: "pd.Series[float]", before: "pd.Series[float]") -> float:
    if pd.api.types.is_numeric_dtype(before):
        edges = np.unique(np.quantile(before, np.arange(1, BINS) / BINS))
        sides = [np.bincount(np.searchsorted(edges, one, "right"), minlength=len(edges) + 1) for one in (now, before)]
    else:
        counts = pd.concat([now.value_counts(), before.value_counts()], axis=1).fillna(0)
        sides = list(counts.to_numpy().T)
    new, old = (np.maximum(_shares(side), NONE_SEEN) for side in sides)
    return float(np.sum((new - old) * np.log(new / old)))


def _shares(counts: NDArray[np.generic]) -> Floats:
    values = counts.astype(np.float64)
    return np.asarray(values / values.sum())


def place(column: str) -> int:
    """Where flags have this column."""
    return NAMES.index(column)


def all_of(calm: Mapping[str, Flags], moved: Mapping[str, Flags], asked: str) -> dict[str, Found]:
    """By method; Evidently twice: by its rule for the dataset, and by any of its columns."""
    found = {name: compared(calm[name], moved[name], place(asked)) for name in calm}
    if "Evidently" in found:
        half = compared(calm["Evidently"], moved["Evidently"], place(asked), HALF)
        found = {"Evidently, half of the columns": half, "Evidently, any column": found.pop("Evidently"), **found}
    return found
