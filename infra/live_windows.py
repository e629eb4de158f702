"""What a live view's features are: counts and sums of an entity's last events, up to the moment that asks.

This is the only implementation. The gateway calls it with the few events that Redis keeps of a request's entities,
training with all of history. An event counts in a window at a moment when moment − window ≤ at < moment, in seconds as
float64 both here and in Redis, and when it is among the entity's `most` newest before that moment (by `at`, and by
`mark` where two are of one moment). Sums are kept in whole steps of 2^-20, which integers add exactly in any order: a
sum over ten events and a difference of two running sums over a million are the same to the last bit.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BrokenSystem, InvalidInput
from contracts.system import ZERO, Columns, FeatureView, Floats, Matrix, System

Ints = NDArray[np.int64]

STEP = 2.0**-20  # the grain of a sum
LARGEST = 2.0**30  # of a value: then 4,096 of them add up without overflow


@dataclass(frozen=True)
class History:
    """Events of a view in the order of their entities' numbers, then of `at`, then of their marks."""

    entity: Ints
    at: Floats
    values: Floats  # events × `summed(view)`


def live_views(system: System) -> tuple[FeatureView, ...]:
    """The views that follow the stream."""
    return tuple(view for view in system.features.views if view.live)


def ticked_views(system: System) -> tuple[FeatureView, ...]:
    """The views that are materialised, tick by tick."""
    return tuple(view for view in system.features.views if not view.live)


def summed(view: FeatureView) -> tuple[str, ...]:
    """The row columns that a live view keeps of an event, in order; BrokenSystem when it asks for what no live view
    can know."""
    for feature in view.features:
        if feature.aggregate == "mean" or feature.after != ZERO:
            raise BrokenSystem(
                f"The live view {view.name!r} cannot have {feature.name!r}: its features are counts and sums, "
                "without `after`; give the others to a view with an `every`."
            )
    return tuple(sorted({feature.column for feature in view.features if feature.column}))


def longest(view: FeatureView) -> float:
    """Seconds of the longest window."""
    return max(feature.window for feature in view.features).total_seconds()


def values_of(view: FeatureView, events: Columns) -> Floats:
    """What a view keeps of events: rows × `summed(view)`; where there is no value a zero, which adds nothing."""
    columns = summed(view)
    values = np.zeros((len(next(iter(events.values()))), len(columns)))
    for place, name in enumerate(columns):
        if name not in events:
            raise InvalidInput(f"Events lack {name!r}, which the live view {view.name!r} sums.", name)
        if len(values) and events[name].dtype.kind not in "fiub":
            raise InvalidInput(f"The live view {view.name!r} sums {name!r}, which must be numbers.", name)
        given = np.asarray(events[name], dtype=np.float64)
        values[:, place] = (
            np.where(np.isnan(given), 0.0, given) + 0.0
        )  # of two zeros one: the same event, the same bytes
        if (np.abs(values[:, place]) > LARGEST).any():
            raise InvalidInput(
                f"The live view {view.name!r} sums {name!r}, whose values must not exceed {LARGEST:,.0f}; "
                "bound it in the request's model.",
                name,
            )
    return values


def mark(event_id: str) -> bytes:
    """Eight bytes that stand for an event: by them it is known again, and ordered among those of its own moment."""
    return blake2b(event_id.encode(), digest_size=8).digest()


def marks(event_ids: Iterable[str]) -> NDArray[np.uint64]:
    """The marks as numbers, in the same order as the bytes."""
    numbers = [struct.unpack(">Q", mark(event_id))[0] for event_id in event_ids]
    return np.array(numbers, dtype=np.uint64)


def window_values(view: FeatureView, history: History, entity: Ints, moment: Floats) -> Matrix:
    """The features of each entity (by its number) at each moment: rows × the view's features.

    Fast where the rows are in the order of entity and moment, right in any.
    """
    order = _keys(history.entity, history.at)
    end = np.searchsorted(order, _keys(entity, moment))
    begins = {
        window: np.maximum(np.searchsorted(order, _keys(entity, moment - window.total_seconds())), end - view.most)
        for window in {feature.window for feature in view.features}
    }
    running = dict(zip(summed(view), _running(history.values), strict=True))
    found = np.empty((len(entity), len(view.features)), dtype=np.float32)
    for place, feature in enumerate(view.features):
        begin = begins[feature.window]
        if feature.column is None:
            found[:, place] = end - begin
        else:
            total = running[feature.column]
            found[:, place] = (total[end] - total[begin]) * STEP
    return found


def _keys(entity: Ints, at: Floats) -> NDArray[np.complex128]:
    """Entity and time as one number: complex numbers are ordered by their real part, then by the imaginary one."""
    keys = np.empty(len(entity), dtype=np.complex128)
    keys.real, keys.imag = entity, at
    return keys


def _running(values: Floats) -> Ints:
    """Columns × (events + 1): the running sums in steps. Should one run over, differences of two are still right."""
    steps = np.rint(values / STEP).astype(np.int64)
    total = np.zeros((values.shape[1], len(values) + 1), dtype=np.int64)
    np.cumsum(steps.T, axis=1, out=total[:, 1:])
    return total
