"""No speed without correctness: answers are held against the Feast SDK, the other contenders and the log."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import feast
import httpx
import numpy as np

from benchmarks.serving.ranking import STORE, SYSTEM, kept
from benchmarks.serving.runs import Bench
from contracts.errors import FlywheelError
from contracts.records import PredictionRecord
from contracts.system import Columns, Matrix
from infra import wiring
from infra.settings import Settings

ASKED = 10  # requests of each number of candidates
TOLERANCE = 1e-5  # of a score: ONNX Runtime adds the trees up in float32
PATIENCE = 60.0  # seconds until a record must be in the archive
Answer = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """Feature values that were served and are the same as the SDK's, and of how many predictions."""

    predictions: int
    values: int


def answers(bench: Bench, bodies: Path) -> list[Answer]:
    """A contender's answers to the first of the bodies."""
    load = bench.load(bodies, 0.0, None, 1)
    with httpx.Client(base_url=f"http://{load.host}:{load.port}", headers=load.headers, timeout=30) as client:
        asked = bodies.read_text().splitlines()[:ASKED]
        return [client.post(load.path, json=json.loads(body)).raise_for_status().json() for body in asked]


def gap(one: Sequence[Answer], other: Sequence[Answer]) -> float:
    """The largest difference between two contenders' scores of the same requests; FlywheelError when it is no
    rounding error: then they do not do the same work."""
    differences = [
        np.abs(np.subtract(_ranked(left)["scores"], _ranked(right)["scores"])).max()
        for left, right in zip(one, other, strict=True)
    ]
    if not (found := float(np.max(differences))) <= TOLERANCE:
        raise FlywheelError(f"Two contenders' scores differ by {found:.2g}, over {TOLERANCE:g}.")
    return found


def compared(settings: Settings, served: Sequence[Answer]) -> tuple[Compared, list[Matrix]]:
    """Hold the logged features of Flywheel's answers against the SDK's; also what they were."""
    store: Any = feast.FeatureStore(fs_yaml_file=kept(settings, STORE))
    matrices: list[Matrix] = []
    for answer in served:
        record = _record(settings, answer["prediction_id"])
        wanted = sdk(store, record.rows)
        if not np.array_equal(record.features, wanted):
            row, column = np.argwhere(record.features != wanted)[0].tolist()
            name = record.feature_names[column]
            raise FlywheelError(
                f"{name} of row {row} was served as {record.features[row, column]}; "
                f"the Feast SDK reads {wanted[row, column]}."
            )
        matrices.append(record.features)
    return Compared(len(matrices), sum(each.size for each in matrices)), matrices


def sdk(store: Any, rows: Columns) -> Matrix:
    """Features of rows by `FeatureStore.get_online_features`, in the order of `Features.names`."""
    features = SYSTEM.features
    asked = [f"{SYSTEM.name}__{view.name}:{feature.name}" for view in features.views for feature in view.features]
    keys = sorted({key for view in features.views for key in view.entities})
    entities = [dict(zip(keys, values, strict=True)) for values in zip(*(rows[key] for key in keys), strict=True)]
    found = store.get_online_features(features=asked, entity_rows=entities).to_dict()
    return np.column_stack([found[name] for name in features.names]).astype(np.float32)


def logged(settings: Settings, acknowledged: Path) -> dict[str, int]:
    """How many predictions were acknowledged under load, and that each is in the archive; FlywheelError where not."""
    ids = acknowledged.read_text().split()
    files = settings.state_dir / "log" / "predictions" / f"system={SYSTEM.name}" / "*" / "*.parquet"
    with duckdb.connect() as database:
        query = "SELECT DISTINCT prediction_id FROM read_parquet(?)"
        archived = {one for (one,) in database.execute(query, [str(files)]).fetchall()}
    if missing := set(ids) - archived:
        raise FlywheelError(f"{len(missing)} of {len(ids)} predictions were answered and are not in the log.")
    return {"acknowledged": len(ids), "logged": len(archived)}


def _ranked(answer: Answer) -> Answer:
    """The ranking in an answer: Flywheel's has more around it."""
    ranked: Answer = answer.get("result", answer)
    return ranked


def _record(settings: Settings, prediction_id: str) -> PredictionRecord:
    archive, deadline = wiring.archive(settings), time.monotonic() + PATIENCE
    while (record := archive.prediction(prediction_id, SYSTEM.name)) is None:
        if time.monotonic() > deadline:
            raise FlywheelError(f"Prediction {prediction_id} was answered and is not in the log after {PATIENCE:g} s.")
        time.sleep(0.1)
    return record
