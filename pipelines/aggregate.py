"""Events become features: the states of a view's entities, tick by tick, that the feature store keeps and serves.

This is the only implementation of a windowed aggregate; history, the increments after it and the online store all hold
what it gives. A tick is a multiple of `view.every` since the epoch. The state at tick T counts the events with
`T - window <= at + after < T`, exactly: an event stamped T, or whose label may come as late as T, is not in it, so
a point-in-time join with `<=` leaks nothing. An entity without events in any window is in the empty state (counts and
sums 0, means at their prior); an entity's state is given when it differs from the tick before, so the empty state is
given only for those who left it and come back to it.

Nothing is laid out tick by tick: each event adds to its entity's sums at the tick where it enters a window and takes
away at the tick where it leaves, and sums run over those change points alone. Sums are kept in whole steps of 2^-20,
which integers add exactly in any order: an increment equals the whole to the last bit.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import AT, Feature, FeatureView, Floats

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Part = tuple[timedelta, timedelta, str | None]  # window, after and column: features that agree in them share sums

STAMP = "event_timestamp"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
STEP = 2.0**-20  # the grain of a sum
MOST = 2.0**61 * STEP  # what the values of a column may add up to before whole steps overflow


def view_states(view: FeatureView, events: pd.DataFrame, since: datetime | None, until: datetime) -> pd.DataFrame:
    """The states at the ticks in `(since, until]` that differ from the tick before; all up to `until` without `since`.

    `events`, in any order, have `at` (seconds since the epoch), the view's entities and the features' columns; all
    events from `since - lookback(view)` to `until` are among them. An event whose value is NaN is none to its feature.
    Columns: the entities (strings), `event_timestamp` (datetime64[us, UTC]), the features (float64); rows are in the
    order of the entities, then of time.
    """
    at = _stamps(events)
    last = tick(view, until)
    first = tick(view, since) if since else min(int(at.min()) // _micros(view.every), last) if len(at) else last
    entity, keys = _entities(view, events)
    points = _points(view, events, at, entity, _Ticks(_micros(view.every), first, last))
    states = {feature.name: _values(feature, points) for feature in view.features}
    kept = (points.ticks > first) & _changed(view, states, points.starts)
    stamps = points.ticks[kept] * _micros(view.every)
    return pd.DataFrame(
        {name: values[points.entity[kept]] for name, values in keys.items()}
        | {STAMP: pd.DatetimeIndex(stamps.astype("datetime64[us]"), tz="UTC")}
        | {name: values[kept] for name, values in states.items()}
    )


def states_at(view: FeatureView, events: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """The state at the last tick at or before a moment of every entity that is not in the empty state.

    `events` as for `view_states` with `since=moment`. Columns: the entities and the features; one row an entity.
    """
    number = tick(view, moment)
    entity, keys = _entities(view, events)
    points = _points(view, events, _stamps(events), entity, _Ticks(_micros(view.every), number, number))
    states = {feature.name: _values(feature, points) for feature in view.features}
    known = len(keys[view.entities[0]])  # the point after all others is nobody's
    kept = (points.entity < known) & _changed(view, states, points.starts)
    columns = {name: values[points.entity[kept]] for name, values in keys.items()}
    return pd.DataFrame(columns | {name: values[kept] for name, values in states.items()})


def lookback(view: FeatureView) -> timedelta:
    """How far before `since` the events must reach: whatever is in a window at the last tick before it."""
    return max(feature.window + feature.after for feature in view.features) + view.every


def tick(view: FeatureView, moment: datetime) -> int:
    """The number of the last tick at or before a moment."""
    return (moment - EPOCH) // view.every


def tick_time(view: FeatureView, number: int) -> datetime:
    """When a tick is."""
    return EPOCH + number * view.every


def empty_values(view: FeatureView) -> dict[str, float]:
    """The features of an entity without events."""
    return {f.name: 0.0 if f.aggregate != "mean" else f.prior if f.strength else f.default for f in view.features}


def _stamps(events: pd.DataFrame) -> Ints:
    """When each event happened, in microseconds since the epoch."""
    return np.rint(events[AT].to_numpy(np.float64) * 1e6).astype(np.int64)


def _micros(span: timedelta) -> int:
    return span // MICROSECOND


def _entities(view: FeatureView, events: pd.DataFrame) -> tuple[Ints, dict[str, NDArray[np.object_]]]:
    """Each event's entity as a number, and the key columns by that number, in the order of the keys."""
    columns = [pd.factorize(events[name].astype(str), sort=True) for name in view.entities]
    number = np.zeros(len(events), dtype=np.int64)
    for codes, uniques in columns:
        number = number * len(uniques) + codes
    present, entity = np.unique(number, return_inverse=True)
    keys: dict[str, NDArray[np.object_]] = {}
    for name, (_, uniques) in zip(reversed(view.entities), reversed(columns), strict=True):
        present, codes = np.divmod(present, max(len(uniques), 1))
        keys[name] = np.asarray(uniques, dtype=object)[codes]
    return entity.astype(np.int64), {name: keys[name] for name in view.entities}


@dataclass(frozen=True)
class _Ticks:
    """The stretch of ticks looked at; what came before `first` is as if it came at `first`."""

    every: int
    first: int
    last: int

    @property
    def span(self) -> int:
        return max(self.last - self.first + 1, 1)


@dataclass(frozen=True)
class _Points:
    """The points where anything changes, by entity and tick, with the running sums and counts of each part there."""

    entity: Ints
    ticks: Ints
    starts: Mask  # the first point of each entity
    sums: dict[Part, Ints]
    counts: dict[Part, Ints]


def _points(view: FeatureView, events: pd.DataFrame, at: Ints, entity: Ints, ticks: _Ticks) -> _Points:
    order = np.argsort(entity, kind="stable")  # neighbours in memory make the searches below fast
    windows = list({(feature.window, feature.after): None for feature in view.features})
    changes = [_changes(at[order] + _micros(after), entity[order], window, ticks) for window, after in windows]
    points = _distinct(np.concatenate([np.concatenate(change) for change in changes]))
    number, offset = np.divmod(points, ticks.span)
    starts = np.ones(len(points), dtype=np.bool_)
    starts[1:] = number[1:] != number[:-1]
    found = _Points(number, offset + ticks.first, starts, {}, {})
    for (window, after), change in zip(windows, changes, strict=True):
        where = [np.searchsorted(points, side) for side in change]
        for column in {
            feature.column for feature in view.features if (feature.window, feature.after) == (window, after)
        }:
            steps, ones = _steps(events, column)
            found.sums[window, after, column] = _running(where, steps[order], starts)
            found.counts[window, after, column] = _running(where, ones[order], starts)
    return found


def _distinct(values: Ints) -> Ints:
    """Sorted and without repeats; np.unique takes five times as long (by hashing) on these nearly sorted runs."""
    values = np.sort(values)
    return values[np.append(True, values[1:] != values[:-1])] if len(values) else values


def _changes(effective: Ints, entity: Ints, window: timedelta, ticks: _Ticks) -> tuple[Ints, Ints]:
    """The points, `entity * span + tick - first`, where each event enters the window and where it leaves it.

    What lies past the last tick is at the point after all others, one for everybody.
    """
    beyond = (int(entity.max()) + 1) * ticks.span if len(entity) else 0
    enter, leave = effective // ticks.every + 1, (effective + _micros(window)) // ticks.every + 1
    base = entity * ticks.span - ticks.first
    enters = np.where(enter > ticks.last, beyond, base + np.maximum(enter, ticks.first))
    leaves = np.where(leave > ticks.last, beyond, base + np.maximum(leave, ticks.first))
    return enters, leaves


def _steps(events: pd.DataFrame, column: str | None) -> tuple[Ints, Ints]:
    """A column's values in whole steps, and 1 where there is a value, 0 where there is none."""
    if column is None:
        return np.zeros(len(events), dtype=np.int64), np.ones(len(events), dtype=np.int64)
    values = events[column].to_numpy(np.float64, na_value=np.nan)
    if not (total := float(np.nansum(np.abs(values)))) < MOST:
        raise InvalidInput(
            f"The values of {column} add up to {total:g}; a windowed sum takes less than {MOST:g}.", column
        )
    missing = np.isnan(values)
    return np.rint(np.where(missing, 0.0, values) / STEP).astype(np.int64), (~missing).astype(np.int64)


def _running(where: list[Ints], changes: Ints, starts: Mask) -> Ints:
    """The running sum over the points of what enters and leaves at them, from zero at each entity's first point."""
    total = np.zeros(len(starts) + 1, dtype=np.int64)
    enter, leave = where
    np.add.at(total, enter + 1, changes)
    np.subtract.at(total, leave + 1, changes)
    np.cumsum(total, out=total)
    first = np.flatnonzero(starts)
    before = np.repeat(total[first], np.diff(np.append(first, len(starts))))
    return total[1:] - before


def _values(feature: Feature, points: _Points) -> Floats:
    part = feature.window, feature.after, feature.column
    counts, sums = points.counts[part], np.asarray(points.sums[part] * STEP, dtype=np.float64)
    if feature.aggregate == "count":
        return counts.astype(np.float64)
    if feature.aggregate == "sum":
        return sums
    weight = counts + feature.strength
    mean = np.full(len(counts), feature.default, dtype=np.float64)
    np.divide(sums + feature.prior * feature.strength, weight, out=mean, where=weight > 0)
    return mean


def _changed(view: FeatureView, states: dict[str, Floats], starts: Mask) -> Mask:
    """Which points differ from the one before; an entity's first from the empty state."""
    changed = np.zeros(len(starts), dtype=np.bool_)
    for name, empty in empty_values(view).items():
        before = np.empty(len(starts))
        before[1:] = states[name][:-1]
        before[starts] = empty
        changed |= states[name] != before
    return changed
