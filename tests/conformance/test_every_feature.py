"""The features of every system: they know no future; a row has the same alone, among others, online and offline."""

import asyncio
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from contracts.records import FeatureRead
from contracts.system import AT, System
from infra import wiring
from infra.live_history import with_live_features
from infra.settings import Settings
from pipelines import materialize
from systems.coherence import row_columns
from tests.conformance.sample import END, Sample, features_of, take
from tests.conftest import settings_in


def test_on_request_gives_just_the_declared_features_all_finite(sample: Sample) -> None:
    found = sample.system.features.on_request(sample.columns)
    assert set(found) == set(sample.system.features.request_features)
    assert all(values.shape == (len(sample.rows),) for values in found.values())
    assert all(np.isfinite(np.asarray(values, dtype=np.float32)).all() for values in found.values())


def test_on_request_gives_a_row_alone_what_it_gives_it_among_others(sample: Sample) -> None:
    on_request, rows = sample.system.features.on_request, take(sample.columns, slice(0, 50))
    together = on_request(rows)
    for row in range(50):
        alone = on_request(take(rows, slice(row, row + 1)))
        assert {name: values[0] for name, values in alone.items()} == {n: v[row] for n, v in together.items()}


def test_on_request_takes_strings_that_nobody_has_seen(system: System) -> None:
    found = system.features.on_request(strangers(system, 1))
    assert all(np.isfinite(values).all() for values in found.values())


def test_features_ignore_the_future(sample: Sample) -> None:
    """What happens from a moment on, and labels that are final only from then on, change no row before it."""
    target, delay = sample.system.task.target, sample.system.requirements.label_delay.total_seconds()
    periods = [view.every.total_seconds() for view in sample.system.features.views if not view.live]
    for every in sorted({*periods, 3600.0}):
        tick = float(sample.rows[AT].iloc[len(sample.rows) // 2]) // every * every
        moment = tick + min(delay, every) / 2  # so that the rows since the tick could know labels that are not final
        before = (sample.rows[AT] < moment).to_numpy()
        assert (sample.rows[AT][before] >= tick).any()
        other = sample.history.copy()
        not_final = other[AT] > moment - delay
        other.loc[not_final, target] = 1.0 - other.loc[not_final, target]
        future, columns = other[AT] >= moment, list(row_columns(sample.system))
        other.loc[future, columns] = other.loc[future, columns].sample(frac=1.0, random_state=0).to_numpy()
        found = features_of(sample.system, other, sample.filled_in(sample.rows[before]))
        np.testing.assert_array_equal(found, sample.features[before])


def test_online_equals_offline(sample: Sample, tmp_path: Path, empty_redis: Settings) -> None:
    """What the gateway reads from Redis is what training joins, to the last bit; of strangers, too."""
    system, settings = sample.system, _stack(tmp_path, empty_redis)
    events = sample.history.iloc[-3_000:]
    wiring.events(settings).append(system, events)
    materialize.run(settings, system, END, lambda said: None)
    asked = pd.concat([sample.filled_in(events.iloc[-300:]), pd.DataFrame(strangers(system, 2))])
    asked = asked[[*row_columns(system), AT]].assign(**{AT: END.timestamp()}).reset_index(drop=True)
    offline = wiring.feature_store(settings).historical(system, with_live_features(settings, system, asked))
    online = _read(settings, system, asked)
    np.testing.assert_array_equal(online.matrix, offline[list(system.features.names)].to_numpy(np.float32))
    read = online.matrix[:, : len(system.features.names) - len(system.features.request_features)]
    assert not system.features.views or len(np.unique(read, axis=0)) > 3


def strangers(system: System, count: int) -> dict[str, np.ndarray]:  # type: ignore[type-arg]  # any columns
    """Rows of whom nobody has heard."""
    kinds = {name: system.features.source.columns[name] for name in row_columns(system)}
    rows = {name: np.full(count, 1.0) if kind != "string" else _odd(count) for name, kind in kinds.items()}
    return {**rows, AT: np.full(count, (END - timedelta(hours=1)).timestamp())}


def _odd(count: int) -> np.ndarray:  # type: ignore[type-arg]  # objects
    return np.array([f"☃ unseen {number}" for number in range(count)], dtype=object)


def _stack(folder: Path, redis: Settings) -> Settings:
    return settings_in(folder / "state").model_copy(update={"redis_url": redis.redis, "log_redis_url": redis.log_redis})


def _read(settings: Settings, system: System, rows: pd.DataFrame) -> FeatureRead:
    async def once() -> FeatureRead:
        reader = wiring.feature_reader(settings)
        try:
            return await reader.online(system, {str(name): rows[name].to_numpy() for name in rows}, END)
        finally:
            await reader.aclose()  # type: ignore[attr-defined]  # the adapter's own

    return asyncio.run(once())
