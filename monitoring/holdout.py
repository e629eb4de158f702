"""The champion's hold-out, as its training run left it: what monitoring knows of the champion when it was new."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.records import ModelVersion
from contracts.system import AT, Floats, Matrix, System
from infra import wiring
from infra.holdout_columns import FILE, LABEL, PREDICTION, SCORE, WEIGHT
from infra.settings import Settings


@dataclass(frozen=True)
class HeldOut:
    """Rows in time order: the features (rows × `Features.names`), the champion's scores, labels (0.0 or 1.0), of which
    prediction each is, when that was made (seconds since the epoch), and how many rows each stands for."""

    features: Matrix
    scores: Floats
    labels: Floats
    predictions: NDArray[np.object_]
    at: Floats
    weights: Floats


def held_out(settings: Settings, system: System, champion: ModelVersion) -> HeldOut:
    """Fetched from the champion's run. InvalidInput where it was written before hold-outs told what is needed, or the
    system's features have changed since; NotFound where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = wiring.tracker(settings).download(champion.run_id, FILE, Path(folder))
        return of(system, champion, pd.read_parquet(path))


def of(system: System, champion: ModelVersion, table: pd.DataFrame) -> HeldOut:
    """The table's columns under the names that monitoring has for them."""
    score = SCORE + system.model.name
    missing = [name for name in (*system.features.names, PREDICTION, AT, LABEL, WEIGHT, score) if name not in table]
    if missing:
        raise InvalidInput(
            f"The hold-out of {system.name} version {champion.version} has no column {missing[0]!r}, for it was "
            "written by another release or with other features; train the system again.",
            missing[0],
        )
    return HeldOut(
        table[list(system.features.names)].to_numpy(np.float32),
        table[score].to_numpy(np.float64),
        table[LABEL].to_numpy(np.float64),
        table[PREDICTION].to_numpy(object),
        table[AT].to_numpy(np.float64),
        table[WEIGHT].to_numpy(np.float64),
    )
