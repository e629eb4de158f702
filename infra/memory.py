"""Online features and model serving in memory: twins of what the gateway asks, for tests that need no server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from contracts.errors import NoChampion
from contracts.records import FeatureRead, Scored
from contracts.system import Columns, FeatureView, Floats, Matrix, System

State = tuple[datetime, Mapping[str, float]]  # the features of one entity, and since when they hold


@dataclass
class MemoryFeatureReader:
    """Holds one state for each entity of a view, and judges its age as the online store's reader does."""

    states: dict[tuple[str, tuple[str, ...]], State] = field(default_factory=dict)

    def put(self, view: str, key: tuple[str, ...], at: datetime, values: Mapping[str, float]) -> None:
        """The state of the entity `key` (in the order of the view's entities) from `at` on."""
        self.states[view, key] = (at, values)

    async def online(self, system: System, rows: Columns, now: datetime) -> FeatureRead:
        """Features of each row; what is missing or stale takes its default and is named."""
        degraded: set[str] = set()
        columns = [column for view in system.features.views for column in self._view(view, rows, now, degraded)]
        computed = system.features.on_request(rows)
        columns += [computed[name] for name in system.features.request_features]
        return FeatureRead(np.column_stack(columns).astype(np.float32), tuple(sorted(degraded)))

    def _view(self, view: FeatureView, rows: Columns, now: datetime, degraded: set[str]) -> list[Floats]:
        read = [self._entity(view, key, now, degraded) for key in zip(*(rows[e] for e in view.entities), strict=True)]
        return [np.array([values.get(one.name, one.default) for values in read]) for one in view.features]

    def _entity(
        self, view: FeatureView, key: tuple[str, ...], now: datetime, degraded: set[str]
    ) -> Mapping[str, float]:
        state = self.states.get((view.name, key))
        if state is None:
            degraded.add(f"{view.name}: missing")
        elif now - state[0] > view.ttl:
            degraded.add(f"{view.name}: stale")
        else:
            return state[1]
        return {}


@dataclass
class MemoryScorer:
    """Holds one model for each system, with its version."""

    champions: dict[str, tuple[str, Callable[[Matrix], Floats]]] = field(default_factory=dict)

    async def score(self, system: str, features: Matrix) -> Scored:
        """Scores of the champion; `NoChampion` when there is none."""
        if system not in self.champions:
            raise NoChampion(f"There is no champion of {system}.")
        version, model = self.champions[system]
        return Scored(model(features), version)
