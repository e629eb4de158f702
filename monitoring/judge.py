"""The latest window of the log, and whether quality fell in it: against the champion's hold-out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from contracts.errors import NotFound
from contracts.ports import Archive
from contracts.records import ModelVersion
from contracts.system import System
from infra.importance import importance
from monitoring.quality import Loss, Rows, harmed, loss_of

SCORE = "score"
NORMALISED = "normalised_cross_entropy"  # the hold-out's, as training registers it with a version


@dataclass(frozen=True)
class Window:
    """The latest rows that the champion served: those whose outcomes are in, and all of them."""

    since: datetime
    until: datetime
    labelled: pd.DataFrame
    served: pd.DataFrame


def latest_window(archive: Archive, system: System, champion: ModelVersion, now: datetime) -> Window:
    """The last window whose outcomes have matured by `now`, and the last one by data, of the champion's answers.

    Data needs no labels, so its window ends now; the labelled one ends a label delay earlier.
    """
    span, delay = system.monitoring.window, system.requirements.label_delay
    since = now - span - delay
    labelled = archive.labelled(system, since, now - delay + timedelta(microseconds=1), now, only=())
    served = archive.predictions(system, now - span, now, only=system.features.names)
    return Window(since, now, _of(labelled, champion), _of(served, champion))


def judge_quality(system: System, champion: ModelVersion, window: Window) -> tuple[Loss, bool | None]:
    """The window's loss, and whether it harms; raises NotFound when the champion has no hold-out to hold it to."""
    if NORMALISED not in champion.metrics:
        raise NotFound(f"Version {champion.version} of {system.name} was registered without its hold-out {NORMALISED}.")
    rules = system.monitoring
    loss = loss_of(measured(system, window), champion.metrics[NORMALISED], rules.confidence)
    return loss, harmed(loss, rules.quality_margin, rules.min_rows)


def measured(system: System, window: Window) -> Rows:
    """The window's rows that stand for others: those that were shown and whose labels are all in, not those that only a
    reviewer judged."""
    matured = (window.until - system.requirements.label_delay).timestamp()
    weights = importance(system, window.labelled, matured)
    rows, counted = window.labelled, weights > 0
    return Rows(
        rows[system.task.target].to_numpy(np.float64)[counted],
        rows[SCORE].to_numpy(np.float64)[counted],
        rows["prediction_id"].to_numpy(object)[counted],
        weights[counted],
    )


def _of(rows: pd.DataFrame, champion: ModelVersion) -> pd.DataFrame:
    own = rows["model_version"] == champion.version
    return rows if own.all() else rows[own].reset_index(drop=True)  # a million rows are not copied for nothing
