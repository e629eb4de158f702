"""Data drift of one window against the champion's hold-out, as Evidently shows it: a picture that decides nothing.

Evidently's population stability index per column, with the usual 0.2 as "shifted" (Siddiqi, Credit Risk Scorecards,
2006, chapter 8), and a share of columns that the system declares. Its rate of false alarms is not calibrated, and its
reference covers all hours; the verdict that is kept and acted on is that of `monitoring/data.py`.
"""

import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Evidently and what it stands on warn of their own deprecations at import
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

METHOD, SHIFTED = "psi", 0.2
MOST_ROWS = 20_000  # of each side; more changes no verdict at this threshold, and takes longer


@dataclass(frozen=True)
class Drift:
    """What Evidently found, and its snapshot, which the workspace keeps."""

    columns: tuple[str, ...]  # shifted, the most shifted first
    share: float
    snapshot: Any  # Evidently's own type stays in this folder


def compare(current: pd.DataFrame, reference: pd.DataFrame, share: float, until: datetime) -> Drift:
    """Compare the columns that both have; `share` of them shifted is drift of the whole."""
    columns = [name for name in reference.columns if name in current.columns]
    definition = DataDefinition(numerical_columns=columns)
    sides = [Dataset.from_pandas(_sample(side[columns]), data_definition=definition) for side in (current, reference)]
    report = Report([DataDriftPreset(drift_share=share, num_method=METHOD, num_threshold=SHIFTED)])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # constant columns make its statistics divide by zero, which it handles
        snapshot = report.run(*sides, timestamp=until)
    shifted = {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if "column" in metric["config"] and float(metric["value"]) >= SHIFTED
    }
    ordered = tuple(sorted(shifted, key=lambda name: -shifted[name]))
    return Drift(ordered, len(ordered) / len(columns), snapshot)


def _sample(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if len(frame) <= MOST_ROWS else frame.sample(MOST_ROWS, random_state=0)
