"""From what is known of a video on its first minute to where it stands among tastes.

Ridge regression from attributes to factors (Gantner et al. 2010, Learning Attribute-to-Feature Mappings for Cold-Start
Recommendations, section 4), in two blocks one after the other: category and length, then the creator on what is left,
which for columns of zeros and ones is a mean that shrinks with few videos.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RIDGE, SHRINKAGE = 10.0, 20.0  # in watched videos

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class AttributeMap:
    """The fitted mapping. Whatever it has not seen is average."""

    categories: NDArray[Any]  # names, sorted
    coefficients: Vectors  # (1, length, length², then the categories) × rank
    creators: NDArray[Any]
    offsets: Vectors  # creators × rank

    def __call__(self, columns: Mapping[str, NDArray[Any]]) -> Vectors:
        """Vectors of videos by their columns category, creator_id and duration (seconds)."""
        common = _common(columns, self._category_index) @ self.coefficients
        creator = self._creator_index.get_indexer(pd.Index(columns["creator_id"]))
        return np.asarray(common + np.where(creator[:, None] < 0, 0, self.offsets[creator]), dtype=np.float32)

    @cached_property
    def _category_index(self) -> "pd.Index[str]":
        return _index(self.categories)

    @cached_property
    def _creator_index(self) -> "pd.Index[str]":
        return _index(self.creators)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays without objects."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def fit(columns: Mapping[str, NDArray[Any]], taste: Vectors, watched: NDArray[np.float32]) -> AttributeMap:
    """The mapping that fits the vectors best, each weighing as much as it was watched often (up to a point)."""
    weight = np.minimum(watched, 50.0).astype(np.float64)
    categories = np.unique(columns["category"].astype(str))
    common = _common(columns, _index(categories))
    weighed = common * weight[:, None]
    ridge = RIDGE * np.eye(common.shape[1])
    coefficients = np.linalg.solve(weighed.T @ common + ridge, weighed.T @ taste)
    creator, creators = pd.factorize(columns["creator_id"].astype(object), sort=True)
    left = (taste - common @ coefficients) * weight[:, None]
    sums = np.stack([np.bincount(creator, column, len(creators)) for column in left.T], axis=1)
    offsets = sums / (np.bincount(creator, weight, len(creators)) + SHRINKAGE)[:, None]
    return AttributeMap(
        categories, coefficients.astype(np.float32), np.asarray(creators).astype(str), offsets.astype(np.float32)
    )


def _index(names: NDArray[Any]) -> "pd.Index[str]":
    index: pd.Index[str] = pd.Index(names.astype(object))
    return index


def _common(columns: Mapping[str, NDArray[Any]], categories: "pd.Index[str]") -> NDArray[np.float64]:
    length = np.log(np.maximum(np.asarray(columns["duration"], dtype=np.float64), 1.0) / 300.0)
    place = categories.get_indexer(pd.Index(columns["category"]))
    found = np.zeros((len(length), 3 + len(categories)))
    found[:, 0], found[:, 1], found[:, 2] = 1.0, length, length**2
    known = np.flatnonzero(place >= 0)
    found[known, 3 + place[known]] = 1.0
    return found
