"""Online features and model serving in memory: twins of what the gateway asks, for tests that need no server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from contracts.errors import NoChampion, Unavailable
from contracts.records import Candidates, FeatureRead, Scored
from contracts.system import AT, Columns, FeatureView, Floats, Matrix, System
from infra.live_features import entities, row_ids
from infra.live_windows import History, live_views, mark, summed, values_of, window_values

Entity = tuple[str, tuple[str, ...]]  # a view's name, and the key in the order of the view's entities
State = tuple[datetime, Mapping[str, float]]  # the features of one entity, and since when they hold
Event = tuple[float, bytes, tuple[float, ...]]  # when it happened, its mark, the values that the view sums


@dataclass
class MemoryFeatureReader:
    """Holds one state for each entity of a view, and judges its age as the online store's reader does; of a live view
    the events. Those are whole: nothing has been lost that could be missing."""

    states: dict[Entity, State] = field(default_factory=dict)
    events: dict[Entity, set[Event]] = field(default_factory=dict)

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

    async def observe(self, system: System, rows: Columns, event_id: str) -> None:
        """Each of the rows is an event of the live views; twice is once."""
        marks = [mark(one) for one in row_ids(event_id, len(rows[AT]))]
        for view in live_views(system):
            events = zip(rows[AT].tolist(), marks, map(tuple, values_of(view, rows).tolist()), strict=True)
            for entity, event in zip(entities(view.entities, rows), events, strict=True):
                self.events.setdefault((view.name, entity), set()).add(event)

    def _view(self, view: FeatureView, rows: Columns, now: datetime, degraded: set[str]) -> list[Floats]:
        if view.live:
            return list(np.array([self._live(view, one, now) for one in entities(view.entities, rows)]).T)
        read = [self._entity(view, key, now, degraded) for key in zip(*(rows[e] for e in view.entities), strict=True)]
        return [np.array([values.get(one.name, one.default) for values in read]) for one in view.features]

    def _live(self, view: FeatureView, entity: tuple[str, ...], now: datetime) -> list[float]:
        """The features of one entity."""
        events = sorted(self.events.get((view.name, entity), ()))
        values = np.array([one[2] for one in events], dtype=np.float64).reshape(len(events), len(summed(view)))
        history = History(np.zeros(len(events), np.int64), np.array([one[0] for one in events]), values)
        [found] = window_values(view, history, np.zeros(1, np.int64), np.array([now.timestamp()])).tolist()
        return list(found)

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
    """Holds one model for each system, with its version; for some, a stage one and what explains a score."""

    champions: dict[str, tuple[str, Callable[[Matrix], Floats]]] = field(default_factory=dict)
    retrievers: dict[str, Callable[[Mapping[str, Any], float], Columns]] = field(default_factory=dict)
    explainers: dict[str, Callable[[Matrix], Matrix]] = field(default_factory=dict)

    async def score(self, system: str, features: Matrix, version: str | None = None, explain: bool = False) -> Scored:
        """Scores of the champion; `NoChampion` when there is none, `Unavailable` when it is not the version asked."""
        known, model = self._champion(system)
        if version not in (None, known):
            raise Unavailable(f"Version {version} of {system} does not serve any more.")
        contributions = self.explainers[system](features) if explain else None
        return Scored(model(features), known, contributions)

    async def retrieve(self, system: str, request: Mapping[str, Any], now: datetime) -> Candidates:
        """What the champion's stage one finds."""
        version, _ = self._champion(system)
        return Candidates(self.retrievers[system](request, now.timestamp()), version)

    def _champion(self, system: str) -> tuple[str, Callable[[Matrix], Floats]]:
        if system not in self.champions:
            raise NoChampion(f"There is no champion of {system}.")
        return self.champions[system]
