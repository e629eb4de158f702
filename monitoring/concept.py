"""Is what the champion learned still true? Asked of every label that has matured since it began to serve, each once.

A monitor may run seldom, or two at once: how far the log was read is kept in one file with what was found, and replaced
as a whole, so that no row is counted twice. An alarm stands for as long as its version serves; the next begins anew.

Rows whose features could not be read say nothing of the concept and are left out, as are those that only a reviewer
judged: which they look at follows no propensity. Labels that only come where the answer allowed it need no weights:
what is judged is how they follow the scores (`concept_drift/overstatement.py`).
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from contracts.errors import InvalidInput
from contracts.ports import Archive
from contracts.records import FEATURES_UNAVAILABLE, ModelVersion
from contracts.system import AT, System
from infra import wiring
from infra.importance import importance
from infra.settings import Settings
from monitoring.concept_drift.detector import alarm
from monitoring.concept_drift.watch import LabelledRows, Watch, begin, follow
from monitoring.holdout import HeldOut, held_out
from monitoring.judge import SCORE, Window

TICK = timedelta(microseconds=1)  # intervals of the log end before their end
MOST_ROWS = 2_000_000  # read by one run of the monitor, one window's length at a time; the next one reads on


@dataclass(frozen=True)
class Concept:
    """Concept drift by all labels so far; None with too few of them. The evidence is a logarithm."""

    drifted: bool | None
    evidence: float
    threshold: float
    labels: int  # predictions
    since: datetime | None  # when the change seems to have begun, once there is an alarm


def judge_concept(settings: Settings, system: System, champion: ModelVersion, window: Window) -> Concept:
    """Read the labels that matured since the last time, and say what all of them show.

    InvalidInput or NotFound where the champion's hold-out does not tell what is normal.
    """
    path = settings.path("verdicts", "concept", f"{system.name}.{champion.version}.json")
    watch = _kept(path)
    if watch is None:
        watch = watched(system, held_out(settings, system, champion), _first(champion, window))
    watch = read_on(wiring.archive(settings), system, champion, watch, window.until)
    _keep(path, watch)
    return concept(system, watch)


def watched(system: System, held: HeldOut, since: datetime) -> Watch:
    """A champion of which no label has been read yet, watched from `since` on."""
    rows = LabelledRows(held.labels, held.scores, held.predictions, held.at)
    return begin(rows, system.monitoring.run_length, since.timestamp())


def read_on(archive: Archive, system: System, champion: ModelVersion, watch: Watch, now: datetime) -> Watch:
    """The watch after the champion's rows whose labels have matured by `now`, or `MOST_ROWS` of the log."""
    matured = now - system.requirements.label_delay + TICK
    read, begins = 0, datetime.fromtimestamp(watch.until, UTC)
    while begins < matured and read < MOST_ROWS:
        ends = min(begins + system.monitoring.window, matured)
        rows = archive.labelled(system, begins, ends, now, only=())
        watch = follow(watch, _of(system, champion, rows), system.monitoring.concept_margin, ends.timestamp())
        read, begins = read + len(rows), ends
    return watch


def concept(system: System, watch: Watch) -> Concept:
    """What the labels that were read show. Before there are `Monitoring.min_rows` of them, only an alarm counts."""
    state = watch.detector
    enough = watch.rows >= system.monitoring.min_rows
    return Concept(
        True if alarm(state) else False if enough else None,
        state.log_evidence,
        state.rules.threshold,
        state.seen,
        datetime.fromtimestamp(state.alarm.since, UTC) if state.alarm else None,
    )


def _of(system: System, champion: ModelVersion, rows: pd.DataFrame) -> LabelledRows:
    """The champion's own rows that were shown, with features that were read."""
    own = (rows["model_version"] == champion.version).to_numpy(bool)
    read = ~rows["degraded"].str.contains(FEATURES_UNAVAILABLE, regex=False).to_numpy(bool)
    kept = rows[own & read & (importance(system, rows, np.inf) > 0)]
    return LabelledRows(
        kept[system.task.target].to_numpy(np.float64),
        kept[SCORE].to_numpy(np.float64),
        kept["prediction_id"].to_numpy(object),
        kept[AT].to_numpy(np.float64),
    )


def _first(champion: ModelVersion, window: Window) -> datetime:
    """From when on the log is read: no answer of a version is older than its training."""
    written = champion.tags.get("trained_at")
    return datetime.fromisoformat(written) if written else window.since


def _kept(path: Path) -> Watch | None:
    try:
        return Watch.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} does not hold the state of a concept drift detector; delete it.") from error


def _keep(path: Path, watch: Watch) -> None:
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(watch.dump(), encoding="utf-8")
    draft.replace(path)
