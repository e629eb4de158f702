"""The two stages on real data: MovieLens 100K. The data may not be passed on: the tests find a copy, or skip."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.movielens import FIRST, SHARE, measured
from contracts.errors import InvalidInput
from infra.settings import ROOT
from systems.video_recommendation import movielens
from systems.video_recommendation.movielens import Ratings, Scores

DATA = Path(os.environ.get("MOVIELENS_100K", ROOT.parent / "shared" / "data" / "ml-100k"))

real = pytest.mark.skipif(
    not DATA.exists(), reason="MovieLens 100K is neither at ../shared/data/ml-100k nor where MOVIELENS_100K says"
)


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return movielens.load(DATA)


@pytest.fixture(scope="module")
def at_random(ratings: Ratings) -> dict[str, Scores]:
    return measured(ratings, movielens.at_random(SHARE, FIRST), FIRST)


@real
def test_the_whole_of_it_is_loaded(ratings: Ratings) -> None:
    assert (len(ratings), ratings.users, len(ratings.films)) == (100_000, 943, 1_682)
    assert np.bincount(ratings.user).min() == 20  # whoever rated fewer was left out of the collection
    assert ratings.films.genres.sum(axis=1).min() == 1
    assert (ratings.films.year == 1995).sum() > 200


@real
def test_two_stages_reach_the_reference_on_the_random_split(at_random: dict[str, Scores]) -> None:
    """Microsoft's Recommenders publish nDCG@10 of 0.382 (SAR), 0.442 (BPR) and 0.475 (BiVAE) on such a split."""
    assert at_random["two stages, trees"].ndcg >= 0.44
    assert at_random["two stages, logistic regression"].ndcg >= 0.44
    assert at_random["stage one"].ndcg >= 0.44
    assert at_random["two stages, trees"].mean_average_precision > 0.132  # BPR's
    assert at_random["popularity"].ndcg < 0.3
    assert {scores.users for scores in at_random.values()} == {943}


@real
def test_a_linear_second_stage_does_no_harm(at_random: dict[str, Scores]) -> None:
    assert at_random["two stages, logistic regression"].ndcg > at_random["stage one"].ndcg - 0.01


@real
def test_with_nobodys_future_known_it_is_harder_and_still_better_than_popularity(
    ratings: Ratings, at_random: dict[str, Scores]
) -> None:
    by_time = measured(ratings, movielens.by_time(SHARE), FIRST)
    assert by_time["stage one"].ndcg > by_time["popularity"].ndcg
    assert by_time["two stages, logistic regression"].ndcg > by_time["popularity"].ndcg
    assert all(by_time[name].ndcg < at_random[name].ndcg for name in by_time)


@real
def test_the_splits_divide_as_they_say(ratings: Ratings) -> None:
    train, test = movielens.at_random(SHARE, FIRST)(ratings)
    assert len(train) + len(test) == len(ratings)
    counts = np.bincount(ratings.user)
    assert (np.bincount(train.user) == np.round(SHARE * counts)).all()
    assert not set(zip(train.user, train.film, strict=True)) & set(zip(test.user, test.film, strict=True))
    older, newer = movielens.by_time(SHARE)(ratings)
    assert older.at.max() < newer.at.min()
    assert set(newer.user) <= set(older.user)


def test_the_metrics_are_those_of_the_reference() -> None:
    """By hand: one user with three relevant films of which two are found, first and third of three."""
    films = movielens.Films(np.zeros((9, 19)), np.zeros(9, dtype=np.int64))
    test = Ratings(np.zeros(3, dtype=np.int64), np.array([1, 3, 8]), np.zeros(3), 2, films)
    found = movielens.evaluate(lambda user: np.array([1, 2, 3]), test, 3)
    assert found.ndcg == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2))
    assert found.mean_average_precision == pytest.approx((1 + 2 / 3) / 3)
    assert found.map_at_k == pytest.approx((1 + 2 / 3) / 3)
    assert found.users == 1
    shorter = movielens.evaluate(lambda user: np.array([1]), test, 1)
    assert (shorter.ndcg, shorter.mean_average_precision, shorter.map_at_k) == pytest.approx((1.0, 1 / 3, 1.0))


def test_the_collection_as_it_is_published_is_loaded_too(tmp_path: Path) -> None:
    """Tabs between the fields of u.data, no header line, and names beyond ASCII."""
    (tmp_path / "u.data").write_text("1\t2\t5\t881250949\n2\t1\t3\t881250950\n")
    flags = "|".join(["0"] * 18 + ["1"])
    lines = [f"{film}|Caf\xe9|01-Jan-199{film}||http://imdb|{flags}" for film in (1, 2)]
    (tmp_path / "u.item").write_text("\n".join(lines), encoding="latin-1")
    found = movielens.load(tmp_path)
    assert (found.user.tolist(), found.film.tolist(), found.films.year.tolist()) == ([0, 1], [1, 0], [1991, 1992])


def test_what_is_no_such_collection_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"u.item cannot be read; name the folder of your own copy"):
        movielens.load(tmp_path)
    (tmp_path / "u.item").write_text("1|A|01-Jan-1990||x|" + "|".join(["1"] * 19))
    (tmp_path / "u.data").write_text("1\tone\t5\t881250949\n")
    with pytest.raises(InvalidInput, match=r"u.data must hold user, film, rating and timestamp"):
        movielens.load(tmp_path)
    (tmp_path / "u.data").write_text("1\t2\t5\t881250949\n")
    with pytest.raises(InvalidInput, match=r"names film 2, and u.item describes 1"):
        movielens.load(tmp_path)
