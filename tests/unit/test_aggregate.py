"""States of entities, held against the definition: one count over all events for each tick."""

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from contracts.errors import InvalidInput
from contracts.system import Feature, FeatureView
from pipelines.aggregate import STAMP, empty_values, lookback, states_at, tick, tick_time, view_states

HOUR = timedelta(hours=1)
ORIGIN = datetime(2025, 3, 1, tzinfo=UTC)
VIEW = FeatureView(
    name="user_category",
    entities=("user", "category"),
    features=(
        Feature("n_3h", "count", 3 * HOUR, default=0.0),
        Feature("n_odd", "count", timedelta(minutes=100), default=0.0, after=timedelta(minutes=7)),
        Feature("spent_3h", "sum", 3 * HOUR, default=0.0, column="spent"),
        Feature("rate_5h", "mean", 5 * HOUR, 0.2, "clicked", after=timedelta(minutes=30), prior=0.2, strength=4),
        Feature("mean_3h", "mean", 3 * HOUR, default=-1.0, column="spent"),
    ),
    every=HOUR,
    ttl=6 * HOUR,
)
NAMES = [feature.name for feature in VIEW.features]

event = st.tuples(
    st.one_of(st.integers(0, 20 * 3600), st.integers(0, 20).map(lambda hour: hour * 3600)),  # often exactly at a tick
    st.sampled_from("ab"),
    st.sampled_from("xy"),
    st.floats(-100, 100, width=32) | st.just(float("nan")),
    st.sampled_from((0.0, 1.0)),
)
hours = st.integers(-2, 30)


def table(rows: list[tuple[float, str, str, float, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["at", "user", "category", "spent", "clicked"])
    return frame.assign(at=frame["at"].astype(float) + ORIGIN.timestamp())


def expected_value(feature: Feature, events: pd.DataFrame, moment: datetime) -> float:
    values = [1.0] * len(events) if feature.column is None else events[feature.column].tolist()
    counted = [
        value
        for at, value in zip(events["at"], values, strict=True)
        if moment - feature.window <= datetime.fromtimestamp(at, UTC) + feature.after < moment and not np.isnan(value)
    ]
    if feature.aggregate == "count":
        return len(counted)
    if feature.aggregate == "sum":
        return sum(counted)
    weight = len(counted) + feature.strength
    return (sum(counted) + feature.prior * feature.strength) / weight if weight else feature.default


def expected_states(events: pd.DataFrame, until: datetime) -> dict[tuple[str, str, datetime], list[float]]:
    states = {}
    for (user, category), own in events.groupby(["user", "category"]):
        before = list(empty_values(VIEW).values())
        for number in range(tick(VIEW, ORIGIN) - 1, tick(VIEW, until) + 1):
            moment = tick_time(VIEW, number)
            now = [expected_value(feature, own, moment) for feature in VIEW.features]
            if not np.allclose(now, before, atol=1e-5):
                states[user, category, moment] = now
            before = now
    return states


def as_dict(states: pd.DataFrame) -> dict[tuple[str, str, datetime], list[float]]:
    keys = zip(states["user"], states["category"], states[STAMP], strict=True)
    return dict(zip(keys, states[NAMES].to_numpy().tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.lists(event, max_size=12), hours)
def test_states_are_what_the_definition_says(rows: list, until: int) -> None:  # type: ignore[type-arg]
    events, end = table(rows), ORIGIN + until * HOUR
    found, wanted = as_dict(view_states(VIEW, events, None, end)), expected_states(events, end)
    # A change below the tolerance may be a state of its own; it has to be no different from the one before.
    assert wanted.keys() <= found.keys()
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.lists(event, max_size=20), hours, hours)
def test_an_increment_equals_the_whole(rows: list, first: int, second: int) -> None:  # type: ignore[type-arg]
    events = table(rows)
    middle, end = (ORIGIN + hour * HOUR + timedelta(minutes=20) for hour in sorted((first, second)))
    reached = events[events["at"] >= (middle - lookback(VIEW)).timestamp()].sample(frac=1, random_state=0)
    parts = [view_states(VIEW, events, None, middle), view_states(VIEW, reached, middle, end)]
    assert as_dict(pd.concat(parts)) == as_dict(view_states(VIEW, events, None, end))


@settings(max_examples=60, deadline=None)
@given(st.lists(event, max_size=20), hours)
def test_later_events_change_no_earlier_state(rows: list, until: int) -> None:  # type: ignore[type-arg]
    events, end = table(rows), ORIGIN + until * HOUR
    earlier = events[events["at"] < end.timestamp()]
    pd.testing.assert_frame_equal(view_states(VIEW, events, None, end), view_states(VIEW, earlier, None, end))


@settings(max_examples=60, deadline=None)
@given(st.lists(event, max_size=20), hours)
def test_the_state_at_a_moment_is_the_last_one_written(rows: list, hour: int) -> None:  # type: ignore[type-arg]
    events, moment = table(rows), ORIGIN + hour * HOUR + timedelta(minutes=1)
    last = view_states(VIEW, events, None, moment).groupby(["user", "category"], as_index=False).last()
    empty = (last[NAMES] == list(empty_values(VIEW).values())).all(axis=1)
    wanted = last.loc[~empty, ["user", "category", *NAMES]].reset_index(drop=True)
    pd.testing.assert_frame_equal(states_at(VIEW, events, moment), wanted, check_dtype=False)


def test_an_event_at_a_tick_is_not_in_that_ticks_state() -> None:
    states = view_states(VIEW, table([(3600.0, "a", "x", 1.0, 1.0)]), None, ORIGIN + 24 * HOUR)
    counts = states.set_index(STAMP)["n_3h"]
    assert counts.index.min() == ORIGIN + 2 * HOUR
    assert counts[ORIGIN + 2 * HOUR] == 1.0
    assert counts[counts == 0.0].index.min() == ORIGIN + 5 * HOUR  # 04:00 still holds what happened at 01:00


def test_a_label_waits_out_its_delay() -> None:
    states = view_states(VIEW, table([(1800.0, "a", "x", 1.0, 1.0)]), None, ORIGIN + 24 * HOUR)
    by_hour = states.set_index(STAMP)["rate_5h"]
    assert by_hour[ORIGIN + HOUR] == pytest.approx(0.2)  # 00:30 + 30 minutes is not before 01:00
    assert by_hour[ORIGIN + 2 * HOUR] == pytest.approx((1 + 0.2 * 4) / 5)


def test_no_events_give_no_states_with_all_columns() -> None:
    states = view_states(VIEW, table([]), None, ORIGIN)
    assert states.empty
    assert list(states) == ["user", "category", STAMP, *NAMES]
    assert str(states[STAMP].dtype) == "datetime64[us, UTC]"


def test_values_too_large_to_add_exactly_are_refused() -> None:
    with pytest.raises(InvalidInput, match="spent add up to"):
        view_states(VIEW, table([(0.0, "a", "x", 1e15, 0.0)]), None, ORIGIN + HOUR)
