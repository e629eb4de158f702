"""The archive, in memory and as Parquet: one suite; then what only files on a disk can do wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import BrokenSystem
from contracts.ports import Archive
from contracts.records import OutcomeRecord
from contracts.system import Feature, System
from infra.archive import ParquetArchive
from infra.memory_archive import MemoryArchive
from tests.stores.log_records import (
    DELAY,
    FEATURES,
    NOON,
    SHOP,
    of_other_features,
    outcome,
    prediction,
    same,
    without_rows,
)

OWN = [
    "prediction_id",
    "position",
    "place",
    "item",
    "at",
    "model_version",
    "variant",
    "score",
    "propensity",
    "review",
    "degraded",
]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SINCE, UNTIL, MATURE = NOON - HOUR, NOON + HOUR, NOON + DAY


@pytest.fixture(params=["memory", "parquet"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    return MemoryArchive() if request.param == "memory" else ParquetArchive(tmp_path)


def labels(archive: Archive, now: datetime = MATURE) -> dict[tuple[str, str], float]:
    frame = archive.labelled(SHOP, SINCE, UNTIL, now)
    return {(row.prediction_id, row.item): row.clicked for row in frame.itertuples()}


def test_a_prediction_is_one_row_a_candidate(archive: Archive) -> None:
    record = prediction("p1", ads=("a1", "a2", "a3"), shown=(2, 0))
    archive.append([record])
    frame = archive.predictions(SHOP, SINCE, UNTIL)
    assert list(frame.columns) == [*OWN, "user", "ad_id", "bid", "slot", *FEATURES]
    assert frame["position"].tolist() == [0, 1, 2]
    assert frame["place"].tolist() == [1, -1, 0]
    assert frame["item"].tolist() == frame["ad_id"].tolist() == ["a1", "a2", "a3"]
    assert np.array_equal(frame["propensity"], [0.5, np.nan, 1.0], equal_nan=True)
    assert np.array_equal(frame["score"], record.scores)
    assert np.array_equal(frame[[*FEATURES]].to_numpy(np.float32), record.features)
    assert set(frame["at"]) == {NOON.timestamp()}
    assert set(frame["degraded"]) == {"ad: missing; ad: stale"}
    assert set(frame["model_version"] + frame["variant"]) == {"3champion"}


def test_an_empty_archive_gives_empty_frames_with_the_columns_of_full_ones(archive: Archive) -> None:
    empty = archive.predictions(SHOP, SINCE, UNTIL), archive.labelled(SHOP, SINCE, UNTIL, MATURE)
    archive.append([prediction("p1")])
    full = archive.predictions(SHOP, SINCE, UNTIL), archive.labelled(SHOP, SINCE, UNTIL, MATURE)
    for none, some in zip(empty, full, strict=True):
        assert len(none) == 0
        assert list(none.columns) == list(some.columns)
        assert none.dtypes.to_dict() == some.dtypes.to_dict()


@pytest.mark.parametrize("written", [True, False])
def test_of_row_columns_and_features_those_that_are_named_are_read(archive: Archive, written: bool) -> None:
    if written:
        archive.append([prediction("p1"), outcome("p1", "a2")])
    whole = archive.predictions(SHOP, SINCE, UNTIL)
    some = archive.predictions(SHOP, SINCE, UNTIL, only=("price", "user"))
    assert list(some.columns) == [*OWN, "user", "price"]
    pd.testing.assert_frame_equal(some, whole[[*OWN, "user", "price"]])
    assert list(archive.predictions(SHOP, SINCE, UNTIL, only=()).columns) == OWN
    known = archive.labelled(SHOP, SINCE, UNTIL, MATURE, only=())
    assert list(known.columns) == [*OWN, "reviewed", "clicked"]
    assert known["clicked"].tolist() == archive.labelled(SHOP, SINCE, UNTIL, MATURE)["clicked"].tolist()


def test_an_interval_holds_its_start_and_not_its_end(archive: Archive) -> None:
    archive.append([prediction("p1", NOON), prediction("p2", NOON + HOUR)])
    assert set(archive.predictions(SHOP, NOON, NOON + HOUR)["prediction_id"]) == {"p1"}
    assert len(archive.predictions(SHOP, NOON + 2 * HOUR, NOON + DAY)) == 0
    everything = archive.predictions(SHOP, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    assert set(everything["prediction_id"]) == {"p1", "p2"}


def test_records_of_several_days_and_systems_are_kept_apart(archive: Archive) -> None:
    midnight = NOON.replace(hour=0)
    other = replace(prediction("q1"), system="other")
    archive.append([prediction("p2", midnight), prediction("p1", midnight - timedelta(microseconds=1)), other])
    assert archive.predictions(SHOP, midnight - DAY, midnight + DAY)["prediction_id"].unique().tolist() == ["p1", "p2"]
    assert set(archive.predictions(SHOP, midnight, midnight + HOUR)["prediction_id"]) == {"p2"}


def test_what_is_appended_twice_is_read_once(archive: Archive) -> None:
    records = [prediction(f"p{i}") for i in range(6)]
    archive.append(records[:4])
    archive.append(records[2:])
    archive.append([*records, *records])
    frame = archive.predictions(SHOP, SINCE, UNTIL)
    assert len(frame) == 18
    assert not frame.duplicated(["prediction_id", "position"]).any()


def test_predictions_with_other_features_are_read_by_name(archive: Archive) -> None:
    archive.append([prediction("p1"), of_other_features("p2", ("price", "retired"))])
    archive.append([of_other_features("p3", ("retired",))])
    frame = archive.predictions(SHOP, SINCE, UNTIL).set_index("prediction_id")
    assert "retired" not in frame
    assert frame.loc["p1", list(FEATURES)].notna().all(axis=None)
    assert frame.loc["p2", "price"].tolist() == [7.0] * 3
    assert frame.loc["p2", "ad_rate_1d"].isna().all()
    assert frame.loc["p3", list(FEATURES)].isna().all(axis=None)


def test_a_prediction_without_candidates_has_no_rows(archive: Archive) -> None:
    archive.append([without_rows("p1"), prediction("p2")])
    assert set(archive.predictions(SHOP, SINCE, UNTIL)["prediction_id"]) == {"p2"}


def test_only_shown_rows_are_labelled_and_silence_is_zero(archive: Archive) -> None:
    archive.append([prediction("p1", shown=(1, 0)), outcome("p1", "a1"), outcome("p1", "a3"), outcome("p1", "unknown")])
    assert labels(archive) == {("p1", "a1"): 1.0, ("p1", "a2"): 0.0}


def test_an_outcome_may_come_before_its_prediction(archive: Archive) -> None:
    archive.append([outcome("p1", "a1")])
    assert labels(archive) == {}
    archive.append([prediction("p1")])
    assert labels(archive) == {("p1", "a1"): 1.0, ("p1", "a2"): 0.0}


@pytest.mark.parametrize(
    ("after", "label"),
    [
        (timedelta(0), 1.0),
        (DELAY, 1.0),
        (DELAY + timedelta(microseconds=1), 0.0),
        (timedelta(microseconds=-1), 0.0),
        (timedelta(days=3), 0.0),
    ],
)
def test_only_an_outcome_within_the_label_delay_counts(archive: Archive, after: timedelta, label: float) -> None:
    archive.append([prediction("p1"), outcome("p1", "a1", after=after)])
    assert labels(archive)["p1", "a1"] == label


def test_an_outcome_of_the_next_day_counts(archive: Archive) -> None:
    late = NOON.replace(hour=23, minute=59)
    click = replace(outcome("p1", "a1"), occurred_at=late + timedelta(minutes=5))
    archive.append([prediction("p1", late), click])
    frame = archive.labelled(SHOP, late, late + timedelta(seconds=1), MATURE)
    assert frame["clicked"].tolist() == [1.0, 0.0]


def test_of_several_outcomes_the_one_that_occurred_last_holds(archive: Archive) -> None:
    early, late = timedelta(minutes=1), timedelta(minutes=2)
    archive.append([prediction("p1"), outcome("p1", "a1", 0.0, late), outcome("p1", "a1", 1.0, early)])
    assert labels(archive)["p1", "a1"] == 0.0
    archive.append([outcome("p1", "a1", 1.0, timedelta(minutes=20))])
    assert labels(archive)["p1", "a1"] == 0.0


def test_of_two_labels_at_one_moment_the_one_received_later_holds_even_if_the_other_is_sent_again(
    archive: Archive,
) -> None:
    moment = timedelta(minutes=1)
    first = outcome("p1", "a1", 1.0, moment, received=timedelta(minutes=2))
    correction = outcome("p1", "a1", 0.0, moment, received=timedelta(minutes=3))
    again = outcome("p1", "a1", 1.0, moment, received=timedelta(minutes=4))
    archive.append([prediction("p1"), again, correction, first])
    assert labels(archive)["p1", "a1"] == 0.0


def test_rows_are_left_out_until_their_outcomes_had_their_time(archive: Archive) -> None:
    archive.append([prediction("p1", NOON), prediction("p2", NOON + timedelta(minutes=1)), outcome("p2")])
    assert labels(archive, NOON + DELAY - timedelta(microseconds=1)) == {}
    assert set(labels(archive, NOON + DELAY)) == {("p1", "a1"), ("p1", "a2")}
    assert len(labels(archive)) == 4


def test_a_system_without_items_has_one_outcome_a_prediction(archive: Archive) -> None:
    fraud = replace(SHOP, task=replace(SHOP.task, item=None))
    archive.append([prediction(name, ads=("a1",), shown=(0,)) for name in ("p1", "p2")])
    archive.append([outcome("p1", None), outcome("p2", "a1")])
    frame = archive.labelled(fraud, SINCE, UNTIL, MATURE)
    assert frame["item"].isna().all()
    assert frame["clicked"].tolist() == [1.0, 0.0]


OUTCOME = st.builds(
    outcome,
    st.sampled_from(["p1", "p2"]),
    st.sampled_from(["a1", "a2"]),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([timedelta(minutes=m) for m in (-1, 0, 1, 2, 10, 11)]),
    st.sampled_from([timedelta(minutes=m) for m in (1, 5, 30)]),
    st.sampled_from(["client", "review"]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcomes=st.lists(OUTCOME, max_size=8), data=st.data())
def test_in_whatever_order_and_how_often_outcomes_come_the_labels_are_the_same(
    outcomes: list[OutcomeRecord], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = [prediction("p1"), prediction("p2"), *outcomes]
    again = data.draw(st.lists(st.sampled_from(records), max_size=4))
    shuffled = data.draw(st.permutations([*records, *again]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=3)))
    once, often = MemoryArchive(), ParquetArchive(tmp_path_factory.mktemp("archive"))
    once.append(records)
    for start, end in zip([0, *cuts], [*cuts, len(shuffled)], strict=True):
        often.append(shuffled[start:end])
    expected = once.labelled(SHOP, SINCE, UNTIL, MATURE)
    pd.testing.assert_frame_equal(often.labelled(SHOP, SINCE, UNTIL, MATURE), expected, check_dtype=False)
    often.compact("shop", NOON.date())
    pd.testing.assert_frame_equal(often.labelled(SHOP, SINCE, UNTIL, MATURE), expected, check_dtype=False)


def test_one_prediction_is_found_whole(archive: Archive) -> None:
    records = [prediction("p1"), of_other_features("p2", ("retired",), NOON - DAY), without_rows("p3")]
    archive.append(records)
    archive.append([prediction("p4"), prediction("p1")])
    if isinstance(archive, ParquetArchive):
        archive.compact("shop", NOON.date())
    for record in records:
        assert same(archive.prediction(record.prediction_id), record)
    assert archive.prediction("p1", "shop") is not None
    assert archive.prediction("unknown") is None
    assert archive.prediction("p1", "other") is None


def test_outcomes_are_read_by_when_they_occurred_each_once_as_first_received(archive: Archive) -> None:
    assert archive.outcomes(SHOP, SINCE, UNTIL).empty
    again = outcome("p1", received=timedelta(minutes=30))
    archive.append([again, outcome("p1"), outcome("p2", None), outcome("p3", after=HOUR)])
    frame = archive.outcomes(SHOP, SINCE, UNTIL)
    assert frame["prediction_id"].tolist() == ["p1", "p2"]
    assert frame["label"].tolist() == [1.0, 1.0]
    assert frame["received_at"][0] == (NOON + timedelta(seconds=61)).timestamp()
    assert list(frame.columns) == ["prediction_id", "item", "label", "occurred_at", "received_at", "source"]


def _named(system: System, feature: str) -> System:
    views = (replace(system.features.views[0], features=(Feature(feature, "count", DAY, 0.0),)),)
    return replace(system, features=replace(system.features, views=views))


def test_names_that_mean_something_to_sql_are_names(archive: Archive) -> None:
    odd = _named(SHOP, 'a "b"; --')
    archive.append([of_other_features("p1", ('a "b"; --', "price"))])
    read: Callable[..., pd.DataFrame] = archive.predictions
    assert read(odd, SINCE, UNTIL)['a "b"; --'].tolist() == [7.0] * 3


def test_a_record_survives_what_json_can_say(tmp_path: Path) -> None:
    request = {"nested": [{"deep": None}], "text": "ä\x00", "number": 1e-9}
    archive = ParquetArchive(tmp_path)
    archive.append([replace(prediction("p1"), request=request)])
    found = archive.prediction("p1")
    assert found is not None
    assert json.dumps(found.request) == json.dumps(request)


@pytest.mark.parametrize("name", ["score", "position", "at"])
def test_a_system_may_not_use_the_archives_own_names(tmp_path: Path, name: str) -> None:
    archive = ParquetArchive(tmp_path)
    archive.append([prediction("p1")])
    with pytest.raises(BrokenSystem, match=f"column named '{name}'"):
        archive.predictions(_named(SHOP, name), SINCE, UNTIL)
