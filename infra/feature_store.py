"""The feature store's offline half and its materialisation: Feast, on Parquet by way of DuckDB and on Redis.

Pipelines write the states of views here, training reads them back as of each row's own time, and materialisation
copies the latest ones to Redis, where `infra/online_features.py` reads them. Feast's definitions are made from the
systems' ticked views in this one place, and handed to its CLI by `feature_repo/definitions.py`; live ones are not its.
"""

import fcntl
import io
import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any, cast

import feast
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import redis
from feast.data_format import ParquetFormat
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.types import Float32, String

from contracts.errors import InvalidInput, NotFound, Unavailable
from contracts.system import AT, FeatureView, System
from infra.day_parts import publish
from infra.feast_layout import watermark_key
from infra.live_windows import live_views, ticked_views
from infra.settings import ROOT, Settings

STAMP = "event_timestamp"
ROW = "flywheel_row"  # a row's place in what was asked for; Feast's join keeps no order
EMPTY = "empty.parquet"  # holds the columns while there is no state yet
TIMEOUT = 10.0  # seconds that one exchange with Redis may take
QUIET = threading.RLock()
TEMPLATE = ROOT / "feature_repo" / "feature_store.yaml"


def view_name(system: System, view: FeatureView) -> str:
    """What Feast calls a view of a system."""
    return f"{system.name}__{view.name}"


def definitions(settings: Settings, system: System) -> list[Any]:
    """A system's ticked views as Feast objects: entities, sources and feature views. All keys are strings, all features
    Float32, which is what models take."""
    keys = sorted({key for view in ticked_views(system) for key in view.entities})
    entities = {key: feast.Entity(name=key, join_keys=[key], value_type=feast.ValueType.STRING) for key in keys}
    objects: list[Any] = list(entities.values())
    for view in ticked_views(system):
        name = view_name(system, view)
        source = feast.FileSource(
            name=name,
            path=str(_folder(settings, system, view) / "*.parquet"),
            timestamp_field=STAMP,
            file_format=ParquetFormat(),
        )
        schema = [feast.Field(name=key, dtype=String) for key in view.entities]
        schema += [feast.Field(name=feature.name, dtype=Float32) for feature in view.features]
        bound = [entities[key] for key in view.entities]
        objects += [source, feast.FeatureView(name=name, entities=bound, ttl=view.ttl, schema=schema, source=source)]
    return objects


class FeastFeatureStore:
    """Port `FeatureStore`. Any number of processes may use one state folder at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._applied: dict[str, System] = {}
        self._feast: feast.FeatureStore | None = None

    def apply(self, system: System) -> None:
        """Bring Feast's registry in line with the system's views; the other calls do it by themselves."""
        if self._applied.get(system.name) is system:
            return
        with self._locked(fcntl.LOCK_EX), _quiet():
            for view in ticked_views(system):
                _hold_columns(_folder(self._settings, system, view) / EMPTY, view)
            self._store().apply(definitions(self._settings, system))
        self._applied[system.name] = system

    def write(self, system: System, view: str, states: pd.DataFrame) -> None:
        """Append states of a view, by day; a state of an entity that is there for its tick already is replaced."""
        declared = _view(system, view)
        folder = _folder(self._settings, system, declared)
        table = _table(declared, states)
        days = pc.floor_temporal(table[STAMP], unit="day")
        with self._locked(fcntl.LOCK_EX):
            for day in sorted(days.unique().to_pylist()):
                rows = table.filter(pc.equal(days, pa.scalar(day, days.type)))
                _upsert(folder / f"{day:%Y-%m-%d}.parquet", declared, rows)

    def historical(self, system: System, rows: pd.DataFrame) -> pd.DataFrame:
        """`rows`, their index kept, with a float32 column for each of `Features.names`, each as of the row's `at`; what
        live views say of them, which is computed from events (`infra/live_history.py`), they bring along."""
        self.apply(system)
        keys = sorted({key for view in ticked_views(system) for key in view.entities})
        live = [feature.name for view in live_views(system) for feature in view.features]
        if missing := [name for name in (*keys, *live, AT) if name not in rows]:
            raise InvalidInput(f"Rows of {system.name} lack {missing[0]!r}, which its features need.", missing[0])
        asked = rows[keys].astype(str).reset_index(drop=True)
        micros = np.floor(rows[AT].to_numpy(np.float64) * 1e6).astype("datetime64[us]")
        asked[STAMP], asked[ROW] = pd.DatetimeIndex(micros, tz="UTC"), np.arange(len(asked))
        found = self._joined(system, asked) if len(asked) and keys else {}
        found |= {name: rows[name].to_numpy(np.float32) for name in live}
        columns = {name: rows[name].to_numpy() for name in rows.columns}
        found |= {name: np.asarray(v, np.float32) for name, v in system.features.on_request(columns).items()}
        names = system.features.names
        taken = rows.drop(columns=[name for name in names if name in rows])
        added = pd.DataFrame({name: found.get(name, np.empty(0, np.float32)) for name in names}, index=rows.index)
        return pd.concat([taken, added], axis=1)

    def materialize(self, system: System, until: datetime) -> Mapping[str, int]:
        """Copy each view's latest states up to `until` to Redis: entities written, by view.

        How far that went is kept in Redis itself, and moved after the data: a Redis that lost its data is filled
        again, with whatever is younger than the ttl, and an interrupted run starts where it stopped.
        """
        self.apply(system)
        with self._locked(fcntl.LOCK_EX), self._redis() as client:
            return {view.name: self._materialize(client, system, view, until) for view in ticked_views(system)}

    def forget(self, system: System, view: str) -> None:
        """Delete a view's states from the Parquet folder and from Redis, and how far it was materialised."""
        declared = _view(system, view)
        folder = _folder(self._settings, system, declared)
        [bound] = [d for d in definitions(self._settings, system) if d.name == view_name(system, declared)][1:]
        with self._locked(fcntl.LOCK_EX), self._redis() as client:
            client.hdel(watermark_key(system), view)
            RedisOnlineStore().delete_table(self._store().config, bound)
            for path in folder.glob("*.parquet"):
                path.unlink()
        self._applied.pop(system.name, None)

    def _joined(self, system: System, asked: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
        """The views' features for rows in the order of ROW: Feast's point-in-time join, then defaults."""
        features = [(view, feature) for view in ticked_views(system) for feature in view.features]
        with self._locked(fcntl.LOCK_SH), _quiet():
            store = self._store()
            store.refresh_registry()  # type: ignore[no-untyped-call]  # Feast has few types
            job = store.get_historical_features(
                entity_df=asked, features=[f"{view_name(system, view)}:{feature.name}" for view, feature in features]
            )
        with _quiet():
            table = job.to_arrow().sort_by(ROW)
        return {
            feature.name: table[feature.name].fill_null(feature.default).to_numpy().astype(np.float32)
            for _, feature in features
        }

    def _materialize(self, client: redis.Redis, system: System, view: FeatureView, until: datetime) -> int:
        stored = client.hget(watermark_key(system), view.name)
        done = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(cast(bytes, stored))) if stored else None
        if done and done >= until:
            return 0
        start = max(done, until - view.ttl) if done else until - view.ttl
        count = _entities_between(_folder(self._settings, system, view), view, start, until)
        if count:
            with _quiet():
                self._store().materialize(start, until, feature_views=[view_name(system, view)])
        micros = (until - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
        client.hset(watermark_key(system), view.name, str(micros))
        return count

    def _store(self) -> feast.FeatureStore:
        if self._feast is None:
            self._feast = feast.FeatureStore(fs_yaml_file=self._configuration())
        return self._feast

    def _configuration(self) -> Path:
        """Feast's own file with this stack's values filled in, in a file that only its owner can read."""
        path = self._settings.path("feast", "feature_store.yaml")
        values = {
            "FEATURE_REGISTRY": _quoted(str(self._settings.path("feast", "registry.db").absolute())),
            "FEATURE_REDIS": _quoted(connection_string(self._settings.redis)),
        }
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.touch(mode=0o600)
        unfinished.write_text(Template(TEMPLATE.read_text()).substitute(values))
        unfinished.replace(path)
        return path

    @contextmanager
    def _redis(self) -> Iterator[redis.Redis]:
        try:
            with redis.Redis.from_url(self._settings.redis, socket_timeout=TIMEOUT) as client:
                yield client
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Unavailable(
                "Redis does not answer, so no feature was materialised; see `flywheel status`."
            ) from error

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Feast rewrites its registry in place, and days are rewritten whole: one writer, no reader meanwhile."""
        with self._settings.path("feast", "lock").open("a") as file:
            fcntl.flock(file, how)
            yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Feast prints its progress, and the library beneath it calls what DuckDB has given another name.

    Both are the process's to change: one thread at a time, or they would be put back in the wrong order.
    """
    with QUIET, redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
        yield


def connection_string(url: str) -> str:
    """A Redis URL as Feast wants it, HOST:PORT,KEY=VALUE…; values are JSON, with the comma that separates escaped."""
    options = redis.connection.parse_url(url)  # type: ignore[no-untyped-call]  # redis-py's has no types
    given: dict[str, Any] = {key: options[key] for key in ("username", "password", "db") if options.get(key)}
    if url.startswith("rediss:"):
        given["ssl"] = True
    given |= {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    values = [f"{key}={json.dumps(value)}".replace(",", "\\u002c") for key, value in given.items()]
    return ",".join([f"{options.get('host', 'localhost')}:{options.get('port', 6379)}", *values])


def _quoted(value: str) -> str:
    """As a YAML string that Feast, which expands variables first, leaves as it is."""
    return json.dumps(value).replace("$", "\\u0024")


def _folder(settings: Settings, system: System, view: FeatureView) -> Path:
    return settings.path("features", system.name, view.name).absolute()


def _view(system: System, name: str) -> FeatureView:
    views = {view.name: view for view in ticked_views(system)}
    if name not in views:
        raise NotFound(f"{system.name} has no feature view named {name!r} that has states. Known: {', '.join(views)}.")
    return views[name]


def _schema(view: FeatureView) -> pa.Schema:
    fields: list[tuple[str, pa.DataType]] = [(key, pa.string()) for key in view.entities]
    fields.append((STAMP, pa.timestamp("us", tz="UTC")))  # nanoseconds break Feast on DuckDB
    return pa.schema([*fields, *((feature.name, pa.float32()) for feature in view.features)])


def _table(view: FeatureView, states: pd.DataFrame) -> pa.Table:
    schema = _schema(view)
    if missing := [name for name in schema.names if name not in states]:
        raise InvalidInput(f"States of the view {view.name!r} lack the column {missing[0]!r}.", missing[0])
    return pa.Table.from_pandas(states[schema.names], schema=schema, preserve_index=False, safe=False)


def _hold_columns(path: Path, view: FeatureView) -> None:
    """A file without rows, so that a view can be read before its first state is written."""
    if not path.exists() or pq.read_schema(path) != _schema(view):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, _schema(view).empty_table())


def _upsert(path: Path, view: FeatureView, rows: pa.Table) -> None:
    """Put a day's new states into its file; the newer one stays where entity and tick are the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        old = pq.read_table(path, schema=_schema(view))
        if pc.max(old[STAMP]).as_py() >= pc.min(rows[STAMP]).as_py():
            both = pa.concat_tables([old, rows]).to_pandas()
            once = both.drop_duplicates([*view.entities, STAMP], keep="last")
            rows = pa.Table.from_pandas(once, schema=_schema(view), preserve_index=False)
        else:
            rows = pa.concat_tables([old, rows])
    _replace(path, rows)


def _replace(path: Path, table: pa.Table) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")  # no name that Feast's pattern would match
    pq.write_table(table, unfinished, compression="zstd")
    publish(unfinished, path)


def _entities_between(folder: Path, view: FeatureView, start: datetime, until: datetime) -> int:
    """How many entities have a state in the interval, both ends included."""
    first, last = (f"{moment:%Y-%m-%d}" for moment in (start, until))
    files: Sequence[Path] = [path for path in folder.glob("*.parquet") if first <= path.stem <= last]
    if not files:
        return 0
    kept = (pc.field(STAMP) >= pa.scalar(start)) & (pc.field(STAMP) <= pa.scalar(until))
    tables = [pq.read_table(path, columns=list(view.entities), filters=kept) for path in files]
    return int(pa.concat_tables(tables).group_by(list(view.entities)).aggregate([]).num_rows)
