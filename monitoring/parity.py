"""Served equals recomputed: features as they were logged, held against the feature store's as of the same moments.

Equality is promised to the last bit (feature_repo/README.md), with three exceptions that are no skew:

- A state is served once it is materialised, so that shortly after a tick the one before it is still served. Each row of
  a view is compared with the tick that it agrees with most (`recomputed.py`); as many ticks behind as
  `Requirements.freshness` allows are counted as such.
- Where a view is named in `degraded` the defaults stand for what could not be read: rows that hold them are left out.
- Of two requests of one entity that were under way at the same time neither has seen the other, and the events that are
  recomputed from hold both: for live views such rows are left out.

Whatever else differs is skew between serving and training, and is described in words that say where to look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.ports import Archive, FeatureStore
from contracts.records import FEATURES_UNAVAILABLE
from contracts.system import AT, FeatureView, Matrix, System
from monitoring.recomputed import Live, Mask, Recomputed, allowed, defaulted, matrix, recomputed, same
from monitoring.skew import Pairs, describe

ON_REQUEST = "request"  # stands for a view's name where the features are the request's own
TOLERATED = 0.01  # of a feature's rows: a Redis that was killed may have lost a second's events
MOST_EXAMPLES = 3


@dataclass(frozen=True)
class Stores:
    """Where served features are, and where they can be recomputed from."""

    archive: Archive
    features: FeatureStore
    live: Live


@dataclass(frozen=True)
class ViewParity:
    """What came of a view's rows: compared = as promised + behind + differing ones."""

    name: str
    compared: int
    behind: int  # served from an earlier tick than their own, as is allowed …
    behind_for: timedelta  # … and for how long the oldest of them had been due
    degraded: int  # left out: the defaults stood in
    under_way: int  # left out: another request of the same entity was under way

    def sentence(self) -> str:
        """What was compared of the view, and what not."""
        left_out = f"left out {self.degraded:,} degraded and {self.under_way:,} with another request under way"
        late = f" (up to {self.behind_for.total_seconds() / 60:,.0f} min after the tick)" if self.behind else ""
        return f"{self.name}: {self.compared:,} rows compared, {self.behind:,} of an earlier tick{late}; {left_out}."


@dataclass(frozen=True)
class FeatureParity:
    """A feature, and in how many of its rows what was served is not what is recomputed."""

    name: str
    view: str
    compared: int
    absent: int  # rows that were logged without it: left out
    differing: int
    ratio: float  # median of served / recomputed over the rows that differ; NaN without any
    difference: float  # median of served − recomputed, likewise
    words: str
    examples: tuple[str, ...] = ()  # prediction ids

    @property
    def share(self) -> float:
        """Of the rows compared; NaN without any."""
        return self.differing / self.compared if self.compared else float("nan")


@dataclass(frozen=True)
class Parity:
    """What was found in a sample of the log."""

    rows: int
    unread: int  # left out as a whole: the feature store could not be read
    views: tuple[ViewParity, ...]
    features: tuple[FeatureParity, ...]  # the worst first

    @property
    def skewed(self) -> tuple[str, ...]:
        """Features that differ in more rows than is tolerated, the worst first."""
        return tuple(each.name for each in self.features if each.compared and each.share > TOLERATED)

    @property
    def equal(self) -> bool | None:
        """False when any feature is skewed; None when of some view there was nothing to compare."""
        if self.skewed:
            return False
        return True if all(each.compared for each in self.views) else None

    def sentences(self) -> tuple[str, ...]:
        """The report: what was compared, then one line for each feature that differs."""
        compared, differing = (sum(getattr(each, name) for each in self.features) for name in ("compared", "differing"))
        head = (
            f"{differing:,} of {compared:,} served values differ from the recomputed ones "
            f"({self.rows:,} rows × {len(self.features)} features; of {self.unread:,} more rows nothing could be read)."
        )
        views = (each.sentence() for each in self.views if each.name != ON_REQUEST)
        return head, *views, *(f"{each.name}: {each.words}." for each in self.features if each.differing)


def check(
    system: System,
    stores: Stores,
    interval: tuple[datetime, datetime],
    most: int = 10_000,
    longest: timedelta | None = None,
    freshness: timedelta | None = None,
) -> Parity:
    """Compare at most so many rows of an interval of the log, drawn evenly from all that were kept.

    `longest` is how long a request may be under way, and `freshness` how old what is materialised may be, both in the
    platform's time; by default what the system's requirements say, which is right on a clock that does not run fast.
    """
    span, age = longest or system.requirements.deadline, freshness or system.requirements.freshness
    log = stores.archive.predictions(system, *interval).reset_index(drop=True)
    read = ~log["degraded"].str.contains(FEATURES_UNAVAILABLE, regex=False).to_numpy(bool)
    sample = log[read] if read.sum() <= most else log[read].sample(most, random_state=0).sort_index()
    met = {view.name: under_way(view, log, sample, span) for view in system.features.views}
    found = recomputed(system, stores.features, stores.live, sample, age)
    return compare(system, sample, found, met, unread=int((~read).sum()))


def under_way(view: FeatureView, log: pd.DataFrame, rows: pd.DataFrame, span: timedelta) -> Mask:
    """For each of the rows (which are among the log's, by index), whether within `span` before it another request of
    the same entity was made; never where the view is not live. `span` is in the platform's time."""
    if not view.live or not len(rows):
        return np.zeros(len(rows), dtype=np.bool_)
    entity = log.groupby(list(view.entities), sort=False, dropna=False).ngroup().to_numpy()
    asked = log.index.get_indexer(rows.index)
    moment = log[AT].to_numpy(np.float64)
    keys = np.sort(_keys(entity, moment))
    own, at = entity[asked], moment[asked]
    before = np.searchsorted(keys, _keys(own, at - span.total_seconds()))
    found: Mask = np.searchsorted(keys, _keys(own, at)) > before
    return found


def compare(
    system: System, served: pd.DataFrame, found: Recomputed, under_way: Mapping[str, Mask], unread: int = 0
) -> Parity:
    """Hold logged rows against what was recomputed of them."""
    parts = [_Part.of_view(system, view, served, found, under_way.get(view.name)) for view in system.features.views]
    parts.append(_Part.of_request(system, served, found))
    features = [feature for part in parts for feature in part.features(served)]
    ordered = tuple(sorted(features, key=lambda each: -each.differing))
    return Parity(len(served), unread, tuple(part.summary for part in parts if part.names), ordered)


@dataclass(frozen=True)
class _Part:
    """A view's features side by side: what was served, and what should have been: as of the tick that agrees most,
    where that one is allowed, else as of the row's own."""

    summary: ViewParity
    names: Sequence[str]
    defaults: Mapping[str, float]
    served: Matrix
    expected: Matrix
    stale: NDArray[np.int64]  # how many ticks behind a row is, where that is more than allowed
    compared: NDArray[np.bool_]  # rows × features

    @classmethod
    def of_view(
        cls, system: System, view: FeatureView, served: pd.DataFrame, found: Recomputed, met: Mask | None
    ) -> "_Part":
        names = [feature.name for feature in view.features]
        defaults = {feature.name: feature.default for feature in view.features}
        values = matrix(served, names)
        earlier = {} if view.live else {ticks: matrix(found.earlier[ticks], names) for ticks in found.earlier}
        now = matrix(found.now, names)
        ticks, nearest = _nearest(values, {0: now, **earlier})
        degraded = defaulted(view, served)
        together = (np.zeros(len(served), np.bool_) if met is None else met) & ~degraded
        stale = np.where(ticks > allowed(view, found.freshness or system.requirements.freshness), ticks, 0)
        expected = np.where(stale[:, None] > 0, now, nearest)
        used = ~degraded & ~together
        behind = used & (ticks > stale)
        summary = ViewParity(
            name=view.name,
            compared=int(used.sum()),
            behind=int(behind.sum()),
            behind_for=_since_tick(view, served[AT].to_numpy(np.float64)[behind], ticks[behind]),
            degraded=int(degraded.sum()),
            under_way=int(together.sum()),
        )
        return cls(summary, names, defaults, values, expected, stale, used[:, None] & ~np.isnan(values))

    @classmethod
    def of_request(cls, system: System, served: pd.DataFrame, found: Recomputed) -> "_Part":
        names, rows = list(system.features.request_features), len(served)
        values, now = matrix(served, names), matrix(found.now, names)
        summary = ViewParity(ON_REQUEST, rows, 0, timedelta(0), 0, 0)
        return cls(summary, names, {}, values, now, np.zeros(rows, np.int64), ~np.isnan(values))

    def features(self, rows: pd.DataFrame) -> list[FeatureParity]:
        differs = self.compared & ~same(self.served, self.expected)
        return [self._feature(place, differs[:, place], rows) for place in range(len(self.names))]

    def _feature(self, place: int, differs: Mask, rows: pd.DataFrame) -> FeatureParity:
        name, compared = self.names[place], self.compared[:, place]
        served, expected = (side[differs, place].astype(np.float64) for side in (self.served, self.expected))
        others = {
            other: self.expected[differs, at].astype(np.float64) for at, other in enumerate(self.names) if at != place
        }
        pairs = Pairs(served, expected, self.stale[differs], others, self.defaults.get(name))
        whole = (side[compared, place].astype(np.float64) for side in (self.served, self.expected))
        return FeatureParity(
            name=name,
            view=self.summary.name,
            compared=int(compared.sum()),
            absent=int(np.isnan(self.served[:, place]).sum()),
            differing=int(differs.sum()),
            ratio=pairs.ratio,
            difference=pairs.difference,
            words=describe(pairs, *whole),
            examples=tuple(dict.fromkeys(rows["prediction_id"].to_numpy()[differs][:100]))[:MOST_EXAMPLES],
        )


def _since_tick(view: FeatureView, at: NDArray[np.float64], ticks: NDArray[np.int64]) -> timedelta:
    """The longest time from the first tick that was not served to one of the moments, each so many ticks behind."""
    every = view.every.total_seconds()
    return timedelta(seconds=float((at % every + (ticks - 1) * every).max())) if len(at) else timedelta(0)


def _nearest(served: Matrix, candidates: Mapping[int, Matrix]) -> tuple[NDArray[np.int64], Matrix]:
    """For each row the ticks at which most features agree, the fewest where several do, and the values there."""
    agree = np.stack([same(served, values).sum(axis=1) for values in candidates.values()])
    best = np.argmax(agree, axis=0)
    values = np.stack(list(candidates.values()))[best, np.arange(len(served))]
    return np.array(list(candidates), dtype=np.int64)[best], values


def _keys(entity: NDArray[Any], at: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Entity and time as one number: complex numbers are ordered by their real part, then by the imaginary one."""
    keys = np.empty(len(entity), dtype=np.complex128)
    keys.real, keys.imag = entity, at
    return keys
