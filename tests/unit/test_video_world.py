"""video_recommendation's simulated world: its figures, its catalogue without end, and each kind of drift."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import AT
from contracts.world import Drift
from systems.video_recommendation.publishing import CATEGORIES, CREATORS, LONGEST, SHORTEST
from systems.video_recommendation.requirements import HISTORY, LABEL_DELAY
from systems.video_recommendation.world import PAGE, VideoWorld

END = datetime(2026, 3, 15, tzinfo=UTC)
MOMENT = END - timedelta(days=1)
LONG_AGO = END - timedelta(days=4_000)


def history(world: VideoWorld, rows: int = 60_000) -> pd.DataFrame:
    return pd.concat(world.history(END - timedelta(days=2), END, rows), ignore_index=True)


def columns(rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {str(name): rows[name].to_numpy() for name in rows}


def cross_entropy(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    return float(-np.mean(labels * np.log(scores) + (1 - labels) * np.log1p(-scores)))


@pytest.fixture(scope="module")
def world() -> VideoWorld:
    return VideoWorld(7)


@pytest.fixture(scope="module")
def calm(world: VideoWorld) -> pd.DataFrame:
    return history(world)


@pytest.fixture(scope="module")
def drifted() -> dict[str, pd.DataFrame]:
    kinds: tuple[Literal["data", "concept", "both"], ...] = ("data", "concept", "both")
    return {kind: history(VideoWorld(7, Drift(kind, MOMENT))) for kind in kinds}


def test_a_hundred_thousand_videos_are_up_and_more_are_published_all_the_time(world: VideoWorld) -> None:
    catalogue = world.items(LONG_AGO, END)
    assert 99_000 < len(catalogue) < 101_000
    assert catalogue["video_id"].is_unique
    assert catalogue[AT].is_monotonic_increasing
    assert catalogue[AT].min() >= (END - timedelta(days=365)).timestamp()
    assert set(catalogue["category"]) == set(CATEGORIES)
    assert catalogue["creator_id"].nunique() > 0.95 * CREATORS
    assert catalogue["duration"].between(SHORTEST, LONGEST).all()
    assert 200 < len(world.items(END, END + timedelta(days=1))) < 350


def test_the_catalogue_is_the_same_in_whichever_pieces_it_is_asked_for(world: VideoWorld) -> None:
    days = [END + timedelta(days=30 * part) for part in range(-2, 3)]
    pieces = pd.concat([VideoWorld(7).items(*piece) for piece in pairwise(days)], ignore_index=True)
    pd.testing.assert_frame_equal(pieces, world.items(days[0], days[-1]))


def test_a_few_videos_have_most_of_the_views_and_new_ones_have_some(calm: pd.DataFrame) -> None:
    views = calm["video_id"].value_counts(normalize=True)
    assert views.iloc[:1_000].sum() > 0.35
    age = calm[AT] - calm["published_at"]
    assert (age >= 0).all()
    assert (age < 3 * 86_400).mean() > 0.1


def test_a_page_shows_ten_videos_once_and_none_that_was_watched(calm: pd.DataFrame) -> None:
    assert not calm.duplicated([AT, "user_id", "video_id"]).any()
    assert set(calm.groupby([AT, "user_id"]).size()) == {PAGE}
    assert not any(
        video in watched.split(" ") for video, watched in zip(calm["video_id"], calm["watched"], strict=True)
    )


def test_a_history_holds_the_last_videos_each_once_and_fits_into_its_column(calm: pd.DataFrame) -> None:
    histories = [watched.split(" ") for watched in calm["watched"].drop_duplicates()]
    assert max(map(len, histories)) == HISTORY
    assert all(len(set(one)) == len(one) for one in histories)
    assert calm["watched"].str.len().max() <= 256


def test_a_history_moves_on_with_time_and_keeps_what_came_before(world: VideoWorld) -> None:
    one, other = calm_pages_of_one_user(world)
    shared = [video for video in other if video in one]
    assert 0 < len(shared) < HISTORY
    assert one[-len(shared) :] == shared


def calm_pages_of_one_user(world: VideoWorld) -> tuple[list[str], list[str]]:
    """The histories of somebody who turned up twice, hours apart."""
    pages = history(world, 60_000).drop_duplicates(["user_id", "watched"])
    for _, rows in pages.groupby("user_id"):
        first, last = rows.iloc[0], rows.iloc[-1]
        before, after = first["watched"].split(" "), last["watched"].split(" ")
        if (
            3 * 3600 < last[AT] - first[AT] < 12 * 3600
            and after[-1] != before[-1]
            and len(before) == len(after) == HISTORY
        ):
            return before, after
    raise AssertionError("nobody turned up twice")


def test_what_somebody_watched_says_what_they_like(world: VideoWorld, calm: pd.DataFrame) -> None:
    category = dict(zip(*world.items(LONG_AGO, END)[["video_id", "category"]].to_numpy().T, strict=True))
    rows = calm.sample(5_000, random_state=0)
    found = zip(rows["watched"], rows["category"], strict=True)
    share = np.array([np.mean([category.get(v) == name for v in watched.split(" ")]) for watched, name in found])
    assert rows["watched_half"][share > 0.2].mean() > rows["watched_half"][share == 0].mean() + 0.1


def test_there_is_something_to_learn(world: VideoWorld, calm: pd.DataFrame) -> None:
    labels, truth = calm["watched_half"].to_numpy(), world.truth(columns(calm))
    assert 0.3 < labels.mean() < 0.5
    base_rate = cross_entropy(np.full(len(labels), labels.mean()), labels)
    assert cross_entropy(truth, labels) < 0.85 * base_rate


def test_long_videos_are_for_the_television(world: VideoWorld, calm: pd.DataFrame) -> None:
    row = {name: np.repeat(calm[name].to_numpy()[:1], 4) for name in calm}
    row["device"] = np.array(["phone", "phone", "tv", "tv"], dtype=object)
    row["duration"] = np.array([60.0, 1800.0, 60.0, 1800.0])
    short_phone, long_phone, short_tv, long_tv = world.truth(row)
    assert long_phone < short_phone
    assert long_tv / short_tv > long_phone / short_phone


def test_a_few_requests_come_from_people_without_a_history(world: VideoWorld) -> None:
    requests = world.requests(2_000, END, 1)
    new = [request for request in requests if not request["watched"]]
    assert 0.02 < len(new) / len(requests) < 0.06
    assert not {request["user_id"] for request in new} & set(history(world)["user_id"])


def test_a_watched_video_is_reported_after_about_its_length_and_within_the_label_delay(world: VideoWorld) -> None:
    video = {"video_id": "v6840017", "category": "comedy", "duration": 2_400.0, "published_at": END.timestamp() - 3600}
    delays = []
    for stream, request in enumerate(world.requests(400, END, 1)):
        found = world.outcomes(request, {"videos": [video]}, END, stream)
        delays += [(one.occurred_at - END).total_seconds() for one in found if one.label]
    assert 0.5 * 2_400 < min(delays) < max(delays) <= LABEL_DELAY.total_seconds()


def test_whoever_and_whatever_the_world_does_not_know_has_a_probability(world: VideoWorld) -> None:
    strings = ("user_id", "device", "video_id", "category")
    strangers = {name: np.array(["nobody", "v123", "☃"], dtype=object) for name in strings}
    numbers = {"duration": np.array([0.0, 60.0, 1e6]), "published_at": np.zeros(3), AT: np.full(3, END.timestamp())}
    truth = world.truth({**strangers, **numbers})
    assert ((truth > 0) & (truth < 1)).all()


def test_nothing_drifts_before_its_time(calm: pd.DataFrame, drifted: dict[str, pd.DataFrame]) -> None:
    before = calm[AT] < MOMENT.timestamp() - 3600
    for rows in drifted.values():
        assert rows[AT].equals(calm[AT])
        assert abs(rows["watched_half"][before].mean() - calm["watched_half"][before].mean()) < 0.02


def test_data_drift_brings_other_devices_and_younger_videos(
    calm: pd.DataFrame, drifted: dict[str, pd.DataFrame]
) -> None:
    after = calm[AT] >= MOMENT.timestamp()
    for kind, moved in {"data": True, "both": True, "concept": False}.items():
        was, now = calm[after], drifted[kind][after]
        devices = (now["device"] == "tv").mean() - (was["device"] == "tv").mean()
        ages = [np.median(rows[AT] - rows["published_at"]) for rows in (was, now)]
        assert bool(devices > 0.2) is moved
        assert bool(ages[1] < 0.8 * ages[0]) is moved


def test_concept_drift_ruins_the_old_truth_and_data_drift_does_not(drifted: dict[str, pd.DataFrame]) -> None:
    for kind, ruined in {"data": False, "both": True, "concept": True}.items():
        rows = drifted[kind][drifted[kind][AT] >= MOMENT.timestamp()]
        labels = rows["watched_half"].to_numpy()
        old, new = VideoWorld(7).truth(columns(rows)), VideoWorld(7, Drift(kind, MOMENT)).truth(columns(rows))  # type: ignore[arg-type]  # the keys are kinds
        assert bool(cross_entropy(old, labels) - cross_entropy(new, labels) > 0.05) is ruined


def test_drift_is_as_strong_as_asked(world: VideoWorld, calm: pd.DataFrame) -> None:
    truth = world.truth(columns(calm))
    moved = [
        float(np.abs(VideoWorld(7, Drift("concept", MOMENT, strength)).truth(columns(calm)) - truth).mean())
        for strength in (0.0, 0.3, 1.0)
    ]
    assert moved[0] == 0 < moved[1] < moved[2]


def test_drift_without_a_moment_or_beyond_its_range_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Drift of kind 'concept' has at=None"):
        VideoWorld(7, Drift("concept"))
    with pytest.raises(InvalidInput, match="strength 2"):
        VideoWorld(7, Drift("concept", MOMENT, 2.0))
