"""The hold-out rows of a training run, kept as an artifact: the gate judges on them, monitoring compares with them.

A Parquet file in the run: the features under their own names, then `prediction_id` (of which answer a row is), `at`
(when that was given), `label`, `weight` (how many rows it stands for), `score: MODEL` for each model, and
`slice: COLUMN` for each column that cuts slices. Where there is a stage one, also `row: COLUMN` for the row columns:
what it was told of the rows, so that another can be asked too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import AT, Columns, Floats, Matrix, System
from infra import holdout_columns
from infra.holdout_columns import LABEL, OLD_WEIGHT, PREDICTION, SCORE, WEIGHT
from pipelines.training_rows import TrainingRows

FILE = holdout_columns.FILE
SLICE, ROW = "slice: ", "row: "


@dataclass(frozen=True)
class Holdout:
    """Rows that a candidate was not trained on, the scores of its baselines, and how many rows each stands for."""

    X: Matrix
    y: Floats
    baselines: Mapping[str, Floats]
    slices: Mapping[str, NDArray[Any]]
    importance: Floats
    rows: Columns = field(default_factory=dict)  # the row columns and `at`, where there is a stage one


def write(folder: Path, system: System, rows: TrainingRows, scores: Mapping[str, Floats]) -> None:
    """Write `holdout.parquet` into `folder`; `scores` are by model, the candidate's first."""
    table = pd.DataFrame(rows.X, columns=list(system.features.names))
    own = {PREDICTION: rows.predictions, AT: rows.at, LABEL: rows.y, WEIGHT: rows.importance}
    table = table.assign(**own)
    table = table.assign(**{SCORE + name: each for name, each in scores.items()})
    table = table.assign(**{SLICE + name: each for name, each in rows.slices.items()})
    if system.model.retrieval is not None:
        table = table.assign(**{ROW + name: each for name, each in rows.rows.items() if name != AT})
    table.to_parquet(folder / FILE, index=False)


def read(path: Path, system: System) -> Holdout:
    """The hold-out of a run; InvalidInput when it lacks features that the system has now."""
    table = pd.read_parquet(path)
    if missing := [name for name in system.features.names if name not in table]:
        raise InvalidInput(
            f"The hold-out of {system.name} lacks the features {', '.join(missing)}: the system has changed since the "
            "model was trained; train it again.",
            missing[0],
        )
    scores = {name.removeprefix(SCORE): table[name].to_numpy() for name in map(str, table) if name.startswith(SCORE)}
    scores.pop(system.model.name, None)
    slices = {name.removeprefix(SLICE): table[name].to_numpy() for name in map(str, table) if name.startswith(SLICE)}
    X = table[list(system.features.names)].to_numpy("float32")
    weights = next((table[name].to_numpy() for name in (WEIGHT, OLD_WEIGHT) if name in table), np.ones(len(table)))
    rows = {name.removeprefix(ROW): table[name].to_numpy() for name in map(str, table) if name.startswith(ROW)}
    return Holdout(X, table[LABEL].to_numpy(), scores, slices, weights, {**rows, AT: table[AT].to_numpy()})
