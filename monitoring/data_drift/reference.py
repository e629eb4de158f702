"""What windows are held against: all that is learned from the past, in one object that judges without looking back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from monitoring.data_drift.calibration import Tail, tail
from monitoring.data_drift.columns import Column, Floats
from monitoring.data_drift.contrasts import Contrasts, contrasts
from monitoring.data_drift.evidence import (
    Evidence,
    Residuals,
    Shapes,
    evidence,
    predictions_of,
    residuals,
    shapes,
    variances,
)
from monitoring.data_drift.season import Season, season
from monitoring.data_drift.sketch import Sketches
from monitoring.data_drift.spread import Spread, spread

FOLDS = 8


@dataclass(frozen=True)
class Rules:
    """What counts as drift. The rate is half of one in 90 days of hourly windows: it is a mean, and 1 is the budget."""

    false_alarms: float = 1 / 4320  # a window
    floor: float = 0.1  # smallest effect that matters, in standard deviations (Cohen's d; w and h alike)
    min_rows: int = 100  # of a window; with fewer it is inconclusive
    min_predictions: int = 20  # … that they belong to
    min_windows: int = 96  # of the past; with fewer nothing can be calibrated
    block: int = 24  # windows that hang together: a day of hours

    def enough(self, windows: Sketches) -> NDArray[np.bool_]:
        """Which of the windows have rows enough to say something."""
        return np.asarray((windows.rows >= self.min_rows) & (windows.predictions >= self.min_predictions))


@dataclass(frozen=True)
class Reference:
    """The past, learned."""

    columns: tuple[Column, ...]
    contrasts: Contrasts
    season: Season
    spread: Spread
    shapes: Shapes
    tail: Tail
    rules: Rules

    def residuals(self, windows: Sketches) -> Residuals:
        """Windows against what is expected at their hours of the week."""
        return residuals(self.contrasts, (self.season, self.spread), windows)

    def evidence(self, windows: Sketches) -> Evidence:
        """windows × columns × tests."""
        found = self.residuals(windows)
        return evidence(self.contrasts, found, self.spread.freedom, self.shapes, windows, self.rules.floor)


def reference(columns: Sequence[Column], history: Sketches, rules: Rules | None = None) -> Reference:
    """Learn from past windows, oldest first. Those that drifted are the caller's to leave out.

    Raises `InvalidInput` when fewer than `Rules.min_windows` have rows enough: the others do not count.
    """
    rules = rules or Rules()
    usable = history[rules.enough(history)]
    if len(usable) < rules.min_windows:
        raise InvalidInput(
            f"{len(usable)} past windows have {rules.min_rows} rows of {rules.min_predictions} predictions or more: "
            f"give at least {rules.min_windows}."
        )
    measured = contrasts(columns, usable)
    means, rows = measured.means(usable), measured.rows(usable)
    predictions = predictions_of(measured, usable)
    expected, doubt = _expected_by_others(means, usable)
    spreading = spread(means - expected, predictions, rows, measured.variance)
    past = Residuals(means, expected, variances(measured, spreading, usable) + doubt)
    usual = shapes(measured, past)
    found = evidence(measured, past, spreading.freedom, usual, usable, 0.0)
    return Reference(
        tuple(columns),
        measured,
        season(means, usable.rows, usable.starts),
        spreading,
        usual,
        tail(found.columns.max(axis=1), rules.false_alarms, rules.block),
        rules,
    )


def _expected_by_others(means: Floats, windows: Sketches) -> tuple[Floats, Floats]:
    """windows × contrasts: each stretch of the past as the others lead one to expect it, and the doubt in that (block
    cross-validation)."""
    fold = np.arange(len(windows)) * FOLDS // len(windows)
    expected, doubt = np.empty_like(means), np.empty_like(means)
    for one in range(FOLDS):
        held, rest = fold == one, fold != one
        others = season(means[rest], windows.rows[rest], windows.starts[rest])
        expected[held], doubt[held] = others.expected(windows.starts[held]), others.doubt(windows.starts[held])
    return expected, doubt
