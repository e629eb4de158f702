"""Features of logged rows anew: as of each row's own time and, where that is not what was served, of ticks before it.

A row that agrees with a tick in all features of all its views is explained, and not looked at again. So the usual case
costs two joins of the feature store, and what no tick explains three, however many ticks are tried: the rows are put
below each other, once for each tick.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.ports import FeatureStore
from contracts.system import AT, FeatureView, Matrix, System

Mask = NDArray[np.bool_]
Live = Callable[[pd.DataFrame], pd.DataFrame]  # rows (row columns and `at`) → with the live views' features

FURTHER = (2, 3, 6, 12, 24)  # ticks before a row's own that are looked at besides those allowed, to name what is stale
MOST_ALLOWED = 240  # ticks behind


@dataclass(frozen=True)
class Recomputed:
    """Features of logged rows, in the rows' order: as of each row's own `at`, and as of some ticks before it."""

    now: pd.DataFrame
    earlier: Mapping[int, pd.DataFrame]  # by ticks; the ticked views' features only, NaN in rows explained before
    freshness: timedelta | None = None  # how old what was materialised may have been; None: as the system requires


def recomputed(
    system: System, store: FeatureStore, live: Live, rows: pd.DataFrame, freshness: timedelta | None = None
) -> Recomputed:
    """The features of logged rows anew. What was logged of them is taken away first, so that it cannot come back."""
    age = freshness or system.requirements.freshness
    full = live(rows.drop(columns=[name for name in system.features.names if name in rows])).reset_index(drop=True)
    found = Recomputed(store.historical(system, full)[list(system.features.names)], {}, age)
    most = max((allowed(view, age) for view in system.features.views), default=0)
    for ticks in ((1,), sorted({*range(2, most + 1), *FURTHER})) if most else ():  # without ticked views there are none
        left = np.flatnonzero(~_explained(system, rows, found))
        if len(left):
            found = Recomputed(found.now, {**found.earlier, **_before(system, store, full, left, ticks)}, age)
    return found


def allowed(view: FeatureView, freshness: timedelta) -> int:
    """How many ticks behind its own a row may be served: one, for materialisation takes its time, or as many as
    `freshness` has room for."""
    return 0 if view.live else min(max(1, freshness // view.every - 1), MOST_ALLOWED)


def defaulted(view: FeatureView, served: pd.DataFrame) -> Mask:
    """Of which rows the view could not be read, so that its defaults were served."""
    told = served["degraded"].str.contains(rf"(?:^|; ){re.escape(view.name)}: ", regex=True).to_numpy(bool)
    defaults = np.array([feature.default for feature in view.features], np.float32)
    found: Mask = told & (matrix(served, [feature.name for feature in view.features]) == defaults).all(axis=1)
    return found


def same(one: Matrix, other: Matrix) -> Mask:
    """Where values are equal to the last bit, or both missing."""
    found: Mask = (one == other) | (np.isnan(one) & np.isnan(other))
    return found


def matrix(frame: pd.DataFrame, names: Sequence[str]) -> Matrix:
    """Columns of a table as they are served."""
    return frame[list(names)].to_numpy(np.float32).reshape(len(frame), len(names))


def _explained(system: System, served: pd.DataFrame, found: Recomputed) -> Mask:
    """Rows of which each ticked view is as of some tick that was looked at, or was not read."""
    whole = np.ones(len(served), np.bool_)
    for view in system.features.views:
        if not view.live:
            names = [feature.name for feature in view.features]
            values, tables = matrix(served, names), (found.now, *found.earlier.values())
            agree = [(same(values, matrix(table, names)) | np.isnan(values)).all(axis=1) for table in tables]
            whole &= np.any(agree, axis=0) | defaulted(view, served)
    return whole


def _before(
    system: System, store: FeatureStore, rows: pd.DataFrame, places: NDArray[np.int64], ticks: Sequence[int]
) -> dict[int, pd.DataFrame]:
    """The ticked views' features of the rows at some places, as of so many of each view's ticks before their time."""
    asked, ticked = rows.iloc[places], [view for view in system.features.views if not view.live]
    found = {each: pd.DataFrame(index=rows.index) for each in ticks}
    for every in dict.fromkeys(view.every for view in ticked):
        names = [feature.name for view in ticked if view.every == every for feature in view.features]
        then = [asked.assign(**{AT: asked[AT] - each * every.total_seconds()}) for each in ticks]
        values = matrix(store.historical(system, pd.concat(then, ignore_index=True)), names)
        for each, part in zip(ticks, np.split(values, len(ticks)), strict=True):
            whole = np.full((len(rows), len(names)), np.nan, np.float32)
            whole[places] = part
            found[each][names] = whole
    return found
