"""Labels that come late, and not in the order of their predictions: in which order may they be judged?

One prediction a tick. With `by_label`, an error is heard of at once and its absence only when the delay has passed, as
a click and a chargeback are; else delays are exponential and say nothing about the label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitoring.concept_drift_rows import Delays, Row, RunLength
from benchmarks.monitoring.concept_drift_streams import AFTER, BLOCK, NEVER, Change, Watch, Watched
from contracts.system import Floats

DELAY = 1_000.0  # ticks


@dataclass(frozen=True)
class Lateness:
    """When labels come, and whether one that is there is kept back until it is as old as all must be."""

    name: str
    by_label: bool = False
    matured: bool = False

    def of(self, random: np.random.Generator, wrong: Floats) -> Floats:
        """For each label, ticks × streams, after how many ticks it is counted."""
        if self.matured:
            return np.full(wrong.shape, DELAY)
        if self.by_label:
            return np.where(wrong > 0, 0.0, DELAY)
        return random.exponential(DELAY / 2, wrong.shape)


KINDS = (
    Lateness("late by 500 ticks on average, whatever the label; in order of arrival"),
    Lateness("errors known at once, the rest after 1,000 ticks; each counted after 1,000", matured=True),
    Lateness("the same; in order of arrival (wrong: nothing is within the assumptions)", by_label=True),
)


def rows(change: Change, watched: Watched, labels: int, seed: int) -> list[Row]:
    """False alarms without a change, counted in labels, and ticks from the change to the alarm, waiting included."""
    return [
        Row(kind.name, _run_length(kind, change, watched, labels), _delays(kind, change, watched, seed))
        for kind in KINDS
    ]


def _run_length(kind: Lateness, change: Change, watched: Watched, labels: int) -> RunLength:
    rates, alarms, counted = np.full(change.before + AFTER, change.normal), 0, 0
    while counted < labels:
        came, _ = _judged(kind, rates, watched, counted)
        alarms, counted = alarms + len(came), counted + len(rates) * watched.streams
    return RunLength(alarms, counted)


def _delays(kind: Lateness, change: Change, watched: Watched, seed: int) -> Delays:
    rates = np.repeat([change.normal, change.changed], [change.before, AFTER])
    came, streams = _judged(kind, rates, watched, seed)
    found, after = np.full(watched.streams, np.inf), came >= change.before
    np.minimum.at(found, streams[after], came[after] - change.before)
    return Delays(found)


def _judged(kind: Lateness, rates: Floats, watched: Watched, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Every alarm: the tick it came at, and its stream."""
    random, watch = np.random.default_rng([seed, 7]), Watch(watched)
    wrong = (random.random((len(rates), watched.streams)) < rates[:, np.newaxis]).astype(np.float64)
    arrival = np.arange(len(rates))[:, np.newaxis] + kind.of(random, wrong)
    order = np.argsort(arrival, axis=0, kind="stable")
    wrong, arrival = np.take_along_axis(wrong, order, 0), np.take_along_axis(arrival, order, 0)
    came, streams = [], []
    for start in range(0, len(rates), BLOCK):
        first = watch.step((wrong[start : start + BLOCK], 1.0))
        alarmed = np.flatnonzero(first != NEVER)
        came.append(arrival[start + first[alarmed], alarmed])
        streams.append(alarmed)
    return np.concatenate(came), np.concatenate(streams)
