"""What all contenders are measured on: drawn states in the feature store, trees fitted on them, bodies of requests."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import pandas as pd

from benchmarks.serving.ranking import CHAMPION, ESTIMATOR, STORE, SYSTEM, kept
from benchmarks.serving.systems.ranking.world import asked
from contracts.system import FeatureView, Matrix
from infra import wiring
from infra.feature_store import STAMP, connection_string
from infra.settings import Settings
from pipelines.onnx_export import check_same, to_onnx

SEED = 2026_11_22
AGE = timedelta(seconds=1)  # of the states when they are materialised: younger than all that was before
STORE_YAML = """project: flywheel
provider: local
entity_key_serialization_version: 3
registry: {registry}
offline_store:
  type: duckdb
online_store:
  type: redis
  connection_string: {redis}
"""

Tables = dict[str, pd.DataFrame]  # states by view


@dataclass(frozen=True)
class Sizes:
    """How many users and items there are, different bodies, and rows that the trees are fitted on."""

    users: int
    items: int
    bodies: int
    rows: int


FULL, QUICK = Sizes(50_000, 20_000, 2_000, 20_000), Sizes(2_000, 2_000, 200, 2_000)


def prepare(settings: Settings, sizes: Sizes) -> None:
    """Fill the feature store and the registry, which run; write what the comparators read."""
    random = np.random.default_rng(SEED)
    tables = materialised(settings, sizes, random, wiring.clock(settings).now())
    _registered(settings, written(settings, tables, sizes.rows, random))


def written(settings: Settings, tables: Tables, rows: int, random: np.random.Generator) -> bytes:
    """Trees fitted on so many rows, as both of their files; the file by which plain Feast reads the same Redis. Gives
    the trees as ONNX."""
    estimator, X = _fitted(tables, rows, random)
    model = to_onnx(estimator, X.shape[1])
    check_same(estimator, model, X)
    joblib.dump(estimator, kept(settings, ESTIMATOR))
    kept(settings, CHAMPION).write_bytes(model)
    kept(settings, STORE).touch(mode=0o600)  # it holds Redis' password
    kept(settings, STORE).write_text(
        STORE_YAML.format(
            registry=json.dumps(str(settings.path("feast", "registry.db").absolute())),
            redis=json.dumps(connection_string(settings.redis)),
        )
    )
    return model


def materialised(settings: Settings, sizes: Sizes, random: np.random.Generator, now: datetime) -> Tables:
    """New states of every user and item, in the online store; by view."""
    store = wiring.feature_store(settings)
    counts = {"user": sizes.users, "item": sizes.items}
    tables = {view.name: _states(view, counts[view.name], random, now - AGE) for view in SYSTEM.features.views}
    for name, states in tables.items():
        store.write(SYSTEM, name, states)
    store.materialize(SYSTEM, now)
    return tables


def requested(rows: int, random: np.random.Generator) -> Iterator[Matrix]:
    """For ever, the features of a request's rows: those of one user, beside those of as many items."""
    made = {view.name: _states(view, QUICK.users, random, datetime.now(UTC)) for view in SYSTEM.features.views}
    user, item = (
        made[view.name][[feature.name for feature in view.features]].to_numpy(np.float32)
        for view in SYSTEM.features.views
    )
    while True:
        one = np.broadcast_to(user[random.integers(len(user))], (rows, user.shape[1]))
        yield np.hstack([one, item[random.integers(len(item), size=rows)]])


def bodies(settings: Settings, sizes: Sizes, candidates: int) -> Path:
    """A file of requests' bodies, one a line; users and items are all equally likely."""
    path = kept(settings, f"bodies-{candidates}.jsonl")
    random = np.random.default_rng([SEED, candidates])
    made = asked(random, sizes.bodies, candidates, (sizes.users, sizes.items))
    path.write_text("".join(json.dumps(body, separators=(",", ":")) + "\n" for body in made))
    return path


def _states(view: FeatureView, count: int, random: np.random.Generator, at: datetime) -> pd.DataFrame:
    [key] = view.entities
    drawn = {
        feature.name: random.beta(2, 18, count) if feature.aggregate == "mean" else random.poisson(20, count)
        for feature in view.features
    }
    columns = {name: values.astype(np.float32) for name, values in drawn.items()}
    return pd.DataFrame({key: [f"{key[0]}{number}" for number in range(count)], STAMP: pd.Timestamp(at), **columns})


def _fitted(tables: Tables, rows: int, random: np.random.Generator) -> tuple[Any, Matrix]:
    """Trees on rows of random users and items, whose labels depend on half of the features."""
    parts = []
    for view in SYSTEM.features.views:
        states = tables[view.name][[feature.name for feature in view.features]].to_numpy(np.float32)
        parts.append(states[random.integers(len(states), size=rows)])
    X: Matrix = np.hstack(parts)
    scaled = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-6)
    odds = scaled @ np.where(np.arange(X.shape[1]) % 2, 0.4, 0.0) - 1.5
    y = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    return SYSTEM.model.build(SEED).fit(X, y), X


def _registered(settings: Settings, model: bytes) -> None:
    registry = wiring.registry(settings)
    with wiring.tracker(settings).run(SYSTEM.name, "benchmark", {}) as run:
        version = registry.register(SYSTEM.name, model, run.run_id, SYSTEM.features.names, {"log_loss": 0.5})
    registry.point(SYSTEM.name, "champion", version.version)
