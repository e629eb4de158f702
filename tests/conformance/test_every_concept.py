"""Concept drift of every system: calm days raise no alarm, and what its world turns round is found."""

from datetime import timedelta
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from contracts.system import AT, Floats
from contracts.world import Drift
from monitoring.concept_drift.detector import alarm
from monitoring.concept_drift.watch import LabelledRows, Watch, begin, follow
from pipelines.onnx_export import score
from tests.conformance.sample import END, ROWS, SEED, Sample, features_of

CHUNK = 2_000  # rows read at a time


@pytest.fixture(scope="module")
def watched(sample: Sample) -> Watch:
    """The champion before its first answer."""
    held = _labelled(sample, sample.rows.iloc[sample.cut :], score(sample.onnx, sample.features[sample.cut :]))
    return begin(held, sample.system.monitoring.run_length, END.timestamp())


def test_concept_drift_is_quiet_on_fresh_rows(sample: Sample, watched: Watch) -> None:
    found = _followed(sample, watched, "none").detector
    assert found.seen > 1_000
    assert not alarm(found)


def test_concept_drift_is_loud_when_the_concept_has_turned(sample: Sample, watched: Watch) -> None:
    found = _followed(sample, watched, "concept").detector
    assert found.alarm is not None
    assert found.alarm.number > 10
    assert END.timestamp() <= found.alarm.since <= found.alarm.at


def _followed(sample: Sample, watch: Watch, kind: Literal["none", "concept"]) -> Watch:
    """What comes after the history, half of it, in a world that has just drifted."""
    world = sample.system.world(SEED, Drift(kind, END))
    fresh = pd.concat(world.history(END, END + timedelta(days=5), ROWS // 2), ignore_index=True)
    filled = sample.filled_in(fresh)
    X = features_of(sample.system, pd.concat([sample.history, fresh], ignore_index=True), filled)
    scores = score(sample.onnx, X)
    for first in range(0, len(filled), CHUNK):
        part = slice(first, first + CHUNK)
        rows = _labelled(sample, filled.iloc[part], scores[part])
        watch = follow(watch, rows, sample.system.monitoring.concept_margin, float(rows.at[-1]))
    return watch


def _labelled(sample: Sample, rows: pd.DataFrame, scores: Floats) -> LabelledRows:
    """Rows of one moment are one prediction."""
    at = rows[AT].to_numpy(np.float64)
    labels = rows[sample.system.task.target].to_numpy(np.float64)
    return LabelledRows(labels, scores, at.astype(str).astype(object), at)
