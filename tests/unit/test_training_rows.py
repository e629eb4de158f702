"""Rows for training: in order, split by time, weighed by age, known by their digest."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

import systems
from contracts.errors import InvalidInput
from contracts.records import FEATURES_UNAVAILABLE
from contracts.system import System
from infra.memory_archive import MemoryArchive
from infra.settings import Settings
from pipelines.training_rows import assemble, checked, decay, enough, gather, logged, split
from tests.stores.log_records import NOON, SHOP, prediction

AD_CLICK = systems.load("ad_click")


def frame(system: System, rows: int = 1_000) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    features = {name: generator.normal(size=rows) for name in system.features.names}
    columns = {name: generator.choice(["a", "b"], rows) for name in system.training.slices}
    at = 1.7e9 + generator.integers(0, 200, rows) * 30.0
    return pd.DataFrame({**features, **columns, "at": at, system.task.target: generator.integers(0, 2, rows) * 1.0})


def test_rows_whose_features_could_not_be_read_teach_nothing() -> None:
    archive = MemoryArchive()
    whole = prediction("a", at=NOON)
    archive.append([whole, replace(prediction("b", at=NOON), degraded=(FEATURES_UNAVAILABLE,), variant="fallback")])
    rows = logged(SHOP, archive, NOON + SHOP.requirements.label_delay)
    assert set(rows["prediction_id"]) == {whole.prediction_id}


def test_rows_come_in_time_order_with_features_in_the_models_order() -> None:
    table = frame(AD_CLICK)
    rows = assemble(AD_CLICK, table, "history")
    assert (np.diff(rows.at) >= 0).all()
    assert rows.X.dtype == np.float32
    last = AD_CLICK.features.names[-1]
    ordered = table.sort_values("at", kind="stable")
    assert np.array_equal(rows.X[:, -1], ordered[last].to_numpy(np.float32))
    assert set(rows.slices) == set(AD_CLICK.training.slices)


def test_the_hold_out_is_the_newest_share_and_no_moment_is_on_both_sides() -> None:
    older, newest = split(assemble(AD_CLICK, frame(AD_CLICK), "history"), 0.2)
    assert older.at.max() < newest.at.min()
    assert 0.18 < len(newest) / 1_000 < 0.25
    assert len(older) + len(newest) == 1_000


def test_of_rows_of_one_moment_the_hold_out_is_drawn_and_each_row_is_on_one_side() -> None:
    rows = assemble(AD_CLICK, frame(AD_CLICK).assign(at=1.7e9), "history")
    older, newest = split(rows, 0.2)
    assert 0.15 < len(newest) / 1_000 < 0.25
    both = np.sort(np.concatenate([older.X[:, -1], newest.X[:, -1]]))
    assert np.array_equal(both, np.sort(rows.X[:, -1]))
    assert np.array_equal(split(rows, 0.2)[1].X, newest.X)


def test_where_nearly_all_rows_are_of_the_first_moment_the_later_ones_are_held_out() -> None:
    table = frame(AD_CLICK).assign(at=np.where(np.arange(1_000) < 950, 1.7e9, 1.7e9 + 60))
    older, newest = split(assemble(AD_CLICK, table, "history"), 0.2)
    assert (len(older), len(newest)) == (950, 50)


def test_a_row_weighs_half_with_each_half_life() -> None:
    weights = decay(np.array([0.0, 3600.0, 7200.0]), timedelta(hours=1))
    assert weights.mean() == pytest.approx(1.0)
    assert np.allclose(weights[1:] / weights[:-1], 2.0)


def test_the_digest_knows_the_data() -> None:
    one, same = (assemble(AD_CLICK, frame(AD_CLICK), "history") for _ in range(2))
    changed = frame(AD_CLICK)
    changed.loc[3, AD_CLICK.features.names[0]] += 1e-3
    assert one.digest == same.digest
    assert one.digest != assemble(AD_CLICK, changed, "history").digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 1}, "1 mature rows"),
        ({"label": 0.0}, "All 1,000 labels"),
        ({"label": "half"}, "must be 0 or 1"),
        ({"feature": np.nan}, "are not numbers"),
    ],
)
def test_rows_that_teach_nothing_are_refused(change: dict[str, object], said: str) -> None:
    table = frame(AD_CLICK).head(int(str(change.get("rows", 1_000))))
    if "label" in change:
        table[AD_CLICK.task.target] = [0.0, 0.5] * 500 if change["label"] == "half" else change["label"]
    if "feature" in change:
        table.loc[5, AD_CLICK.features.names[1]] = change["feature"]
    with pytest.raises(InvalidInput, match=said):
        checked(AD_CLICK, assemble(AD_CLICK, table, "log"))


def test_the_log_suffices_when_its_hold_out_satisfies_the_gate() -> None:
    training = replace(AD_CLICK.training, holdout=0.25, gate=replace(AD_CLICK.training.gate, min_rows=1_000))
    assert enough(replace(AD_CLICK, training=training)) == 4_000


def test_an_unknown_source_is_refused(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="auto, history, log"):
        gather(AD_CLICK, settings, "yesterday")  # type: ignore[arg-type]
