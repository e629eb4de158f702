"""Served against recomputed features: what is allowed is counted, what differs is named and described."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from contracts.records import FEATURES_UNAVAILABLE
from contracts.system import AT, Features, System
from infra.memory_archive import MemoryArchive
from monitoring.parity import Parity, Stores, check, compare, under_way
from monitoring.recomputed import Recomputed, allowed, recomputed
from monitoring.skew import Pairs, describe
from tests.stores.live_system import CARD, live
from tests.stores.tiny_system import HOUR, NOON, USER, tiny

ROWS = 400
TINY = tiny()
NAMES = list(TINY.features.names)


def features(seed: int) -> pd.DataFrame:
    """Values of the tiny system's features, none of them zero, no two columns alike."""
    random = np.random.default_rng(seed)
    values = random.lognormal(1.0, 1.0, (ROWS, len(NAMES))).astype(np.float32) + np.arange(len(NAMES), dtype=np.float32)
    return pd.DataFrame(values, columns=NAMES)


NOW, BEFORE, LONG_BEFORE = features(0), features(1), features(2)
FOUND = Recomputed(NOW, {1: BEFORE, 6: LONG_BEFORE})


def logged(values: pd.DataFrame = NOW, degraded: str = "") -> pd.DataFrame:
    at = NOON.timestamp() + np.arange(len(values)) * 1.0
    ids = [f"p{number}" for number in range(len(values))]
    return values.assign(**{AT: at, "prediction_id": ids, "degraded": degraded})


def with_column(name: str, column: object) -> pd.DataFrame:
    return NOW.assign(**{name: np.asarray(column, np.float32)})


def mixed(where: object, one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Rows of one table where the mask says so, of the other else."""
    mask = np.asarray(where, bool)[:, None]
    return pd.DataFrame(np.where(mask, one[NAMES], other[NAMES]), columns=NAMES)


def judged(served: pd.DataFrame, degraded: str = "") -> Parity:
    return compare(TINY, logged(served, degraded), FOUND, {})


def test_what_is_equal_to_the_last_bit_is_equal() -> None:
    found = judged(NOW)
    assert found.equal is True
    assert sum(each.differing for each in found.features) == 0
    assert {each.name: each.compared for each in found.features} == dict.fromkeys(NAMES, ROWS)
    one_bit = with_column("seen_3h", np.nextafter(NOW["seen_3h"].to_numpy(), np.float32(np.inf)))
    assert judged(one_bit).features[0].differing == ROWS


@pytest.mark.parametrize("name", NAMES)
def test_a_feature_scaled_by_1000_is_named_and_said_to_be_so(name: str) -> None:
    found = judged(with_column(name, NOW[name] * 1000))
    assert found.skewed == (name,)
    assert found.equal is False
    assert found.features[0].words == f"every value is 1000 times the recomputed one, in {ROWS} of {ROWS} rows"
    assert found.features[0].ratio == pytest.approx(1000, rel=1e-5)
    assert found.sentences()[-1].startswith(f"{name}: every value is 1000 times")
    assert found.features[0].examples == ("p0", "p1", "p2")


def test_a_skew_in_some_rows_says_in_how_many() -> None:
    scaled = np.where(np.arange(ROWS) % 4 == 0, NOW["seen_3h"] * 1000, NOW["seen_3h"])
    found = judged(with_column("seen_3h", scaled)).features[0]
    assert found.words == "the value is 1000 times the recomputed one, in 100 of 400 rows"


def test_a_skew_is_found_in_rows_that_are_a_tick_behind_as_well() -> None:
    late = BEFORE.assign(seen_3h=BEFORE["seen_3h"] * 1000, hour=NOW["hour"], third=NOW["third"])
    found = judged(late)
    assert found.skewed == ("seen_3h",)
    assert "1000 times" in found.features[0].words


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (np.zeros(ROWS), "every value is the constant 0 (its default)"),
        (np.full(ROWS, 7.0), "every value is the constant 7,"),
        (NOW["seen_3h"] + 3, "every value is shifted by +3"),
        (NOW["rate_6h"], "every value is that of rate_6h"),
        (np.roll(NOW["seen_3h"], 1), "every value belongs to another row"),
        (np.log1p(NOW["seen_3h"]), "every value differs without a simple pattern, typically by -"),
    ],
)
def test_what_a_difference_looks_like(column: object, words: str) -> None:
    found = judged(with_column("seen_3h", column))
    assert found.skewed == ("seen_3h",)
    assert found.features[0].words.startswith(words)


def test_one_tick_behind_is_allowed_and_counted() -> None:
    behind = np.arange(ROWS) < 60
    found = judged(mixed(behind, BEFORE.assign(hour=NOW["hour"], third=NOW["third"]), NOW))
    assert found.equal is True
    user, pair, request = found.views
    assert (user.behind, pair.behind, request.behind) == (60, 60, 0)
    assert user.behind_for == timedelta(seconds=59)
    assert "60 of an earlier tick (up to 1 min after the tick)" in user.sentence()


def test_more_ticks_behind_than_freshness_allows_is_stale() -> None:
    assert allowed(USER, TINY.requirements.freshness) == 1
    found = judged(NOW.assign(seen_3h=LONG_BEFORE["seen_3h"], rate_6h=LONG_BEFORE["rate_6h"]))
    assert set(found.skewed) == {"seen_3h", "rate_6h"}
    assert found.features[0].words.startswith("every value is as it was 6 ticks before (stale)")


def test_request_features_have_no_tick_to_be_behind_of() -> None:
    assert judged(NOW.assign(hour=BEFORE["hour"])).skewed == ("hour",)


def test_defaults_of_a_degraded_view_are_left_out_and_counted_and_its_other_rows_are_compared() -> None:
    defaults = {feature.name: np.float32(feature.default) for feature in USER.features}
    missing = np.arange(ROWS) < 50
    served = mixed(missing, NOW.assign(**defaults), NOW)
    found = judged(served, "user: missing")
    assert found.equal is True
    assert (found.views[0].degraded, found.views[0].compared, found.views[1].compared) == (50, 350, ROWS)
    assert judged(served.assign(seen_3h=served["seen_3h"] * 1000), "user: missing").skewed == ("seen_3h",)
    assert set(judged(served).skewed) == {"seen_3h", "rate_6h"}  # defaults that nobody said were defaults
    assert set(judged(served, "superuser: missing").skewed) == {"seen_3h", "rate_6h"}


def test_a_view_of_which_nothing_could_be_compared_is_unknown_and_not_equal() -> None:
    defaults = {feature.name: np.float32(feature.default) for feature in USER.features}
    assert judged(NOW.assign(**defaults), "pair: missing; user: stale").equal is None


def test_a_feature_that_was_not_logged_is_absent_and_no_difference() -> None:
    found = {each.name: each for each in judged(NOW.assign(rate_6h=np.float32(np.nan))).features}
    assert (found["rate_6h"].compared, found["rate_6h"].absent, found["rate_6h"].differing) == (0, ROWS, 0)


def test_a_few_rows_in_ten_thousand_are_reported_and_tolerated() -> None:
    one = NOW["seen_3h"].to_numpy().copy()
    one[3] += 1
    found = judged(with_column("seen_3h", one))
    assert found.equal is True
    assert found.features[0].words.startswith("served as")
    assert found.features[0].examples == ("p3",)


def test_a_request_is_under_way_only_with_another_of_its_entity_just_before_it() -> None:
    system = live(CARD)
    base = NOON.timestamp()
    log = pd.DataFrame(
        {
            "card_id": ["a", "b", "a", "a", "a", "c", "c"],
            AT: np.array([base, base, base + 0.2, base + 0.2, base + 2, base, base + 0.3]),
        }
    )
    found = under_way(CARD, log, log.iloc[1:], timedelta(milliseconds=250))
    assert found.tolist() == [False, True, True, False, False, False]
    assert not under_way(USER, log, log, timedelta(hours=1)).any()
    met = {"card": np.array([True, False])}
    rows = pd.DataFrame({name: np.zeros(2, np.float32) for name in system.features.names}).assign(
        **{AT: base, "prediction_id": ["p0", "p1"], "degraded": ""}
    )
    wanted = rows.assign(card_1m=np.array([1, 0], np.float32))
    assert compare(system, rows, Recomputed(wanted, {}), met).equal is True
    assert compare(system, rows, Recomputed(wanted, {}), {}).skewed == ("card_1m",)


class Echo:
    """A feature store that gives back whatever the rows bring along, and 5.0 for what they do not."""

    def historical(self, system: System, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(**{name: rows.get(name, 5.0) for name in system.features.names})


def test_what_was_logged_cannot_come_back_as_recomputed() -> None:
    rows = logged().assign(user_id="u", category="cats", slot=0)
    found = recomputed(TINY, Echo(), lambda bare: bare, rows)  # type: ignore[arg-type]  # it has what is asked
    assert (found.now == 5.0).all(axis=None)


def test_an_empty_log_is_unknown() -> None:
    system = replace(TINY, features=Features(TINY.features.source, (USER,), ("hour",), lambda rows: {"hour": rows[AT]}))
    stores = Stores(MemoryArchive(), Echo(), lambda rows: rows)  # type: ignore[arg-type]
    assert check(system, stores, (NOON - HOUR, NOON)).equal is None


def test_rows_whose_features_could_not_be_read_are_counted_and_not_compared() -> None:
    class Two(MemoryArchive):
        def predictions(self, *_: object) -> pd.DataFrame:
            good = logged(features(3).assign(**dict.fromkeys(NAMES, np.float32(5.0))))
            good.loc[:9, "degraded"] = FEATURES_UNAVAILABLE
            good.loc[:9, NAMES] = np.float32(-1.0)
            return good

    found = check(TINY, Stores(Two(), Echo(), lambda rows: rows), (NOON - HOUR, NOON), most=100)  # type: ignore[arg-type]
    assert (found.unread, found.rows, found.equal) == (10, 100, True)


def test_the_shape_of_a_difference_needs_nearly_all_rows_that_differ() -> None:
    served, expected = np.arange(1.0, 101) * 10, np.arange(1.0, 101)
    served[:10] = 0.5
    pairs = Pairs(served, expected, np.zeros(100, np.int64), {})
    assert "without a simple pattern" in describe(pairs, served, expected)
    served[3:10] = expected[3:10] * 10
    pairs = Pairs(served, expected, np.zeros(100, np.int64), {})
    assert "is 10 times" in describe(pairs, served, expected)
