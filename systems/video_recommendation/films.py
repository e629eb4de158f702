"""The two stages on MovieLens: the factors and the index of stage one, and rankers of this system, on films.

The ranker learns from users whom its stage one has not seen: they are folded in by a part of their ratings, and the
rest are the labels. Held-out ratings of users who are in the fit were tried first: a film's exact count then says how
many of its ratings were held out, and trees that learn that rank worse than stage one alone.
"""

from dataclasses import dataclass

import numpy as np

from contracts.system import Columns, Estimator, Floats, Matrix
from systems.video_recommendation import attributes, factors, neighbours
from systems.video_recommendation.factors import Doubles, Factors, Interactions, Ints, Pull, Vectors, unit
from systems.video_recommendation.movielens import Films, Rank, Ratings, Split
from systems.video_recommendation.neighbours import Neighbours, best

RANK, PULL = 20, Pull(popularity=0.3, base=1.0)  # how they were chosen: README
NEAR, POPULAR = 120, 40  # candidates of a user: nearest neighbours, and the most watched
CLOSEST = 10  # films of a user's own to which a candidate is compared
FOLDS = 4
LATELY = 90 * 86_400.0  # seconds


@dataclass(frozen=True)
class StageOne:
    """Factors, an index over them, what everybody watched, and what is watched a lot."""

    films: Films
    factors: Factors
    likeness: Vectors  # films' vectors of length 1
    searched: Vectors
    index: Neighbours
    popular: Ints
    lately: Doubles  # of each film, its share of the last ratings
    watched: list[Ints]  # of each user

    def candidates(self, user: int) -> Ints:
        """Films that the user has not rated, the likeliest first."""
        seen = self.watched[user]
        near = self.index.search(PULL.query(self.factors.user(seen)), NEAR + len(seen))
        joined = np.concatenate([near, self.popular[: POPULAR + len(seen)]])
        found = joined[np.sort(np.unique(joined, return_index=True)[1])]
        return found[~np.isin(found, seen)]

    def most_watched(self, user: int) -> Ints:
        """The baseline: what most have watched, the same for everybody but for what they have seen."""
        return self.popular[~np.isin(self.popular, self.watched[user])]

    def features(self, user: int, found: Ints) -> Matrix:
        """What the ranker is told of a user's candidates."""
        seen, count = self.watched[user], np.log1p(self.factors.watched)
        vector = self.factors.user(seen)
        near = np.sort(self.likeness[found] @ self.likeness[seen].T, axis=1)[:, -CLOSEST:]
        genres = self.films.genres[found]
        columns = [
            self.likeness[found] @ vector,
            self.searched[found] @ PULL.query(vector),
            near[:, -1],
            near.mean(axis=1),
            count[found] / count.max(),
            count[found] - count[seen].mean(),
            self.lately[found],
            genres @ self.films.genres[seen].mean(axis=0) / np.maximum(genres.sum(axis=1), 1.0),
            genres.sum(axis=1),
            self.films.year[found] - self.films.year[seen].mean(),
            np.full(len(found), np.log1p(len(seen))),
        ]
        return np.column_stack(columns).astype(np.float32)


def stage_one(ratings: Ratings, seed: int, watched: list[Ints] | None = None) -> StageOne:
    """Fitted on these ratings; for users of other histories where `watched` gives them."""
    films = ratings.films
    own = factors.factorise(Interactions(ratings.user, ratings.film, ratings.users, len(films)), RANK, seed)
    known = _columns(films)
    fitted = factors.blended(own, attributes.fit(known, own.taste, own.watched)(known))
    searched = fitted.searched(PULL)
    last = ratings.film[ratings.at > ratings.at.max() - LATELY]
    return StageOne(
        films=films,
        factors=fitted,
        likeness=unit(fitted.taste),
        searched=searched,
        index=neighbours.build(searched, seed),
        popular=best(fitted.watched, len(films)),
        lately=np.bincount(last, minlength=len(films)) / len(last),
        watched=ratings.by_user() if watched is None else watched,
    )


def two_stages(stage: StageOne, estimator: Estimator) -> Rank:
    """Stage one's candidates in the order of a fitted ranker's probabilities."""

    def rank(user: int) -> Ints:
        found = stage.candidates(user)
        if not len(stage.watched[user]):
            return found
        scores = estimator.predict_proba(stage.features(user, found))[:, 1]
        return found[np.argsort(-scores, kind="stable")]

    return rank


def examples(ratings: Ratings, split: Split, seed: int) -> tuple[Matrix, Floats]:
    """Candidates of users whom stage one has not seen, and whether they came to watch them."""
    history, came = split(ratings)
    known = ratings.where(ratings.at <= history.at.max())  # of the others; with a split by time, their histories
    fold = np.random.default_rng(seed).integers(0, FOLDS, ratings.users)
    watched, later, X, y = history.by_user(), came.by_user(), [], []
    for one in range(FOLDS):
        stage = stage_one(known.where(fold[known.user] != one), seed, watched)
        for user in np.flatnonzero(fold == one).tolist():
            if len(watched[user]) and len(later[user]):
                found = stage.candidates(user)
                X.append(stage.features(user, found))
                y.append(np.isin(found, later[user]).astype(np.float64))
    return np.vstack(X), np.concatenate(y)


def _columns(films: Films) -> Columns:
    """As stage one knows videos by: a film's first genre is its category, its year stands for the creator."""
    return {
        "category": films.genres.argmax(axis=1).astype(str).astype(object),
        "creator_id": films.year.astype(str).astype(object),
        "duration": np.full(len(films), 300.0),
    }
