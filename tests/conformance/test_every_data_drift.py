"""The verdict on data drift in every system's world: steady while nothing changes, shifted when others come.

The history begins long before the log, so that the longest of the features is filled. Judged are windows that share no
row, in two worlds that are one until the change.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import numpy as np
import pandas as pd

from contracts.ports import Archive
from contracts.records import ModelVersion
from contracts.system import AT, System
from contracts.world import Drift
from monitoring import drift_history
from monitoring.data import MIN_WINDOWS, Data, judged_against
from monitoring.judge import Window
from pipelines.onnx_export import score
from tests.conformance.sample import END, SEED, Sample, features_of

PAST, JUDGED, PER_WINDOW, PER_DAY = MIN_WINDOWS + 12, 4, 800, 3_000
CHAMPION = ModelVersion("", "1", "", "", (), END)


@dataclass(frozen=True)
class Replayed:
    """A log that was never written: its rows are at hand, in time order."""

    rows: pd.DataFrame

    def predictions(
        self, system: System, since: datetime, until: datetime, only: Collection[str] | None = None
    ) -> pd.DataFrame:
        first, last = np.searchsorted(self.rows[AT], [since.timestamp(), until.timestamp()])
        unread = [] if only is None else [name for name in system.features.names if name not in only]
        return self.rows.iloc[first:last].reset_index(drop=True).drop(columns=unread)


def test_data_drift_is_quiet_in_a_calm_world_and_loud_when_others_come(sample: Sample) -> None:
    calm, changed = (_verdicts(sample, kind) for kind in ("none", "data"))
    assert [one.drifted for one in calm] == [False] * JUDGED, [one.words for one in calm]
    assert [one.drifted for one in changed] == [True] * JUDGED, [one.words for one in changed]


def _verdicts(sample: Sample, kind: str) -> list[Data]:
    """On the last windows of the log, at the beginning of which the world changes."""
    system, span = sample.system, sample.system.monitoring.window
    log, slot = Replayed(_log(sample, kind)), drift_history.slot_of(span)
    past = drift_history.Past(drift_history.columns_of(system), slot)
    since = (END - JUDGED * span).timestamp()
    past = drift_history.brought_up(past, cast(Archive, log), system, since)
    found = []
    for window in range(JUDGED):
        until = END - (JUDGED - 1 - window) * span
        served = log.predictions(system, until - span, until)
        ahead = [END - (JUDGED - before) * span for before in range(window)] if kind == "data" else []
        found.append(judged_against(past, system, CHAMPION, Window(until - span, until, served, served), ahead))
        past = drift_history.brought_up(past, cast(Archive, log), system, until.timestamp())
    return found


def _log(sample: Sample, kind: str) -> pd.DataFrame:
    """Rows of the log as monitoring reads them."""
    system, span = sample.system, sample.system.monitoring.window
    begin = END - (PAST + JUDGED) * span
    longest = max((f.window + f.after for view in system.features.views for f in view.features), default=timedelta())
    per_day = max(PER_DAY, int(PER_WINDOW / (span / timedelta(days=1))))
    world = system.world(SEED, Drift(kind, END - JUDGED * span))  # type: ignore[arg-type]  # one of its kinds
    start = begin - longest - timedelta(hours=1)
    events = pd.concat(world.history(start, END, int(per_day * ((END - start) / timedelta(days=1)))), ignore_index=True)
    events = sample.filled_in(events)
    rows = events[events[AT] >= begin.timestamp()].reset_index(drop=True)
    X = features_of(system, events, rows)
    features = {name: X[:, place] for place, name in enumerate(system.features.names)}
    ids = pd.factorize(rows[AT])[0].astype(str)  # rows of one moment are of one prediction
    own = {"score": score(sample.onnx, X), "model_version": "1", "degraded": "", "prediction_id": ids}
    return pd.DataFrame({AT: rows[AT], **features, **own})
