"""Matrix factorisation: a vector of taste for each item, and for each user by what they watched.

PureSVD (Cremonesi et al. 2010, Performance of Recommender Algorithms on Top-N Recommendation Tasks, section 3.2.2) on a
matrix scaled by popularity (EigenRec: Nikolakopoulos et al. 2019, section 3), users folded in, so that who is new needs
no fitting. Its weak side is the item that few have watched: there the vector is mapped from the item's attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from contracts.errors import InvalidInput

ITEM_SCALE, USER_SCALE = 0.4, 0.25  # exponents of what a column and a row are divided by, chosen on README's real data
TRUST = 30.0  # watched this often, an item's own vector weighs as much as the one from its attributes

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Interactions:
    """Who watched what, as numbers of users and of items; a pair may be there more than once and counts once."""

    user: Ints
    item: Ints
    users: int
    items: int

    def matrix(self) -> sparse.csr_matrix:
        """Users × items, 1 where the item was watched."""
        ones = np.ones(len(self.user), dtype=np.float64)
        matrix = sparse.csr_matrix((ones, (self.user, self.item)), shape=(self.users, self.items))
        matrix.data[:] = 1.0
        return matrix


@dataclass(frozen=True)
class Factors:
    """Items' vectors of taste, and how often each was watched.

    The vectors are free of popularity, and the average watch lies at zero: else all would point where most watch.
    """

    taste: Vectors  # items × rank
    watched: NDArray[np.float32]  # of each item

    def users(self, histories: Sequence[Sequence[int]]) -> Vectors:
        """A vector of length 1 for each history (numbers of items); zeros for one that is empty."""
        lengths = np.fromiter(map(len, histories), dtype=np.int64, count=len(histories))
        items = np.fromiter((item for history in histories for item in history), dtype=np.int64, count=lengths.sum())
        starts = np.concatenate([[0], np.cumsum(lengths)])
        weights = _weights(self.watched)[items]
        folded = sparse.csr_matrix((weights, items, starts), shape=(len(histories), len(self.taste)))
        return unit(folded @ self.taste)

    def user(self, history: Sequence[int] | Ints) -> Vectors:
        """The same for one history, by the quickest way there is."""
        items = np.asarray(history, dtype=np.int64)
        folded: Vectors = unit((_weights(self.watched[items]) @ self.taste[items])[None])[0]
        return folded

    def searched(self, pull: "Pull") -> Vectors:
        """The vectors to search among: their inner products with `pull.query` are the scores to search by."""
        known = np.maximum(self.watched, 1.0)[:, None] ** pull.popularity
        base = np.full((len(self.taste), 1), pull.base)
        return np.ascontiguousarray(np.hstack([unit(self.taste), base]) * known, dtype=np.float32)


@dataclass(frozen=True)
class Pull:
    """What a search is by: (cosine + base) × watched^popularity.

    With much popularity it finds what many watch, with little what only this user would. The base is what popularity is
    worth where there is no likeness at all.
    """

    popularity: float
    base: float

    def query(self, user: Vectors) -> Vectors:
        """A user's vector as it is searched with."""
        return np.append(user, np.float32(1.0))


def factorise(interactions: Interactions, rank: int, seed: int) -> Factors:
    """The items' vectors by truncated, randomised SVD; `InvalidInput` when nothing was watched."""
    matrix = interactions.matrix()
    if matrix.nnz == 0:
        raise InvalidInput("No row is of a video that was watched and is in the catalogue: there is nothing to factor.")
    watched = np.asarray(matrix.sum(axis=0)).ravel()
    active = np.asarray(matrix.sum(axis=1)).ravel()
    scaled = sparse.diags(np.maximum(active, 1.0) ** -USER_SCALE) @ matrix
    scaled = scaled @ sparse.diags(np.maximum(watched, 1.0) ** -ITEM_SCALE)
    rank = max(1, min(rank, min(matrix.shape) - 1))
    _, _, right = randomized_svd(scaled, rank, n_iter=5, random_state=seed)
    taste = right.T / np.maximum(watched, 1.0)[:, None] ** (1 - ITEM_SCALE)
    taste -= np.average(taste, axis=0, weights=watched)
    size = np.sqrt(np.average((taste**2).sum(axis=1), weights=watched))
    return Factors(np.asarray(taste / size, dtype=np.float32), watched.astype(np.float32))


def blended(factors: Factors, mapped: Vectors) -> Factors:
    """Own vectors for items that many watched, those mapped from their attributes for the others."""
    own = (factors.watched / (factors.watched + TRUST))[:, None]
    return Factors(np.asarray(own * factors.taste + (1 - own) * mapped, dtype=np.float32), factors.watched)


def unit(vectors: NDArray[Any]) -> Vectors:
    """Each of length 1; zeros stay zeros."""
    narrow = np.asarray(vectors, dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", narrow, narrow))[:, None]
    found: Vectors = np.divide(narrow, length, out=np.zeros_like(narrow), where=length > 0)
    return found


def _weights(watched: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much items in a history say: PureSVD's fold-in, written for vectors free of popularity."""
    weights: NDArray[np.float32] = np.maximum(watched, np.float32(1)) ** np.float32(1 - 2 * ITEM_SCALE)
    return weights
