"""The catalogue as stage one holds it: columns by position, in which candidates are picked by fancy indexing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import CorruptModel
from contracts.system import AT, Columns
from systems.video_recommendation.factors import Doubles, Ints

STRINGS, NUMBERS = ("video_id", "category", "creator_id"), ("duration", "published_at")
NAMES = STRINGS + NUMBERS
RECURRING = ("category", "creator_id")


@dataclass(frozen=True)
class Places:
    """Where a video stands. Those that came later are apart, so that one more does not copy a hundred thousand."""

    first: Mapping[str, int]
    later: Mapping[str, int]

    def of(self, name: str) -> int:
        """The position; -1 for a video that is not there."""
        return self.later.get(name, self.first.get(name, -1))

    def all_of(self, names: Iterable[str]) -> list[int]:
        """The positions of those that are there."""
        return [place for name in names if (place := self.of(name)) >= 0]


@dataclass(frozen=True)
class Shelf:
    """Videos by position."""

    columns: Mapping[str, NDArray[Any]]  # NAMES; durations in seconds, publication in seconds since the epoch
    places: Places

    def __len__(self) -> int:
        return len(self.columns["video_id"])

    @cached_property
    def by_age(self) -> tuple[Ints, Doubles]:
        """Positions in the order of publication, and when that was."""
        published = self.columns["published_at"]
        order = np.argsort(published, kind="stable")
        return order, published[order]

    @cached_property
    def categories(self) -> tuple[Ints, "pd.Index[str]"]:
        """The number of each video's category, and the categories' names by number."""
        codes, names = pd.factorize(self.columns["category"])
        return codes.astype(np.int64), pd.Index(names)

    def find(self, ids: NDArray[Any]) -> Ints:
        """Positions of videos by their ids; -1 for one that is not there."""
        codes, distinct = pd.factorize(np.asarray(ids, dtype=object))
        return np.fromiter(map(self.places.of, distinct), dtype=np.int64, count=len(distinct))[codes]

    def rows(self, positions: Ints) -> dict[str, NDArray[Any]]:
        """The row columns of videos."""
        return {name: values[positions] for name, values in self.columns.items()}

    def newest(self, at: float, count: int) -> Ints:
        """Positions of the videos last published before a moment, the newest first."""
        order, published = self.by_age
        until = int(np.searchsorted(published, at, side="right"))
        return order[max(0, until - count) : until][::-1]

    def with_more(self, items: Columns) -> "Shelf":
        """With the videos that are new to it, behind those that are there; itself when there are none."""
        new = {name: row for row, name in enumerate(items["video_id"].tolist()) if self.places.of(name) < 0}
        if not new:
            return self
        added, rows = _columns(items), np.fromiter(new.values(), dtype=np.int64)
        later = {name: len(self) + place for place, name in enumerate(new)}
        return Shelf(
            {name: np.concatenate([self.columns[name], added[name][rows]]) for name in NAMES},
            Places(self.places.first, {**self.places.later, **later}),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays without objects."""
        strings = {name: self.columns[name].astype(str) for name in STRINGS}
        return {**strings, **{name: self.columns[name] for name in NUMBERS}}


def shelf(items: Columns) -> Shelf:
    """From the catalogue's table (`Retrieval.items`' id, `at` and columns), in which a video stands once."""
    return _shelf(_columns(items))


def load(arrays: Mapping[str, NDArray[Any]]) -> Shelf:
    """CorruptModel when the columns are not those of one table."""
    kinds = {name: "U" if name in STRINGS else "f" for name in NAMES}
    if any(arrays[name].dtype.kind != kind for name, kind in kinds.items()):
        raise CorruptModel("Stage one's catalogue has columns of the wrong kind; register the model again.")
    if len({arrays[name].shape for name in NAMES}) != 1 or arrays["video_id"].ndim != 1:
        raise CorruptModel("Stage one's catalogue has columns of different lengths; register the model again.")
    return _shelf({name: arrays[name].astype(object) if name in STRINGS else arrays[name] for name in NAMES})


def _shelf(columns: Mapping[str, NDArray[Any]]) -> Shelf:
    shared = {name: _shared(columns[name]) for name in RECURRING}
    places = {name: place for place, name in enumerate(columns["video_id"].tolist())}
    return Shelf({**columns, **shared}, Places(places, {}))


def _shared(values: NDArray[Any]) -> NDArray[Any]:
    """The same strings, each of them one object however often it stands there: a request touches less memory."""
    strings, one = values.tolist(), dict[Any, Any]()
    return np.fromiter((one.setdefault(value, value) for value in strings), dtype=object, count=len(strings))


def _columns(items: Columns) -> dict[str, NDArray[Any]]:
    strings = {name: np.asarray(items[name], dtype=object) for name in STRINGS}
    numbers = {"duration": items["duration"], "published_at": items[AT]}
    return {**strings, **{name: np.asarray(values, dtype=np.float64) for name, values in numbers.items()}}
