"""One small world for each system that is there, shared by all sentences about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import systems
from contracts.system import AT, Columns, FeatureView, Floats, Matrix, System
from contracts.world import World
from pipelines.aggregate import STAMP, view_states
from systems.coherence import row_columns

END = datetime(2026, 3, 15, tzinfo=UTC)
DAYS, ROWS, SEED = 7, 60_000, 7


@dataclass(frozen=True)
class Sample:
    """A system, its world, and a small history of it."""

    system: System
    world: World
    history: pd.DataFrame

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The history as rows of a request would be: the row columns and `at`."""
        return {name: self.history[name].to_numpy() for name in (*row_columns(self.system), AT)}

    @property
    def labels(self) -> Floats:
        return self.history[self.system.task.target].to_numpy(np.float64)

    @cached_property
    def features(self) -> Matrix:
        """Point-in-time features of every row, from the platform's own aggregation."""
        found: dict[str, NDArray[Any]] = {}
        for view in self.system.features.views:
            found |= as_of(self.history, view, view_states(view, self.history, None, END))
        found |= self.system.features.on_request(self.columns)
        return np.column_stack([np.asarray(found[name], dtype=np.float32) for name in self.system.features.names])


def as_of(rows: pd.DataFrame, view: FeatureView, states: pd.DataFrame) -> Mapping[str, NDArray[Any]]:
    """The latest state of each row's entity at the row's own time, or the defaults."""
    keys = list(view.entities)
    stamps = pd.to_datetime((rows[AT] * 1e6).round().astype("int64"), unit="us", utc=True)
    left = rows[keys].assign(**{STAMP: stamps.astype(states[STAMP].dtype)})
    joined = pd.merge_asof(left, states.sort_values(STAMP), on=STAMP, by=keys, tolerance=view.ttl)
    return {feature.name: joined[feature.name].fillna(feature.default).to_numpy() for feature in view.features}


def log_loss(scores: Floats, labels: Floats) -> float:
    """Mean log loss a row."""
    kept = np.clip(scores, 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(kept) + (1 - labels) * np.log1p(-kept)))


def take(rows: Columns, positions: slice) -> dict[str, NDArray[Any]]:
    return {name: values[positions] for name, values in rows.items()}


@pytest.fixture(scope="session", params=systems.names())
def sample(request: pytest.FixtureRequest) -> Sample:
    system = systems.load(request.param)
    world = system.world(SEED)
    history = pd.concat(world.history(END - timedelta(days=DAYS), END, ROWS), ignore_index=True)
    return Sample(system, world, history)


@pytest.fixture
def system(sample: Sample) -> System:
    return sample.system
