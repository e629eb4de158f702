"""`python -m benchmarks.paths.worker TASK`: one step, measured; its parameters on standard input, its cost on standard
output as JSON.

What is prepared for a step (imports, the rows it is handed, Feast's registry) is not in its time; all is in its peak.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import partial
from typing import Any

import feast
import numpy as np
import pandas as pd

from benchmarks.paths import data
from benchmarks.paths.alone import OURS, Cost
from benchmarks.paths.plan import SEED, Plan
from contracts.system import AT, Matrix, System
from infra import wiring
from infra.feature_store import STAMP, connection_string, definitions, view_name
from infra.settings import Settings

ROW = "row"
UNIT = 1024 if sys.platform == "linux" else 1  # of ru_maxrss
STORE_YAML = """project: flywheel
provider: local
entity_key_serialization_version: 3
registry: {registry}
offline_store:
  type: {offline}
online_store:
  type: redis
  connection_string: {redis}
"""

Step = Callable[[], Any]
Task = Callable[[Settings, Mapping[str, Any]], Cost]


def main() -> None:
    """Carry out a task of `TASKS`."""
    given = json.loads(sys.stdin.read())
    with redirect_stdout(sys.stderr):  # Feast tells of its progress
        cost = TASKS[sys.argv[1]](Settings.load(), given)
    sys.stdout.write(json.dumps(asdict(cost)) + "\n")


def join(settings: Settings, given: Mapping[str, Any]) -> Cost:
    """A training set: rows with features as of each row's own moment. The values and which rows they are of go to a
    file."""
    rows = pd.read_parquet(data.rows_path(settings))
    ours = given["contender"] == OURS
    step = _joined_by_flywheel(settings, rows) if ours else _joined_by_feast(settings, given["contender"], rows)
    cost, found = measured(step)
    np.savez(given["values"], values=_matrix(found), rows=np.arange(len(rows)) if ours else found[ROW].to_numpy())
    return cost


def materialize(settings: Settings, given: Mapping[str, Any]) -> Cost:
    """The latest states of all entities, from Parquet to Redis."""
    if given["contender"] == OURS:
        return measured(partial(wiring.feature_store(settings).materialize, data.COPIED, data.UNTIL))[0]
    store = _feast(settings, given["contender"], data.COPIED)
    return measured(partial(store.materialize, data.FIRST - data.DAY, data.UNTIL))[0]


def prepare_join(settings: Settings, given: Mapping[str, Any]) -> Cost:
    """Write what `join` reads."""
    return measured(partial(data.write_joined, settings, Plan(**given["plan"]), given["times"]))[0]


def prepare_materialize(settings: Settings, given: Mapping[str, Any]) -> Cost:
    """Write what `materialize` reads."""
    random, counts = np.random.default_rng([SEED, given["times"]]), {"user": given["entities"]}
    return measured(partial(data.write_states, settings, data.COPIED, counts, random))[0]


def measured(step: Step) -> tuple[Cost, Any]:
    """What a step cost this process, and what it gave."""
    began, processor = time.perf_counter(), time.process_time()
    found = step()
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e9
    return Cost(seconds, processor, peak), found


def _joined_by_flywheel(settings: Settings, rows: pd.DataFrame) -> Step:
    return partial(wiring.feature_store(settings).historical, data.JOINED, rows)


def _joined_by_feast(settings: Settings, offline: str, rows: pd.DataFrame) -> Step:
    """The same question in Feast's own words; it keeps no order of rows, so they are numbered."""
    store = _feast(settings, offline, data.JOINED)
    micros = np.floor(rows.pop(AT).to_numpy() * 1e6).astype("datetime64[us]")
    asked = rows.copy()
    asked[STAMP], asked[ROW] = pd.DatetimeIndex(micros, tz="UTC"), np.arange(len(rows))
    views = data.JOINED.features.views
    features = [f"{view_name(data.JOINED, view)}:{feature.name}" for view in views for feature in view.features]
    return lambda: store.get_historical_features(entity_df=asked, features=features).to_df()


def _matrix(found: pd.DataFrame) -> Matrix:
    """The features, with the declared default where there is none."""
    features = [feature for view in data.JOINED.features.views for feature in view.features]
    return np.column_stack([found[one.name].fillna(one.default).to_numpy(np.float32) for one in features])


def _feast(settings: Settings, offline: str, system: System) -> Any:
    """Feast at its defaults but for the offline store, over the same Parquet files and the same Redis."""
    path = settings.path("benchmark", f"{offline}.yaml")
    path.touch(mode=0o600)  # it holds Redis' password
    registry = json.dumps(str(settings.path("benchmark", f"{offline}.db").absolute()))
    redis = json.dumps(connection_string(settings.redis))
    path.write_text(STORE_YAML.format(offline=offline, registry=registry, redis=redis))
    store: Any = feast.FeatureStore(fs_yaml_file=path)
    store.apply(definitions(settings, system))
    return store


TASKS: Mapping[str, Task] = {
    "prepare_join": prepare_join,
    "join": join,
    "prepare_materialize": prepare_materialize,
    "materialize": materialize,
}

if __name__ == "__main__":
    main()
