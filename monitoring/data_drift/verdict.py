"""The verdict on a window: which columns shifted, how far, and what the chance of a false alarm was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from monitoring.data_drift.columns import Column, Floats
from monitoring.data_drift.contrasts import Contrasts, contrasts
from monitoring.data_drift.evidence import FEWEST_VALUES, TESTS, Evidence, Residuals
from monitoring.data_drift.reference import Reference
from monitoring.data_drift.sketch import Sketches

State = Literal["shifted", "steady", "inconclusive"]


@dataclass(frozen=True)
class Bar:
    """One bar of a small histogram: shares of the rows with a value."""

    label: str
    now: float
    reference: float  # expected at this hour of the week


@dataclass(frozen=True)
class ColumnVerdict:
    """One column. Effects are as in `evidence.Evidence`; None where there were too few rows to say."""

    name: str
    state: State
    test: str  # the strongest of evidence.TESTS
    p_value: float  # corrected over columns and tests
    shift: float | None  # of location, in σ of the reference's normal scores; upwards is positive
    effects: Mapping[str, float]  # by test
    missing_now: float
    missing_reference: float
    missing_shifted: bool
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class DriftVerdict:
    """The window as a whole. `shifted` names the columns, the strongest evidence first."""

    state: State
    shifted: tuple[str, ...]
    p_value: float  # that a steady window shows as much somewhere
    rows: int
    predictions: int
    reason: str
    columns: tuple[ColumnVerdict, ...]


def judge(past: Reference, window: Sketches) -> DriftVerdict:
    """Judge one window (see `sketch.sketch`) against the past. Pure: the same window, the same verdict."""
    rows, predictions = int(window.rows[0]), int(window.predictions[0])
    found, seen = past.evidence(window), past.residuals(window)
    columns = tuple(_column(past, place, found, seen, window) for place in range(len(past.columns)))
    if not past.rules.enough(window)[0]:
        columns = tuple(_undecided(column) for column in columns)
        needed = f"{past.rules.min_rows} of {past.rules.min_predictions} predictions are needed"
        reason = f"{rows} rows of {predictions} predictions are too few to say: {needed}."
        return DriftVerdict("inconclusive", (), 1.0, rows, predictions, reason, columns)
    strength = found.columns[0]
    order = [place for place in np.argsort(-strength) if strength[place] > past.tail.threshold]
    names = tuple(past.columns[place].name for place in order)
    state: State = "shifted" if names else "steady"
    p_value = past.tail.probability(float(strength.max()))
    return DriftVerdict(state, names, p_value, rows, predictions, _reason(columns, names), columns)


def described(columns: Sequence[Column], before: Sketches, window: Sketches) -> DriftVerdict:
    """A window beside a past that is too short to judge by: what lies where, and how far from it, without a verdict."""
    rows, predictions = int(window.rows[0]), int(window.predictions[0])
    reason = f"{len(before)} past windows are too few to say."
    told = _beside(columns, before, window) if len(before) else ()
    return DriftVerdict("inconclusive", (), 1.0, rows, predictions, reason, told)


def _beside(columns: Sequence[Column], before: Sketches, window: Sketches) -> tuple[ColumnVerdict, ...]:
    measured = contrasts(columns, before)
    pooled = Sketches(before.starts[:1], *(each.sum(axis=0, keepdims=True) for each in _counted(before)))
    now, then = measured.means(window)[0], measured.means(pooled)[0]
    enough = measured.observed(window)[0] >= FEWEST_VALUES
    told = (_described(column, measured, place, now, then) for place, column in enumerate(columns))
    return tuple(one if known else _undecided(one) for one, known in zip(told, enough, strict=True))


def _counted(windows: Sketches) -> tuple[Floats, Floats, Floats]:
    return windows.rows, windows.predictions, windows.counts


def _described(column: Column, measured: Contrasts, place: int, now: Floats, then: Floats) -> ColumnVerdict:
    shift, missing = float(now[place] - then[place]), 2 * measured.columns + place
    return ColumnVerdict(
        name=column.name,
        state="inconclusive",
        test="location",
        p_value=1.0,
        shift=shift,
        effects={"location": shift},
        missing_now=float(now[missing]),
        missing_reference=float(then[missing]),
        missing_shifted=False,
        bars=_bars(measured, place, now, then),
    )


def _column(past: Reference, place: int, found: Evidence, seen: Residuals, window: Sketches) -> ColumnVerdict:
    tests, effects = found.tests[0, place], found.effects[0, place]
    threshold, missing = past.tail.threshold, 2 * len(past.columns) + place
    observed = past.contrasts.observed(window)[0, place] >= FEWEST_VALUES
    shifted = bool(tests.max() > threshold)
    return ColumnVerdict(
        name=past.columns[place].name,
        state="shifted" if shifted else "steady" if observed else "inconclusive",
        test=TESTS[int(tests.argmax())],
        p_value=past.tail.probability(float(tests.max())),
        shift=float(effects[0]) if observed else None,
        effects={name: float(effect) for name, effect in zip(TESTS, effects, strict=True)},
        missing_now=float(seen.means[0, missing]),
        missing_reference=float(seen.expected[0, missing]),
        missing_shifted=bool(tests[TESTS.index("missing")] > threshold),
        bars=_bars(past.contrasts, place, seen.means[0], seen.expected[0]),
    )


def _bars(measured: Contrasts, place: int, now: Floats, then: Floats) -> tuple[Bar, ...]:
    start = 3 * measured.columns + int(measured.first[place])
    return tuple(
        Bar(label, float(now[start + group]), float(np.clip(then[start + group], 0, 1)))
        for group, label in enumerate(measured.labels[place])
    )


def _undecided(column: ColumnVerdict) -> ColumnVerdict:
    return replace(column, state="inconclusive", p_value=1.0, shift=None, missing_shifted=False)


def _reason(columns: tuple[ColumnVerdict, ...], names: tuple[str, ...]) -> str:
    if not names:
        return "No column lies further from its past than chance takes it."
    worst = next(column for column in columns if column.name == names[0])
    most = f"{worst.name} the most ({worst.test} {worst.effects[worst.test]:+.2f})"
    return f"{len(names)} of {len(columns)} columns shifted, {most}."
