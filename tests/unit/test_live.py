"""Live features of the past, held against their definition: one count over all events for each row."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from contracts.errors import BrokenSystem, InvalidInput
from contracts.system import AT, Feature, FeatureView
from infra.live_history import live_features
from infra.live_windows import LARGEST, STEP, mark, summed
from infra.memory import MemoryFeatureReader
from tests.stores.live_system import CARD, HOUR, PLACE, columns, live, payments
from tests.stores.tiny_system import NOON

# Moments a quarter of an hour apart are often equal, and often exactly a window apart.
moments = st.one_of(st.integers(0, 12).map(lambda quarter: quarter * 900.0), st.floats(0, 10_800))
event = st.tuples(moments, st.sampled_from("ab"), st.floats(-1e5, 1e5), st.integers(-9, 9))


def table(events: Sequence[tuple[float, str, float, int]]) -> pd.DataFrame:
    kinds = {"amount": float, "items": int}
    frame = pd.DataFrame(events, columns=[AT, "card_id", *kinds]).astype(kinds)
    numbered = [f"e{number}" for number in range(len(frame))]
    at = frame[AT].astype(float) + NOON.timestamp()
    return frame.assign(at=at, payment_id=numbered, merchant_id=frame["card_id"], country="FR")


def expected(view: FeatureView, events: pd.DataFrame, entity: tuple[str, ...], at: float) -> list[float]:
    """The definition, word for word."""
    own = [one for one in events.itertuples() if tuple(getattr(one, key) for key in view.entities) == entity]
    before = sorted((one for one in own if one.at < at), key=lambda one: (one.at, mark(one.payment_id)))
    return [_value(feature, before[-view.most :], at) for feature in view.features]


def _value(feature: Feature, events: Sequence, at: float) -> float:  # type: ignore[type-arg]  # rows of a table
    counted = [one for one in events if one.at >= at - feature.window.total_seconds()]
    if feature.column is None:
        return len(counted)
    steps = [round(Fraction(float(getattr(one, feature.column))) / Fraction(STEP)) for one in counted]
    return float(np.float32(float(sum(steps) * Fraction(STEP))))


@settings(max_examples=80, deadline=None)
@given(st.lists(event, max_size=25), st.lists(event, max_size=8))
def test_features_are_what_the_definition_says(happened: list, asked: list) -> None:  # type: ignore[type-arg]
    events, rows = table(happened), table(asked)
    for view in (CARD, PLACE):
        found = live_features(live(), view, events, rows).to_numpy().tolist()
        entities = rows[list(view.entities)].itertuples(index=False, name=None)
        assert found == [expected(view, events, e, at) for e, at in zip(entities, rows[AT], strict=True)]


@settings(max_examples=40, deadline=None)
@given(st.lists(event, min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_neither_order_nor_later_events_change_a_row(happened: list, random) -> None:  # type: ignore[type-arg,no-untyped-def]  # Hypothesis' random
    events = table(happened)
    mixed = events.sample(frac=1, random_state=random.randrange(1_000))
    pd.testing.assert_frame_equal(
        live_features(live(), CARD, mixed, events), live_features(live(), CARD, events, events)
    )
    first = events.sort_values(AT).head(1 + len(events) // 2)
    until = events[events[AT] < first[AT].max()]
    pd.testing.assert_frame_equal(live_features(live(), CARD, until, first), live_features(live(), CARD, events, first))


def test_an_event_is_not_in_its_own_windows_nor_in_those_of_its_moment() -> None:
    events = table([(0.0, "a", 5.0, 1), (0.0, "a", 7.0, 1), (60.0, "a", 0.0, 1), (60.5, "a", 0.0, 1)])
    found = live_features(live(), CARD, events, events)
    assert found["card_1m"].tolist() == [0, 0, 2, 1]  # the first two are just in the window of the third
    assert found["card_amount_1h"].tolist() == [0, 0, 12, 12]


def test_rows_keep_their_order_and_their_index() -> None:
    events = payments(50, 3600)
    rows = events.iloc[[40, 3, 20]]
    found = live_features(live(), PLACE, events, rows)
    assert found.index.tolist() == [40, 3, 20]
    pd.testing.assert_frame_equal(found, live_features(live(), PLACE, events, events).loc[[40, 3, 20]])
    assert (found.dtypes == np.float32).all()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_the_reader_in_memory_reads_the_same_as_history() -> None:
    system, events, reader = live(CARD, PLACE), payments(120, 1800), MemoryFeatureReader()
    for place in range(len(events)):
        row, event_id = events.iloc[[place]], events["payment_id"][place]
        read = await reader.online(system, columns(row), datetime.fromtimestamp(events[AT][place], NOON.tzinfo))
        wanted = [live_features(system, view, events.head(place), row) for view in (CARD, PLACE)]
        assert np.array_equal(read.matrix[:, :5], np.concatenate(wanted, axis=1))
        assert read.degraded == ()
        for _ in range(2):
            await reader.observe(system, columns(row), event_id.removesuffix(":0"))
    assert read.matrix[0, 1] == CARD.most


def test_no_events_give_empty_states_and_no_rows_none() -> None:
    events = table([])
    untyped = events.astype(object)  # as the event table is before its first event
    assert live_features(live(), CARD, untyped, table([(0.0, "a", 1.0, 1)])).to_numpy().tolist() == [[0, 0, 0]]
    assert live_features(live(), CARD, events, table([(0.0, "a", 1.0, 1)])).to_numpy().tolist() == [[0, 0, 0]]
    assert live_features(live(), CARD, payments(5, 60), events).empty


@pytest.mark.parametrize("amount", [LARGEST * 2, float("inf")])
def test_what_cannot_be_added_exactly_is_refused(amount: float) -> None:
    with pytest.raises(InvalidInput, match="sums 'amount', whose values must not exceed"):
        live_features(live(), CARD, table([(0.0, "a", amount, 1)]), table([]))


def test_a_value_that_is_missing_adds_nothing_and_its_event_counts() -> None:
    events = table([(0.0, "a", float("nan"), 1), (1.0, "a", 2.5, 1)])
    found = live_features(live(), CARD, events, table([(2.0, "a", 0.0, 1)]))
    assert found.to_numpy().tolist() == [[2, 2, 2.5]]


@pytest.mark.parametrize(
    "feature",
    [
        Feature("rate", "mean", HOUR, 0.0, column="amount"),
        Feature("late", "count", HOUR, 0.0, after=timedelta(minutes=5)),
    ],
)
def test_what_no_live_view_can_know_is_refused(feature: Feature) -> None:
    with pytest.raises(BrokenSystem, match=f"cannot have '{feature.name}'"):
        summed(FeatureView("card", ("card_id",), (feature,), CARD.every, CARD.ttl))
