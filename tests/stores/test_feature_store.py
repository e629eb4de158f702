"""The feature store's offline half and materialisation: real Feast, real Parquet, real Redis."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import feast
import numpy as np
import pandas as pd
import pytest
import redis
import yaml
from feast.infra.online_stores.redis import RedisOnlineStore

from contracts.errors import InvalidInput, NotFound, Unavailable
from infra.feast_layout import watermark_key
from infra.feature_store import FeastFeatureStore, connection_string
from infra.live_history import live_features
from infra.settings import Settings
from pipelines.aggregate import STAMP, view_states
from tests.conftest import settings_in
from tests.stores.live_system import CARD, live, payments
from tests.stores.tiny_system import HOUR, NOON, PAIR, USER, events, rows, tiny, without_redis


@pytest.fixture
def stack(tmp_path: Path, empty_redis: Settings) -> Settings:
    return settings_in(tmp_path / "state").model_copy(update={"redis_url": empty_redis.redis})


@pytest.fixture
def store(stack: Settings) -> FeastFeatureStore:
    return FeastFeatureStore(stack)


def states(*of: tuple[str, float, float]) -> pd.DataFrame:
    """States of users: name, hours before noon, how often seen."""
    users, ages, seen = zip(*of, strict=True)
    stamps = [NOON - age * HOUR for age in ages]
    return pd.DataFrame({"user_id": users, STAMP: stamps, "seen_3h": seen, "rate_6h": np.float64(0.5)})


def asked(*of: tuple[str, float], index: list[int] | None = None) -> pd.DataFrame:
    """Rows to be given features: user, hours before noon."""
    frame = pd.DataFrame(rows(*((user, "cats") for user, _ in of)), index=index)
    return frame.assign(at=[(NOON - age * HOUR).timestamp() for _, age in of])


def test_rows_get_the_state_of_their_own_time_in_their_own_order(store: FeastFeatureStore) -> None:
    store.write(tiny(), "user", states(("a", 5, 1), ("a", 3, 2), ("b", 4, 7)))
    found = store.historical(tiny(), asked(("b", 0), ("a", 3), ("a", 4), ("a", 6), index=[9, 4, 4, 1]))
    assert found["seen_3h"].tolist() == [7, 2, 1, 0]
    assert found.index.tolist() == [9, 4, 4, 1]
    assert list(found)[-5:] == list(tiny().features.names)
    assert (found.dtypes[list(tiny().features.names)] == np.float32).all()
    assert found["third"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_what_is_missing_or_older_than_the_ttl_is_the_default(store: FeastFeatureStore) -> None:
    store.write(tiny(), "user", states(("a", 9, 3), ("b", 8, 4)))
    found = store.historical(tiny(), asked(("a", 0), ("b", 0), ("nobody", 0)))
    assert found["seen_3h"].tolist() == [0, 4, 0]
    assert found["rate_6h"].tolist() == pytest.approx([0.1, 0.5, 0.1])
    assert found["spent_6h"].tolist() == [-1, -1, -1]


def test_the_join_equals_a_search_row_by_row(store: FeastFeatureStore) -> None:
    written = view_states(USER, events(400, NOON - 48 * HOUR, 48), None, NOON)
    store.write(tiny(), "user", written)
    sought = events(300, NOON - 60 * HOUR, 72, seed=1).assign(slot=0)
    found = store.historical(tiny(), sought)
    for (_, row), seen in zip(sought.iterrows(), found["seen_3h"], strict=True):
        moment = pd.Timestamp(row["at"], unit="s", tz="UTC")
        own = written[(written["user_id"] == row["user_id"]) & (written[STAMP] <= moment)]
        fresh = len(own) and own[STAMP].iloc[-1] >= moment - USER.ttl
        assert seen == (own["seen_3h"].iloc[-1] if fresh else 0)


def test_no_rows_get_no_features(store: FeastFeatureStore) -> None:
    found = store.historical(tiny(), asked(("a", 0)).iloc[:0])
    assert found.empty
    assert list(found)[-5:] == list(tiny().features.names)


def test_twice_is_once_and_the_newer_of_the_same_tick_stays(stack: Settings, store: FeastFeatureStore) -> None:
    for seen in (1, 1, 2):
        store.write(tiny(), "user", states(("a", 3, seen), ("b", 30, 5)))
    stored = pd.read_parquet(sorted(stack.path("features", "tiny", "user").glob("2*.parquet")))
    assert sorted(zip(stored["user_id"], stored["seen_3h"], strict=True)) == [("a", 2), ("b", 5)]


def test_materialisation_is_incremental_and_takes_the_latest(stack: Settings, store: FeastFeatureStore) -> None:
    store.write(tiny(), "user", states(("a", 5, 1), ("a", 3, 2), ("b", 4, 7), ("c", 0, 9)))
    assert store.materialize(tiny(), NOON - 2 * HOUR) == {"user": 2, "pair": 0}
    assert store.materialize(tiny(), NOON - 2 * HOUR) == {"user": 0, "pair": 0}
    assert online(stack, "a", "b", "c") == [2, 7, None]
    assert store.materialize(tiny(), NOON) == {"user": 1, "pair": 0}
    assert online(stack, "a", "b", "c") == [2, 7, 9]


def test_an_empty_redis_beside_an_old_registry_is_filled_again(stack: Settings, store: FeastFeatureStore) -> None:
    store.write(tiny(), "user", states(("a", 3, 2), ("b", 4, 7)))
    store.materialize(tiny(), NOON)
    with redis.Redis.from_url(stack.redis) as client:
        client.flushall()
    assert online(stack, "a", "b") == [None, None]
    assert FeastFeatureStore(stack).materialize(tiny(), NOON) == {"user": 2, "pair": 0}
    assert online(stack, "a", "b") == [2, 7]


def test_the_watermark_stays_where_it_was_when_redis_goes_away(stack: Settings, store: FeastFeatureStore) -> None:
    store.write(tiny(), "user", states(("a", 3, 2)))
    with pytest.raises(Unavailable, match="Redis does not answer"):
        FeastFeatureStore(without_redis(stack)).materialize(tiny(), NOON)
    with redis.Redis.from_url(stack.redis) as client:
        assert not client.exists(watermark_key(tiny()))
    assert store.materialize(tiny(), NOON)["user"] == 1


def test_a_forgotten_view_is_gone_offline_and_online_and_no_other(stack: Settings, store: FeastFeatureStore) -> None:
    spent = view_states(PAIR, events(50, NOON - 3 * HOUR, 3), None, NOON)
    store.write(tiny(), "pair", spent)
    store.write(tiny(), "user", states(("a", 3, 2)))
    assert store.materialize(tiny(), NOON)["pair"] > 0
    store.forget(tiny(), "pair")
    assert store.materialize(tiny(), NOON) == {"user": 0, "pair": 0}
    assert online(stack, "a") == [2]
    keys = {"user_id": spent["user_id"].iloc[0], "category": spent["category"].iloc[0]}
    assert sdk(stack).get_online_features(["tiny__pair:spent_6h"], [keys]).to_dict()["spent_6h"] == [None]


def test_a_view_that_gained_a_feature_is_read_with_it(store: FeastFeatureStore) -> None:
    store.write(tiny(), "user", states(("a", 3, 2)))
    store.historical(tiny(), asked(("a", 0)))
    more = replace(USER, features=(*USER.features, replace(USER.features[0], name="seen_6h", default=3.0)))
    found = store.historical(tiny(more), asked(("a", 0)))
    assert (found["seen_3h"].item(), found["seen_6h"].item()) == (2, 3)


def test_definitions_are_applied_by_several_at_once(stack: Settings) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(FeastFeatureStore(stack).apply, tiny()) for _ in range(8)]:
            done.result()
    assert {view.name for view in sdk(stack).list_feature_views()} == {"tiny__user", "tiny__pair"}


def test_live_views_are_not_feasts_and_rows_bring_their_features_along(stack: Settings) -> None:
    store, system = FeastFeatureStore(stack), live()
    known = pd.DataFrame({"card_id": ["c1"], STAMP: [NOON - HOUR], "card_mean_6h": [7.0]})
    store.write(system, "usual", known)
    brought = live_features(system, CARD, payments(40, 600), payments(40, 600))
    sought = pd.concat([payments(40, 600), brought], axis=1).assign(place_items_1m=3.0, place_amount_2h=0.1)
    found = store.historical(system, sought)
    assert list(found)[-7:] == list(system.features.names)
    assert (found.dtypes[list(system.features.names)] == np.float32).all()
    pd.testing.assert_frame_equal(found[list(brought)], brought)
    assert found["card_mean_6h"].tolist() == [7.0 if card == "c1" else 40.0 for card in sought["card_id"]]
    assert store.materialize(system, NOON) == {"usual": 1}
    assert [view.name for view in sdk(stack).list_feature_views()] == ["payments__usual"]
    with pytest.raises(InvalidInput, match="lack 'card_1m'"):
        store.historical(system, sought.drop(columns="card_1m"))
    with pytest.raises(NotFound, match="no feature view named 'card' that has states"):
        store.write(system, "card", known)


def test_a_system_may_have_live_views_alone(store: FeastFeatureStore) -> None:
    system = live(CARD)
    sought = pd.concat([payments(9, 60), live_features(system, CARD, payments(9, 60), payments(9, 60))], axis=1)
    pd.testing.assert_frame_equal(store.historical(system, sought)[list(sought)], sought)
    assert store.materialize(system, NOON) == {}


def test_what_does_not_fit_is_named(store: FeastFeatureStore) -> None:
    with pytest.raises(NotFound, match="no feature view named 'usr'"):
        store.write(tiny(), "usr", states(("a", 3, 2)))
    with pytest.raises(InvalidInput, match="lack the column 'rate_6h'"):
        store.write(tiny(), "user", states(("a", 3, 2)).drop(columns="rate_6h"))
    with pytest.raises(InvalidInput, match="lack 'category'"):
        store.historical(tiny(), asked(("a", 0)).drop(columns="category"))


@pytest.mark.parametrize("password", ["plain", "123", "a,b=c", 'say "$HOME"', "it's"])
def test_any_password_reaches_redis_through_feasts_configuration(tmp_path: Path, password: str) -> None:
    url = "redis://:" + "".join(f"%{byte:02x}" for byte in password.encode()) + "@host:77/3"
    assert RedisOnlineStore._parse_connection_string(connection_string(url)) == (
        [{"host": "host", "port": "77"}],
        {"password": password, "db": 3, "socket_timeout": 10.0, "socket_connect_timeout": 10.0},
    )
    stack = settings_in(tmp_path).model_copy(update={"redis_url": url})
    FeastFeatureStore(stack).apply(tiny())
    written = stack.path("feast", "feature_store.yaml")
    assert written.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(written.read_text())["online_store"]["connection_string"] == connection_string(url)


def sdk(stack: Settings) -> feast.FeatureStore:
    return feast.FeatureStore(fs_yaml_file=stack.path("feast", "feature_store.yaml"))


def online(stack: Settings, *users: str) -> list[float | None]:
    """How often users were seen, by Feast's own SDK."""
    found = sdk(stack).get_online_features(["tiny__user:seen_3h"], [{"user_id": user} for user in users])
    return list(found.to_dict()["seen_3h"])
