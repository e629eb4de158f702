"""Evidence of a shift, window by window and column by column, in the unit −log p.

Five tests a column. Each gets a part of the column's error probability, the most for a shift of location, which is
looked for first (weighted Bonferroni: Genovese, Roeder, Wasserman, Biometrika 93, 2006). A test whose effect lies under
the floor gives no evidence, however many the rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc, stdtr

from monitoring.data_drift.columns import Floats
from monitoring.data_drift.contrasts import Contrasts
from monitoring.data_drift.season import Season
from monitoring.data_drift.sketch import Sketches
from monitoring.data_drift.spread import Spread

TESTS = ("location", "spread", "missing", "shape", "level")
PARTS = np.array([0.60, 0.05, 0.10, 0.15, 0.10])
FEWEST_VALUES = 30.0  # rows with a value that a column needs, besides for the test of what is missing
SMALLEST = 1e-300


@dataclass(frozen=True)
class Residuals:
    """windows × contrasts: means, what was expected, and the variance of their difference."""

    means: Floats
    expected: Floats
    variance: Floats


@dataclass(frozen=True)
class Evidence:
    """windows × columns × tests: −log of each p-value over its part, and effects; in the order of `TESTS`.

    Effects: location and spread in standard deviations of the reference's scores; shape Cohen's w, freed of what chance
    adds; missing and level Cohen's h (Cohen, Statistical Power Analysis, 2nd ed., 1988, chapters 6 and 7).
    """

    tests: Floats
    effects: Floats

    @property
    def columns(self) -> Floats:
        """windows × columns: the strongest test's."""
        return np.asarray(self.tests.max(axis=2))


@dataclass(frozen=True)
class Shapes:
    """Mean and variance over past windows of each column's sum of squared standardised residuals."""

    mean: Floats
    variance: Floats


def predictions_of(measured: Contrasts, windows: Sketches) -> Floats:
    """windows × contrasts: the predictions that each mean is of, as its rows' part of all."""
    per_row = windows.predictions / np.maximum(windows.rows, 1.0)
    return np.asarray(measured.rows(windows) * per_row[:, None])


def residuals(measured: Contrasts, model: tuple[Season, Spread], windows: Sketches) -> Residuals:
    """Windows against a model of the past."""
    expected, doubt = model[0].expected(windows.starts), model[0].doubt(windows.starts)
    return Residuals(measured.means(windows), expected, variances(measured, model[1], windows) + doubt)


def variances(measured: Contrasts, usual: Spread, windows: Sketches) -> Floats:
    """windows × contrasts: what the past had, and of a share at least one prediction's worth.

    What never occurred has no variance, and a single answer with it would look like a shift."""
    predictions = predictions_of(measured, windows)
    found = usual.of(predictions, measured.rows(windows))
    found[:, measured.shares] = np.maximum(found[:, measured.shares], 1 / predictions[:, measured.shares] ** 2)
    return found


def shapes(measured: Contrasts, past: Residuals) -> Shapes:
    """What sum of squares is usual: Satterthwaite's two moments, for the groups' residuals hang together."""
    sums = _squares(measured, past)
    middle = np.median(sums, axis=0)
    sums = np.minimum(sums, 10 * middle + 1e-9)
    return Shapes(np.maximum(sums.mean(axis=0), 1e-9), np.maximum(sums.var(axis=0), 1e-9))


def evidence(
    measured: Contrasts, found: Residuals, freedom: Floats, usual: Shapes, windows: Sketches, floor: float
) -> Evidence:
    """All tests of all columns in all windows."""
    columns, first = measured.columns, measured.first
    z = _standardised(measured, found)
    two_sided = np.maximum(2 * stdtr(freedom, -np.abs(z)), SMALLEST)
    log_p = np.log(two_sided)
    groups = np.diff(np.append(first, z.shape[1] - 3 * columns))
    shape_p = gammaincc(usual.mean**2 / usual.variance, _squares(measured, found) * usual.mean / usual.variance)
    logs = np.stack(
        [
            log_p[:, :columns],
            log_p[:, columns : 2 * columns],
            log_p[:, 2 * columns : 3 * columns],
            np.log(np.maximum(shape_p, SMALLEST)),
            np.minimum(np.minimum.reduceat(log_p[:, 3 * columns :], first, axis=1) + np.log(groups), 0.0),
        ],
        axis=2,
    )
    effects = _effects(measured, found)
    counted = np.abs(effects) >= floor
    counted &= (measured.observed(windows) >= FEWEST_VALUES)[:, :, None] | (np.array(TESTS) == "missing")
    return Evidence(np.where(counted, np.maximum(np.log(PARTS) - logs, 0.0), 0.0), effects)


def _standardised(measured: Contrasts, found: Residuals) -> Floats:
    """Residuals over their standard deviation. Of shares, the nearer to 0 of two forms: as they are, and after the
    arcsine of their root; the first exaggerates upper tails of small counts, the second lower ones."""
    deviation = np.sqrt(np.maximum(found.variance, 1e-300))
    z = (found.means - found.expected) / deviation
    shares = measured.shares
    expected = np.clip(found.expected[:, shares], 0.0, 1.0)
    scale = 2 * np.sqrt(np.maximum(expected * (1 - expected), measured.variance[shares]))
    turned = (_angle(found.means[:, shares]) - _angle(expected)) * scale / deviation[:, shares]
    plain = z[:, shares]
    z[:, shares] = np.where(np.abs(turned) < np.abs(plain), turned, plain)
    usable = measured.variance > 1e-12
    return np.where(usable, z, 0.0)


def _squares(measured: Contrasts, found: Residuals) -> Floats:
    groups = _standardised(measured, found)[:, 3 * measured.columns :]
    return np.asarray(np.add.reduceat(groups**2, measured.first, axis=1))


def _effects(measured: Contrasts, found: Residuals) -> Floats:
    columns, first, shares = measured.columns, measured.first, measured.shares
    moved = found.means - found.expected
    turned = 2 * (_angle(found.means[:, shares]) - _angle(np.clip(found.expected[:, shares], 0.0, 1.0)))
    part = np.clip(found.expected[:, 3 * columns :], 1e-3, 1.0)
    chance = np.add.reduceat((moved[:, 3 * columns :] ** 2 - found.variance[:, 3 * columns :]) / part, first, axis=1)
    level = np.maximum.reduceat(np.abs(turned[:, columns:]), first, axis=1)
    return np.stack(
        [
            moved[:, :columns],
            moved[:, columns : 2 * columns],
            turned[:, :columns],
            np.sqrt(np.maximum(chance, 0.0)),
            level,
        ],
        axis=2,
    )


def _angle(share: Floats) -> Floats:
    return np.asarray(np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0))))
