"""The rows a model is trained on: history joined point-in-time, or the features that were served and their outcomes.

Only mature rows are taken: the label delay has passed, so that a missing outcome is an answer. The first model comes
from history; once the log holds enough rows, they are used instead, for they are what serving really saw.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.ports import Archive, FeatureStore
from contracts.records import FEATURES_UNAVAILABLE
from contracts.system import AT, Floats, Matrix, System
from infra import wiring
from infra.settings import Settings

Data = Literal["auto", "history", "log"]
SEED = 0  # which rows are sampled


@dataclass(frozen=True)
class TrainingRows:
    """Rows in time order: features, labels, when, weights (mean 1), the values that cut slices."""

    X: Matrix
    y: Floats
    at: Floats
    weights: Floats
    slices: Mapping[str, NDArray[Any]]
    source: str

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
        slices = {name: values[kept] for name, values in self.slices.items()}
        return TrainingRows(self.X[kept], self.y[kept], self.at[kept], self.weights[kept], slices, self.source)


def gather(system: System, settings: Settings, data: Data = "auto") -> TrainingRows:
    """The rows that `data` names; `auto` takes the log where it has enough. InvalidInput when there are too few."""
    if data not in get_args(Data):
        raise InvalidInput(f"data={data!r} is not a source of rows; use one of: {', '.join(get_args(Data))}.", "data")
    now = wiring.clock(settings).now()
    if data != "history":
        frame = logged(system, wiring.archive(settings), now)
        if data == "log" or len(frame) >= enough(system):
            return checked(system, assemble(system, frame, "log"))
    frame = history(system, settings, wiring.feature_store(settings), now)
    return checked(system, assemble(system, frame, "history"))


def enough(system: System) -> int:
    """How many rows the log must hold to be trained on alone: its hold-out then has the rows that the gate asks for."""
    return int(np.ceil(system.training.gate.min_rows / system.training.holdout))


def logged(system: System, archive: Archive, now: datetime) -> pd.DataFrame:
    """The mature, shown rows of the log within the training window, with the features as they were served.

    Rows whose features could not be read are left out: the log holds their defaults, which say nothing of the user.
    """
    rows = archive.labelled(system, now - system.training.window, now, now)
    read = ~rows["degraded"].str.contains(FEATURES_UNAVAILABLE, regex=False).to_numpy(bool)
    return _sample(rows[read].reset_index(drop=True), system.training.max_rows)


def history(system: System, settings: Settings, store: FeatureStore, now: datetime) -> pd.DataFrame:
    """The mature events of the training window with their features as of each event's own time.

    The window ends now, or where the events end: a log of another year is trained on as it stands.
    """
    events = wiring.events(settings)
    span = events.span(system)
    if span is None:
        raise InvalidInput(f"{system.name} has no events to train on; take some in with `flywheel ingest` first.")
    until = min(now - system.requirements.label_delay, span[1] + timedelta(microseconds=1))  # read's end is exclusive
    found = events.read(system, until - system.training.window, until)
    return store.historical(system, _sample(found, system.training.max_rows))


def assemble(system: System, frame: pd.DataFrame, source: str) -> TrainingRows:
    """A table with `at`, the target, the row columns and the features, as training rows in time order."""
    ordered = frame.sort_values(AT, kind="stable", ignore_index=True)
    at = ordered[AT].to_numpy(np.float64)
    return TrainingRows(
        X=ordered[list(system.features.names)].to_numpy(np.float32),
        y=ordered[system.task.target].to_numpy(np.float64),
        at=at,
        weights=decay(at, system.training.half_life),
        slices={name: ordered[name].to_numpy().astype(str) for name in system.training.slices},
        source=source,
    )


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
    """The older rows to train on, and the last share by time to judge on; rows of one moment stay together.

    Where all rows are of one moment (a log stamped to the hour) no row is newer than another: the share is drawn.
    """
    moments = np.unique(rows.at)
    if len(moments) == 1:
        newest = np.random.default_rng(SEED).random(len(rows)) < holdout
        return rows.where(~newest), rows.where(newest)
    cut = max(rows.at[min(int(len(rows) * (1 - holdout)), len(rows) - 1)], moments[1])
    return rows.where(rows.at < cut), rows.where(rows.at >= cut)


def _sample(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most `most` rows, drawn evenly over the whole time, still in order."""
    if len(frame) <= most:
        return frame
    kept = np.random.default_rng(SEED).choice(len(frame), most, replace=False)
    return frame.iloc[np.sort(kept)].reset_index(drop=True)
