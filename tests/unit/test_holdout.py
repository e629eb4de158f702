"""The hold-out tells of each row what the gate and monitoring ask: which answer it is of, when, and what it weighs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from contracts.records import ModelVersion
from contracts.system import AT
from infra.holdout_columns import OLD_WEIGHT, PREDICTION, WEIGHT
from infra.memory_archive import MemoryArchive
from monitoring.holdout import of
from pipelines import holdout
from pipelines.training_rows import TrainingRows, assemble, logged, predictions_of
from tests.stores import log_records
from tests.stores.log_records import NOON, prediction

SHOP = replace(log_records.SHOP, training=replace(log_records.SHOP.training, max_rows=1_000))


def from_the_log() -> TrainingRows:
    archive = MemoryArchive()
    made = [replace(prediction(name, NOON), degraded=()) for name in ("a", "b", "c")]
    archive.append(made)
    return assemble(SHOP, logged(SHOP, archive, NOON + SHOP.requirements.label_delay), "log")


def test_rows_of_the_log_keep_the_prediction_they_are_of(tmp_path: Path) -> None:
    rows = from_the_log()
    holdout.write(tmp_path, SHOP, rows, {SHOP.model.name: np.linspace(0.1, 0.9, len(rows))})
    table = pd.read_parquet(tmp_path / holdout.FILE)
    assert table[PREDICTION].value_counts().to_dict() == {"a": 2, "b": 2, "c": 2}
    assert (table[AT] == NOON.timestamp()).all()
    np.testing.assert_array_equal(table[WEIGHT], rows.importance)
    champion = ModelVersion("shop", "3", "", "run", SHOP.features.names, NOON)
    held = of(SHOP, champion, table)
    np.testing.assert_array_equal(held.features, rows.X)
    np.testing.assert_array_equal(held.predictions, rows.predictions)
    np.testing.assert_allclose(held.scores, np.linspace(0.1, 0.9, len(rows)))
    gate = holdout.read(tmp_path / holdout.FILE, SHOP)
    np.testing.assert_array_equal(gate.importance, rows.importance)


def test_history_takes_the_rows_of_one_moment_for_one_answer() -> None:
    frame = pd.DataFrame({AT: [1.0, 1.0, 2.5], "user": ["u", "u", "u"]})
    first, second, third = predictions_of(frame)
    assert first == second != third


def test_rows_keep_their_prediction_when_some_are_taken() -> None:
    rows = from_the_log()
    kept = rows.where(rows.predictions == "b")
    assert kept.predictions.tolist() == ["b", "b"]


def test_weights_of_older_runs_are_found_under_their_old_name(tmp_path: Path) -> None:
    rows = from_the_log()
    holdout.write(tmp_path, SHOP, rows, {SHOP.model.name: np.full(len(rows), 0.5)})
    table = pd.read_parquet(tmp_path / holdout.FILE)
    table.rename(columns={WEIGHT: OLD_WEIGHT}).assign(**{OLD_WEIGHT: 7.0}).to_parquet(tmp_path / holdout.FILE)
    assert set(holdout.read(tmp_path / holdout.FILE, SHOP).importance) == {7.0}
    table.drop(columns=WEIGHT).to_parquet(tmp_path / holdout.FILE)
    assert set(holdout.read(tmp_path / holdout.FILE, SHOP).importance) == {1.0}
