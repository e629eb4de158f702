"""Stage one of video_recommendation: what it finds for whom, how it stays fresh, and what its bytes may be."""

import io
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from contracts.errors import CorruptModel, InvalidInput
from contracts.system import AT, Columns
from systems.video_recommendation import retrieval
from systems.video_recommendation.factors import Interactions, factorise, unit
from systems.video_recommendation.neighbours import best, build, exact
from systems.video_recommendation.requirements import MOST_CANDIDATES
from systems.video_recommendation.retriever import NEWEST, POPULAR, VideoRetriever, load
from systems.video_recommendation.world import VideoWorld

END = datetime(2026, 3, 15, tzinfo=UTC)
NOW = END.timestamp()
LONG_AGO = END - timedelta(days=4_000)
DESCRIBING = {"user_id", "device", "watched", "video_id", "category", "creator_id", "duration", "published_at"}


def columns(table: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {str(name): table[name].to_numpy() for name in table}


@pytest.fixture(scope="module")
def world() -> VideoWorld:
    return VideoWorld(7)


@pytest.fixture(scope="module")
def rows(world: VideoWorld) -> dict[str, NDArray[Any]]:
    return columns(pd.concat(world.history(END - timedelta(days=5), END, 80_000), ignore_index=True))


@pytest.fixture(scope="module")
def fitted(world: VideoWorld, rows: Columns) -> bytes:
    """Fitted on the older half; as bytes, so that each test has one of its own."""
    older = {name: values[:40_000] for name, values in rows.items()}
    until = datetime.fromtimestamp(float(older[AT][-1]), UTC)
    return retrieval.fit(older, columns(world.items(LONG_AGO, until)), 0).dump()


@pytest.fixture
def retriever(fitted: bytes) -> VideoRetriever:
    return load(fitted)


@pytest.fixture(scope="module")
def requests(world: VideoWorld) -> list[dict[str, Any]]:
    return [request for request in world.requests(60, END, 1) if request["watched"]]


def published(name: str, at: float, category: str = "music", creator: str = "c0001") -> dict[str, NDArray[Any]]:
    strings = {"video_id": name, "category": category, "creator_id": creator}
    numbers = {"duration": 240.0, AT: at}
    return {key: np.array([value], dtype=object) for key, value in strings.items()} | {
        key: np.array([value]) for key, value in numbers.items()
    }


def test_candidates_are_many_each_once_published_and_not_watched(
    retriever: VideoRetriever, requests: list[dict[str, Any]]
) -> None:
    for request in requests:
        found = retriever.candidates(request, NOW)
        assert set(found) == DESCRIBING | {"similarity", "category_share"}
        assert {len(values) for values in found.values()} == {MOST_CANDIDATES}
        assert len(set(found["video_id"])) == MOST_CANDIDATES
        assert not set(found["video_id"]) & set(request["watched"])
        assert (found["published_at"] <= NOW).all()
        assert set(found["watched"]) == {" ".join(request["watched"])}


def test_the_first_candidates_are_liked_by_whom_they_are_found_for(
    world: VideoWorld, retriever: VideoRetriever, requests: list[dict[str, Any]]
) -> None:
    """More than what is popular, and far more than anything at all (a true probability of 0.17)."""
    mine, anybodys = [], []
    for request in requests:
        for found, kept in ((request, mine), ({**request, "watched": []}, anybodys)):
            first = {name: values[:20] for name, values in retriever.candidates(found, NOW).items()}
            kept.append(world.truth({**first, AT: np.full(20, NOW)}).mean())
    assert np.mean(mine) > np.mean(anybodys) + 0.15
    assert np.mean(mine) > 0.45


def test_what_is_not_yet_published_is_nobodys_candidate(
    retriever: VideoRetriever, requests: list[dict[str, Any]]
) -> None:
    earlier = NOW - 30 * 86_400
    assert (retriever.candidates(requests[0], earlier)["published_at"] <= earlier).all()


def test_somebody_without_a_history_gets_the_popular_the_fresh_and_some_of_everything(
    retriever: VideoRetriever,
) -> None:
    found = retriever.candidates(dict(retrieval.RETRIEVAL.anybody), NOW)
    assert len(found["video_id"]) == MOST_CANDIDATES
    assert len(set(found["category"][POPULAR:])) == 24
    assert (found["similarity"] == 0).all()
    assert (found["category_share"] == 0).all()
    newest = retriever.state.shelf.rows(retriever.state.shelf.newest(NOW, NEWEST))["video_id"]
    assert set(newest) <= set(found["video_id"])


def test_a_history_of_videos_that_nobody_knows_counts_as_none(retriever: VideoRetriever) -> None:
    anybody = dict(retrieval.RETRIEVAL.anybody)
    found = retriever.candidates({**anybody, "watched": ["☃", "v1"]}, NOW)
    assert found["video_id"].tolist() == retriever.candidates(anybody, NOW)["video_id"].tolist()


def test_a_published_video_is_a_candidate_at_once_and_twice_is_once(
    retriever: VideoRetriever, requests: list[dict[str, Any]]
) -> None:
    before = len(retriever.state.shelf)
    for _ in range(2):
        retriever.add(published("brandnew", NOW - 30))
    assert len(retriever.state.shelf) == before + 1
    for request in [*requests, dict(retrieval.RETRIEVAL.anybody)]:
        assert "brandnew" in retriever.candidates(request, NOW)["video_id"]
        assert "brandnew" not in retriever.candidates(request, NOW - 60)["video_id"]


def test_a_video_twice_in_one_batch_is_there_once(retriever: VideoRetriever) -> None:
    one = published("again", NOW)
    retriever.add({name: np.concatenate([values, values]) for name, values in one.items()})
    assert retriever.candidates(dict(retrieval.RETRIEVAL.anybody), NOW)["video_id"].tolist().count("again") == 1


def test_a_new_video_is_found_by_those_who_like_its_kind(
    world: VideoWorld, retriever: VideoRetriever, rows: Columns
) -> None:
    """Days of publications are added; of them, those that somebody is given are liked more than others."""
    since = datetime.fromtimestamp(float(rows[AT][39_999]), UTC)
    retriever.add(columns(world.items(since, END)))
    given, others = [], []
    newest = retriever.state.shelf.rows(retriever.state.shelf.newest(NOW, NEWEST))["video_id"]  # given to everybody
    fresh = world.items(since, END).rename(columns={AT: "published_at"}).assign(**{AT: NOW})
    for request in world.requests(60, END, 3):
        if not request["watched"]:
            continue
        found = np.setdiff1d(retriever.candidates(request, NOW)["video_id"], newest)
        truth = world.truth(columns(fresh.assign(user_id=request["user_id"], device=request["device"])))
        mine = fresh["video_id"].isin(found).to_numpy()
        given += truth[mine].tolist()
        others += truth[~mine].tolist()
    assert len(given) > 100
    assert np.mean(given) > 1.5 * np.mean(others)


def test_similarity_does_not_depend_on_which_rows_are_asked_together(retriever: VideoRetriever, rows: Columns) -> None:
    some = {name: values[40_000:40_300] for name, values in rows.items()}
    together = retriever.columns(some)
    for row in range(0, 300, 17):
        alone = retriever.columns({name: values[row : row + 1] for name, values in some.items()})
        for name, values in alone.items():
            assert values[0] == pytest.approx(together[name][row], abs=1e-5)


def test_columns_say_of_a_candidate_what_candidates_says(
    retriever: VideoRetriever, requests: list[dict[str, Any]]
) -> None:
    """So that the ranker is asked about what it was trained on."""
    for request in requests[:10]:
        found = retriever.candidates(request, NOW)
        again = retriever.columns(found)
        for name in retrieval.RETRIEVAL.columns:
            np.testing.assert_allclose(again[name], found[name], atol=1e-5)


def test_columns_of_a_video_that_came_later_are_those_it_gets_when_added(
    retriever: VideoRetriever, requests: list[dict[str, Any]]
) -> None:
    item = published("later", NOW)
    row = {**item, "watched": np.array([" ".join(requests[0]["watched"])], dtype=object)}
    before = retriever.columns(row)
    retriever.add(item)
    for name, values in retriever.columns(row).items():
        np.testing.assert_allclose(values, before[name], atol=1e-6)


def test_similarity_tells_what_is_watched(retriever: VideoRetriever, rows: Columns) -> None:
    newer = {name: values[40_000:] for name, values in rows.items()}
    found, watched = retriever.columns(newer), newer["watched_half"] > 0
    for name in retrieval.RETRIEVAL.columns:
        assert found[name][watched].mean() > found[name][~watched].mean()
    high = found["similarity"] > np.quantile(found["similarity"], 0.9)
    assert watched[high].mean() > watched[~high].mean() + 0.1
    assert (np.abs(found["similarity"]) <= 1.0001).all()


def test_similarities_of_different_fits_are_on_one_scale(world: VideoWorld, rows: Columns) -> None:
    items, newer = columns(world.items(LONG_AGO, END)), {name: values[60_000:] for name, values in rows.items()}
    parts = (
        {name: values[part] for name, values in rows.items()} for part in (slice(0, 30_000), slice(30_000, 60_000))
    )
    one, other = (retrieval.fit(part, items, 0).columns(newer)["similarity"] for part in parts)
    assert one.std() == pytest.approx(other.std(), rel=0.25)
    assert np.corrcoef(one, other)[0, 1] > 0.3  # each learned from 3,000 pages of its own


def test_the_index_finds_nearly_all_that_exact_search_finds(retriever: VideoRetriever, rows: Columns) -> None:
    newer = {name: values[40_000:] for name, values in rows.items()}
    found = retrieval.metrics(retriever, newer)
    assert found["recall_against_exact"] > 0.9
    assert found["recall_of_watched"] > 0.1  # 500 of 100,000 at random would find 0.005
    assert 0.1 < found["catalogue_coverage"] < 1


def test_three_hundred_thousand_rows_take_seconds_and_a_request_milliseconds(
    retriever: VideoRetriever, rows: Columns, requests: list[dict[str, Any]]
) -> None:
    """Of processor time, with room for a slow machine: 0.3 s and 1 ms were measured."""
    many = {name: np.tile(values, 4)[:300_000] for name, values in rows.items()}
    started = time.process_time()
    retriever.columns(many)
    assert time.process_time() - started < 5
    retriever.candidates(requests[0], NOW)
    started = time.process_time()
    for request in requests:
        retriever.candidates(request, NOW)
    assert (time.process_time() - started) / len(requests) < 0.006


def test_the_same_rows_and_seed_give_the_same_bytes(world: VideoWorld, rows: Columns) -> None:
    some, items = {name: values[:10_000] for name, values in rows.items()}, columns(world.items(LONG_AGO, END))
    one, other = (retrieval.fit(some, items, 3).dump() for _ in range(2))
    assert one == other


def test_what_was_dumped_is_loaded_the_same(
    retriever: VideoRetriever, fitted: bytes, requests: list[dict[str, Any]]
) -> None:
    assert retriever.dump() == fitted
    retriever.add(published("brandnew", NOW - 30))
    again = load(retriever.dump())
    for request in requests[:10]:
        before, after = (each.candidates(request, NOW) for each in (retriever, again))
        assert {name: values.tolist() for name, values in before.items()} == {
            name: values.tolist() for name, values in after.items()
        }


def changed(content: bytes, **arrays: NDArray[Any]) -> bytes:
    with np.load(io.BytesIO(content)) as archive:
        parts = {name: archive[name] for name in archive.files}
    file = io.BytesIO()
    np.savez(file, **(parts | arrays))
    return file.getvalue()


def test_nothing_in_the_bytes_needs_unpickling(fitted: bytes) -> None:
    with np.load(io.BytesIO(fitted), allow_pickle=False) as archive:
        assert all(not archive[name].dtype.hasobject for name in archive.files)


def test_bytes_that_are_no_stage_one_are_refused(fitted: bytes) -> None:
    for content in (b"", b"no archive", fitted[: len(fitted) // 2]):
        with pytest.raises(CorruptModel, match="Stage one cannot be read"):
            load(content)


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("taste", np.zeros((3, 32), np.float32), "the vectors have the shape"),
        ("watched", np.zeros(3, np.float32), "the counts have the shape"),
        ("coefficients", np.zeros((4, 32), np.float32), "the categories' coefficients have the shape"),
        ("popular", np.array([10**9]), "it points at more videos"),
        ("popular", np.array([0.5]), "it points at more videos"),
        ("index", np.zeros(50, np.uint8), "index cannot be read"),
        ("duration", np.zeros(3), "columns of different lengths"),
        ("category", np.zeros(3), "columns of the wrong kind"),
        ("video_id", np.array([{"an": "object"}], dtype=object), "cannot be read"),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(fitted: bytes, part: str, value: NDArray[Any], said: str) -> None:
    with pytest.raises(CorruptModel, match=said):
        load(changed(fitted, **{part: value}))


def test_an_index_of_another_kind_is_refused(fitted: bytes) -> None:
    import faiss

    flat = faiss.serialize_index(faiss.IndexFlatIP(33))
    with pytest.raises(CorruptModel, match="IndexFlatIP"):
        load(changed(fitted, index=flat))


def test_publishing_and_asking_at_once_disturb_neither(
    retriever: VideoRetriever, requests: list[dict[str, Any]]
) -> None:
    done, counts = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            counts.extend(len(retriever.candidates(request, NOW)["video_id"]) for request in requests[:5])

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    for number in range(20):
        retriever.add(published(f"n{number}", NOW - 100 + number))
    done.set()
    for thread in asking:
        thread.join()
    assert set(counts) <= {MOST_CANDIDATES}
    assert {f"n{number}" for number in range(20)} <= set(retriever.candidates(requests[0], NOW)["video_id"])


def test_rows_of_which_nothing_was_watched_cannot_be_fitted(world: VideoWorld, rows: Columns) -> None:
    none = {name: values[:100] for name, values in rows.items()}
    none |= {"watched": np.full(100, "", dtype=object), "watched_half": np.zeros(100)}
    with pytest.raises(InvalidInput, match="nothing to factor"):
        retrieval.fit(none, columns(world.items(LONG_AGO, END)), 0)


def test_factors_put_those_together_who_watch_alike() -> None:
    """Two groups of users and of items, that watch nothing of each other's."""
    random = np.random.default_rng(0)
    user = random.integers(0, 200, 4_000)
    item = random.integers(0, 30, 4_000) + 30 * (user % 2)
    factors = factorise(Interactions(user, item, 200, 60), 4, 0)
    taste = unit(factors.taste)
    likeness = taste @ factors.user([0, 1, 2])
    assert likeness[3:30].min() > likeness[30:].max()
    np.testing.assert_allclose(factors.users([[0, 1, 2], []])[0], factors.user([0, 1, 2]), atol=1e-6)
    assert not factors.users([[0, 1, 2], []])[1].any()


def test_few_vectors_are_searched_exactly() -> None:
    vectors = np.random.default_rng(0).normal(size=(2_000, 8)).astype(np.float32)
    index = build(vectors, 0)
    for user in vectors[:20]:
        assert index.search(user, 50).tolist() == exact(vectors, user, 50).tolist()
    assert best(np.array([1.0, 3.0, 2.0]), 9).tolist() == [1, 2, 0]


def test_loading_the_system_does_not_load_the_index_library() -> None:
    """The gateway loads every system, and searches in none."""
    code = "import sys, systems; systems.load('video_recommendation'); print('faiss' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
