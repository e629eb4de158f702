"""The measured data: entities with a state on most days of a week, and rows that ask for them as of moments between."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.paths.plan import SEED, Plan
from benchmarks.serving.ranking import SYSTEM as RANKING
from contracts.system import AT, Feature, Features, FeatureView, Source, System
from infra import wiring
from infra.feature_store import STAMP
from infra.settings import Settings

DAY = timedelta(days=1)
DAYS = 8
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
UNTIL = FIRST + DAYS * DAY
WRITTEN = 0.8  # the share of days on which an entity has a new state …
TTL = 2 * DAY  # … so that some rows find none that is young enough
FEATURES, DEFAULT = 8, -1.0  # of each view
ROWS = "rows.parquet"


def _view(name: str, ttl: timedelta = TTL) -> FeatureView:
    features = tuple(Feature(f"{name}_{number}", "count", DAY, DEFAULT) for number in range(FEATURES))
    return FeatureView(name, (f"{name}_id",), features, every=DAY, ttl=ttl)


def _system(name: str, *views: FeatureView) -> System:
    source = Source("events", "event_id", {view.entities[0]: "string" for view in views})
    return replace(RANKING, name=name, features=Features(source, views))


JOINED = _system("joined", _view("user"), _view("item"), _view("category"))  # training sets
COPIED = _system("copied", _view("user", ttl=(DAYS + 1) * DAY))  # materialised: all that have any state


def write_joined(settings: Settings, plan: Plan, times: int) -> None:
    """States of the three views and the rows that will ask for them."""
    random = np.random.default_rng([SEED, times])
    counts = {"user": times * plan.users, "item": times * plan.items, "category": times * plan.categories}
    write_states(settings, JOINED, counts, random)
    frame = pd.DataFrame(
        {f"{name}_id": _names(name, random.integers(count, size=times * plan.rows)) for name, count in counts.items()}
    )
    frame[AT] = np.sort(random.uniform(FIRST.timestamp(), UNTIL.timestamp(), len(frame)))
    frame.to_parquet(rows_path(settings))


def write_states(settings: Settings, system: System, counts: Mapping[str, int], random: np.random.Generator) -> None:
    """States of so many entities of each view, at the beginning of each day."""
    store = wiring.feature_store(settings)
    store.apply(system)  # type: ignore[attr-defined]  # Feast's own step, which the port does not have
    for view in system.features.views:
        for day in range(DAYS):
            store.write(system, view.name, _states(view, counts[view.name], FIRST + day * DAY, random))


def rows_path(settings: Settings) -> Path:
    """The rows of `write_joined`."""
    return settings.path("benchmark", ROWS)


def _states(view: FeatureView, count: int, at: datetime, random: np.random.Generator) -> pd.DataFrame:
    kept = np.flatnonzero(random.random(count) < WRITTEN)
    values = random.poisson(20, (len(kept), FEATURES)).astype(np.float32)
    named = {feature.name: values[:, number] for number, feature in enumerate(view.features)}
    return pd.DataFrame({view.entities[0]: _names(view.name, kept), STAMP: pd.Timestamp(at), **named})


def _names(view: str, numbers: np.ndarray) -> list[str]:
    return [f"{view[0]}{number}" for number in numbers.tolist()]
