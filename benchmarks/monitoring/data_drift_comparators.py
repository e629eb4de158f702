"""What the data-drift verdict is held against: Evidently's defaults, and Kolmogorov-Smirnov on every column at 0.05."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Evidently and what it stands on warn of their own deprecations at import
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

LEVEL = 0.05
REFERENCE_ROWS = 5_000


@dataclass(frozen=True)
class Found:
    """Of some windows: in which share the dataset alarmed, and of the columns the share that was flagged."""

    alarms: float
    columns: float
    named: float  # the share of windows in which the column asked about was flagged


def evidently(windows: list[pd.DataFrame], reference: pd.DataFrame, asked: str, method: str | None = None) -> Found:
    """Its drift preset as it comes: a test chosen by type and size, half of the columns drifted is drift."""
    return _of([_evidently(window, reference, method) for window in windows], asked)


def naive(windows: list[pd.DataFrame], reference: pd.DataFrame, asked: str) -> Found:
    """One test a numeric column, uncorrected; any column is an alarm."""
    numeric = reference.select_dtypes("number")
    flagged = []
    for window in windows:
        p_values = {name: ks_2samp(window[name].dropna(), numeric[name].dropna()).pvalue for name in numeric}
        columns = {str(name): bool(p_value < LEVEL) for name, p_value in p_values.items()}
        flagged.append((any(columns.values()), columns))
    return _of(flagged, asked)


def _evidently(window: pd.DataFrame, reference: pd.DataFrame, method: str | None) -> tuple[bool, dict[str, bool]]:
    sides = [Dataset.from_pandas(side) for side in (window, reference)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        metrics = Report([DataDriftPreset(num_method=method)], include_tests=True).run(*sides).dict()
    columns = {}
    for test in metrics["tests"]:
        if column := test["metric_config"]["params"].get("column"):
            columns[column] = test["status"] == "FAIL"
    share = next(one["value"]["share"] for one in metrics["metrics"] if "drift_share" in one["config"])
    return bool(share >= 0.5), columns


def _of(flagged: list[tuple[bool, dict[str, bool]]], asked: str) -> Found:
    return Found(
        float(np.mean([alarm for alarm, _ in flagged])),
        float(np.mean([list(columns.values()) for _, columns in flagged])),
        float(np.mean([columns[asked] for _, columns in flagged])),
    )
