"""What the detector is held against: river's ADWIN, DDM and Page-Hinkley, as they come and tuned, and two dummies.

A tuning is searched for that reaches the run length on labels of its own: of a few settings, from the most eager to the
most patient, the first whose measured run length suffices. Where none does, the most patient is shown.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from river.drift import ADWIN, PageHinkley
from river.drift.binary import DDM

from benchmarks.monitoring.concept_drift_rows import Delays, Row, RunLength
from benchmarks.monitoring.concept_drift_streams import AFTER, Change, Size


class Detector(Protocol):
    """What river calls a drift detector; after an alarm it begins anew by itself."""

    @property
    def drift_detected(self) -> bool: ...

    def update(self, x: int) -> None: ...


Build = Callable[[], Detector]
STREAM = 20_000  # labels between two retrainings: their memory of what is normal begins anew, and is short at first
# Eager to patient. Page-Hinkley's `delta` is half of the change to be found, which only a benchmark knows, and its
# forgetting (alpha < 1) wears away the drift that keeps it from alarming: without it, it runs longest.
TUNINGS: dict[str, Sequence[tuple[str, Build]]] = {
    "ADWIN": [(f"delta {delta:g}", partial(ADWIN, delta=delta)) for delta in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 2e-3)],
    "DDM": [
        (f"drift_threshold {level:g}, warm_start 500", partial(DDM, drift_threshold=level, warm_start=500))
        for level in (2.5, 3, 3.5, 4, 5)
    ],
    "Page-Hinkley": [
        (
            f"delta 0.05, threshold {level}, alpha 1, up",
            partial(PageHinkley, delta=0.05, threshold=level, alpha=1.0, mode="up"),
        )
        for level in (6, 7, 8, 9, 10, 12, 15)
    ],
}
DEFAULTS: dict[str, Build] = {"ADWIN": ADWIN, "DDM": DDM, "Page-Hinkley": PageHinkley}


def settings(rate: float, wanted: float, size: Size, seed: int) -> list[tuple[str, Build]]:
    """Each of river's as it comes, and as tuned on labels with a normal error `rate`."""
    found = []
    for name, build in DEFAULTS.items():
        setting, tuned = _tuned(TUNINGS[name], rate, wanted, size, seed)
        found += [(f"{name}, defaults", build), (f"{name}, {setting}", tuned)]
    return found


def rows(chosen: Sequence[tuple[str, Build]], change: Change, size: Size, seed: int) -> list[Row]:
    """What each does where the error changes."""
    return [
        Row(
            name,
            run_length(build, change.normal, size.river_labels, seed),
            delays(build, change, size.river_streams, seed),
        )
        for name, build in chosen
    ]


def dummies(streams: int, seed: int) -> list[Row]:
    """Never, and every so many labels: a change comes at any moment between two of those."""
    random = np.random.default_rng([seed, 4])
    never = Row("dummy: never", np.inf, Delays(np.full(streams, np.inf)))
    regular = [
        Row(
            f"dummy: every {every:,} labels",
            float(every),
            Delays(random.integers(1, every + 1, streams).astype(np.float64)),
        )
        for every in (100_000, 700)
    ]
    return [never, *regular]


def _tuned(
    tunings: Sequence[tuple[str, Build]], rate: float, wanted: float, size: Size, seed: int
) -> tuple[str, Build]:
    for setting, build in tunings:
        if run_length(build, rate, size.river_labels, seed + 1).mean >= wanted:
            return setting, build
    return tunings[-1]


def run_length(build: Build, rate: float, labels: int, seed: int) -> RunLength:
    """False alarms in streams of STREAM labels without a change, as many as make up `labels`."""
    random, alarms = np.random.default_rng([seed, 5]), 0
    for _ in range(labels // STREAM):
        detector = build()
        for error in _errors(random, rate, STREAM):
            detector.update(error)
            alarms += detector.drift_detected
    return RunLength(alarms, labels // STREAM * STREAM)


def delays(build: Build, change: Change, streams: int, seed: int) -> Delays:
    """Labels from a change to the first alarm after it."""
    random = np.random.default_rng([seed, 6])
    return Delays(np.array([_delay(build(), change, random) for _ in range(streams)]))


def _delay(detector: Detector, change: Change, random: np.random.Generator) -> float:
    for error in _errors(random, change.normal, change.before):
        detector.update(error)
    for number, error in enumerate(_errors(random, change.changed, AFTER), 1):
        detector.update(error)
        if detector.drift_detected:
            return float(number)
    return np.inf


def _errors(random: np.random.Generator, rate: float, count: int) -> list[int]:
    return [int(error) for error in random.random(count) < rate]
