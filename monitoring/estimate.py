"""A window's performance before its labels are in, and how scores compare with what happened once they are.

The estimate is `estimated.py`'s, from the champion's hold-out and what it served: of rows that were shown, each weighed
by how many it stands for, so that it is of the same rows as the loss that their labels will show. It cannot see concept
drift. At most `MOST_ROWS` of either side are looked at, whole predictions of them.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.findings import CalibrationBin
from contracts.records import ModelVersion
from contracts.system import System
from infra.importance import importance
from infra.settings import Settings
from monitoring.calibration_bins import calibration_bins
from monitoring.estimated import Reference, Rules, ServedRows, estimate
from monitoring.holdout import HeldOut, held_out
from monitoring.judge import SCORE, Window, measured

MOST_ROWS = 10_000  # of the hold-out, and of the window
SEED = 0


@dataclass(frozen=True)
class Estimated:
    """Mean log loss of the window's rows with its interval, or NaN and one sentence why; and the calibration of those
    of its rows whose labels are in."""

    loss: float
    low: float
    high: float
    refusal: str
    calibration: tuple[CalibrationBin, ...]


def estimate_window(settings: Settings, system: System, champion: ModelVersion, window: Window) -> Estimated:
    """Estimate what the champion's served rows will have lost; InvalidInput or NotFound without a hold-out to go by."""
    return estimated(system, held_out(settings, system, champion), window)


def estimated(system: System, held: HeldOut, window: Window) -> Estimated:
    """The estimate from a hold-out at hand."""
    found = estimate(reference(held), served(system, window.served), Rules(), SEED)
    loss = found.metrics.get("log_loss")
    bins = calibration_bins(measured(system, window))
    if loss is None:
        return Estimated(math.nan, math.nan, math.nan, found.refusal or "", bins)
    return Estimated(loss.value, loss.low, loss.high, "", bins)


def reference(held: HeldOut) -> Reference:
    """The hold-out as the estimate takes it."""
    kept = _sample(held.predictions)
    rows = ServedRows(held.features[kept], held.scores[kept], held.predictions[kept], held.weights[kept])
    return Reference(rows, held.labels[kept])


def served(system: System, rows: pd.DataFrame) -> ServedRows:
    """The window's rows that stand for others, as the estimate takes them."""
    weights = importance(system, rows, np.inf)
    rows, weights = rows[weights > 0], weights[weights > 0]
    kept = _sample(rows["prediction_id"].to_numpy(object))
    return ServedRows(
        rows[list(system.features.names)].to_numpy(np.float32)[kept],
        rows[SCORE].to_numpy(np.float64)[kept],
        rows["prediction_id"].to_numpy(object)[kept],
        weights[kept],
    )


def _sample(predictions: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which rows to look at: all, or those of predictions that are drawn, about `MOST_ROWS` of them."""
    numbers, distinct = pd.factorize(predictions)
    share = min(1.0, MOST_ROWS / max(len(predictions), 1))
    drawn = np.random.default_rng(SEED).permutation(len(distinct)) < math.ceil(share * len(distinct))
    return np.asarray(drawn[numbers], np.bool_)
