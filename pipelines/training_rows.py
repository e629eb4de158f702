"""The rows a model is trained on: history joined point-in-time, or the features that were served and their outcomes.

Only mature rows are taken: the label delay has passed, so that a missing outcome is an answer. The first model comes
from history; once the log holds enough rows, they are used instead, for they are what serving really saw.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.ports import Archive, FeatureStore
from contracts.records import FEATURES_UNAVAILABLE
from contracts.system import AT, Columns, Floats, Matrix, System
from infra import wiring
from infra.holdout_columns import PREDICTION
from infra.importance import importance
from infra.live_history import with_live_features
from infra.settings import Settings
from pipelines.rules import OUTCOMES, completed

Data = Literal["auto", "history", "log"]
SEED = 0  # which rows are sampled


@dataclass(frozen=True)
class TrainingRows:
    """Rows in time order: features, labels, when, weights to learn by (mean 1), the values that cut slices; how many
    rows each stands for in a measurement (0: none), whose the labels are, and of which prediction each row is."""

    X: Matrix
    y: Floats
    at: Floats
    weights: Floats
    slices: Mapping[str, NDArray[Any]]
    source: str
    importance: Floats
    predictions: NDArray[np.object_]
    labels: str = OUTCOMES
    rows: Columns = field(default_factory=dict)  # the row columns and `at`

    def __len__(self) -> int:
        return len(self.y)

    @property
    def digest(self) -> str:
        """SHA-256 of what is learned from: the same digest, the same data."""
        sha = hashlib.sha256()
        for part in (self.X, self.y, self.at, self.weights):
            sha.update(np.ascontiguousarray(part).tobytes())
        return sha.hexdigest()

    @property
    def span(self) -> tuple[datetime, datetime]:
        first, last = (datetime.fromtimestamp(float(at), UTC) for at in (self.at[0], self.at[-1]))
        return first, last

    def where(self, kept: NDArray[np.bool_]) -> "TrainingRows":
        columns = {name: getattr(self, name)[kept] for name in ("X", "y", "at", "weights", "importance", "predictions")}
        slices = {name: values[kept] for name, values in self.slices.items()}
        return replace(self, **columns, slices=slices, rows={name: each[kept] for name, each in self.rows.items()})


def gather(system: System, settings: Settings, data: Data = "auto") -> TrainingRows:
    """The rows that `data` names; `auto` takes the log where it has enough. InvalidInput when there are too few."""
    if data not in get_args(Data):
        raise InvalidInput(f"data={data!r} is not a source of rows; use one of: {', '.join(get_args(Data))}.", "data")
    now = wiring.clock(settings).now()
    if data != "history":
        frame = logged(system, wiring.archive(settings), now)
        if data == "log" or (frame["place"] >= 0).sum() >= enough(system):
            if data == "auto" and system.training.with_history:
                return checked(
                    system, assemble(system, _beside_history(system, settings, frame, now), "log and history")
                )
            return checked(system, assemble(system, frame, "log"))
    frame = history(system, settings, wiring.feature_store(settings), now)
    labelled, labels = completed(system, frame, enough(system))
    return checked(system, replace(assemble(system, labelled, "history"), labels=labels))


def enough(system: System) -> int:
    """How many rows the log must hold to be trained on alone: its hold-out then has the rows that the gate asks for.
    Of those that stage one is fitted on none is held out."""
    retrieval = system.model.retrieval
    left = 1.0 if retrieval is None else 1.0 - retrieval.share
    return int(np.ceil(system.training.gate.min_rows / system.training.holdout / left))


def logged(system: System, archive: Archive, now: datetime) -> pd.DataFrame:
    """The rows of the log within the training window whose label is known, with the features as they were served.

    Of those that only a reviewer judged, the younger ones among them, `place` is -1. Rows whose features could not be
    read are left out: the log holds their defaults, which say nothing of the user.
    """
    rows = archive.labelled(system, now - system.training.window, now, now)
    read = ~rows["degraded"].str.contains(FEATURES_UNAVAILABLE, regex=False).to_numpy(bool)
    mature = rows[AT] <= (now - system.requirements.label_delay).timestamp()
    known = rows.assign(place=rows["place"].where(mature, -1))
    return _sample(known[read].reset_index(drop=True), system.training.max_rows)


def history(system: System, settings: Settings, store: FeatureStore, now: datetime) -> pd.DataFrame:
    """The mature events of the training window with their features as of each event's own time.

    The window ends now, or where the events end: a log of another year is trained on as it stands.
    """
    events = wiring.events(settings)
    span = events.span(system)
    if span is None:
        raise InvalidInput(f"{system.name} has no events to train on; take some in with `flywheel ingest` first.")
    until = min(now - system.requirements.label_delay, span[1] + timedelta(microseconds=1))  # read's end is exclusive
    found = _sample(events.read(system, until - system.training.window, until), system.training.max_rows)
    return store.historical(system, with_live_features(settings, system, _with_stage_one(system, found)))


def _beside_history(system: System, settings: Settings, logged: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """The log's rows after those of the history from before the first of them. History teaches, and is not measured on:
    what is held out is of the log."""
    older = history(system, settings, wiring.feature_store(settings), now)
    older = older[older[AT] < logged[AT].min()].assign(place=-1, propensity=np.nan)
    older[PREDICTION] = predictions_of(older)
    shared = [name for name in logged if name in older]
    both: pd.DataFrame = pd.concat([older[shared], logged[shared]], ignore_index=True)
    return both


def _with_stage_one(system: System, frame: pd.DataFrame) -> pd.DataFrame:
    """History knows nothing of stage one: until it is fitted (pipelines/retrieval.py), zeros stand for what it says."""
    if (retrieval := system.model.retrieval) is None:
        return frame
    filled: pd.DataFrame = frame.assign(**dict.fromkeys(retrieval.columns, 0.0))
    return filled


def assemble(system: System, frame: pd.DataFrame, source: str) -> TrainingRows:
    """A table with `at`, the target, the row columns and the features, as training rows in time order."""
    ordered = frame.sort_values(AT, kind="stable", ignore_index=True)
    at = ordered[AT].to_numpy(np.float64)
    stand_for = importance(system, ordered, np.inf) if "propensity" in ordered else np.ones(len(ordered))
    return TrainingRows(
        X=ordered[list(system.features.names)].to_numpy(np.float32),
        y=ordered[system.task.target].to_numpy(np.float64),
        at=at,
        weights=weighed(at, system.training.half_life, stand_for),
        slices={name: ordered[name].to_numpy().astype(str) for name in system.training.slices},
        source=source,
        importance=stand_for,
        predictions=predictions_of(ordered),
        rows={name: ordered[name].to_numpy() for name in row_columns(system) if name in ordered} | {AT: at},
    )


def predictions_of(frame: pd.DataFrame) -> NDArray[np.object_]:
    """Of which prediction each row is: as the log says, else the rows of one moment are taken for one answer's."""
    if PREDICTION in frame:
        return frame[PREDICTION].to_numpy(object)
    return np.array([f"at {moment!r}" for moment in frame[AT].to_numpy(np.float64).tolist()], dtype=object)


def row_columns(system: System) -> list[str]:
    """The columns of a request's rows, without `at`; what stage one says of them included."""
    own = [name for name in system.features.source.columns if name != system.task.target]
    said = [] if system.model.retrieval is None else system.model.retrieval.columns
    return list(dict.fromkeys([*own, *said]))


def weighed(at: Floats, half_life: timedelta, stand_for: Floats) -> Floats:
    """What each row weighs in learning, with mean 1: by its age, and by how many rows it stands for. One of which that
    cannot be said, for only a reviewer judged it, teaches as one row."""
    if len(at) == 0:
        return np.empty(0)
    weights = decay(at, half_life) * np.where(stand_for > 0, stand_for, 1.0)
    scaled: Floats = weights / weights.mean()
    return scaled


def decay(at: Floats, half_life: timedelta) -> Floats:
    """Weights that halve with each half-life before the newest row; their mean is 1, as regularisation expects."""
    if len(at) == 0:
        return np.empty(0)
    weights = 0.5 ** ((at.max() - at) / half_life.total_seconds())
    scaled: Floats = weights / weights.mean()
    return scaled


def checked(system: System, rows: TrainingRows) -> TrainingRows:
    """The rows, if a model can be learned from them at all."""
    if len(rows) < 2:
        raise InvalidInput(f"{system.name} has {len(rows)} mature rows in its {rows.source}; train needs more.")
    if len(np.unique(rows.y)) < 2:
        raise InvalidInput(f"All {len(rows):,} labels of {system.name} are {rows.y[0]:g}; train needs both.")
    if not np.isin(rows.y, (0.0, 1.0)).all():
        raise InvalidInput(f"The labels of {system.name} must be 0 or 1.", system.task.target)
    if not np.isfinite(rows.X).all():
        finite = np.isfinite(rows.X)
        bad = [name for place, name in enumerate(system.features.names) if not finite[:, place].all()]
        raise InvalidInput(f"Features of {system.name} are not numbers in its {rows.source}: {', '.join(bad)}.", bad[0])
    return rows


def split(rows: TrainingRows, holdout: float) -> tuple[TrainingRows, TrainingRows]:
    """The older rows to train on, and the last share by time to judge on; rows of one moment stay together. What stands
    for nobody is not judged on.

    Where all rows are of one moment (a log stamped to the hour) no row is newer than another: the share is drawn.
    """
    moments, measured = np.unique(rows.at), rows.importance > 0
    if len(moments) == 1:
        newest = np.random.default_rng(SEED).random(len(rows)) < holdout
        return rows.where(~newest), rows.where(newest & measured)
    at = rows.at[measured] if measured.any() else rows.at
    cut = max(at[min(int(len(at) * (1 - holdout)), len(at) - 1)], moments[1])
    return rows.where(rows.at < cut), rows.where((rows.at >= cut) & measured)


def _sample(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most `most` rows, drawn evenly over the whole time, still in order."""
    if len(frame) <= most:
        return frame
    kept = np.random.default_rng(SEED).choice(len(frame), most, replace=False)
    return frame.iloc[np.sort(kept)].reset_index(drop=True)
