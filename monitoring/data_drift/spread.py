"""How far a steady window's mean may lie from what is expected of it: learned from past windows, not assumed.

The variance of a window's mean is a + b/n, n its predictions: b holds what rows of one answer share, a what an hour
shares (traffic is autocorrelated, so more rows of the same hour stop helping). Both come from a weighted regression of
past windows' squared residuals on 1/n, as variance functions are estimated (Carroll, Ruppert, Transformation and
Weighting in Regression, 1988, section 3.3).
"""

from dataclasses import dataclass

import numpy as np

from monitoring.data_drift.columns import Floats

ROUNDS = 4
MOST = 16.0  # a squared residual counts as at most so many variances: one bad window in the past hides no later one
VARIED = 0.2  # the coefficient of variation of 1/n from which a and b can be told apart
LEAST = 0.5  # of what independent rows would vary
NOTHING = 1e-12  # the variance of what never varies


@dataclass(frozen=True)
class Spread:
    """Of each contrast: a, b, the largest n at which b/n is believed, a row's variance, and degrees of freedom."""

    between: Floats
    within: Floats
    largest: Floats
    variance: Floats
    freedom: Floats

    def of(self, predictions: Floats, rows: Floats) -> Floats:
        """windows × contrasts: the variance of the means' distance from what is expected."""
        learned = self.between + self.within / np.minimum(predictions, self.largest)
        return np.asarray(np.maximum(learned, LEAST * self.variance / rows))


def spread(residuals: Floats, predictions: Floats, rows: Floats, variance: Floats) -> Spread:
    """From past windows' residuals (windows × contrasts), each against what the other weeks led one to expect."""
    inverse = 1 / predictions
    told_apart = inverse.std(axis=0) > VARIED * inverse.mean(axis=0)
    variance = np.maximum(variance, NOTHING)
    fitted = variance / rows
    for _ in range(ROUNDS):
        squares = np.minimum(residuals**2, MOST * fitted)
        between, within = _regression(squares, inverse, fitted)
        alone = (squares / fitted).mean(axis=0) * (fitted * predictions).mean(axis=0)
        between, within = np.where(told_apart, between, 0.0), np.where(told_apart, within, alone)
        fitted = np.maximum(between + within * inverse, LEAST * variance / rows)
    largest = np.where(told_apart, np.inf, np.median(predictions, axis=0))
    return Spread(between, within, largest, variance, _freedom(residuals / np.sqrt(fitted)))


def _regression(squares: Floats, inverse: Floats, fitted: Floats) -> tuple[Floats, Floats]:
    """Squares = a + b·inverse, weighted by 1/fitted², neither below 0."""
    weight = 1 / fitted**2
    one, slope, curve = weight.sum(0), (weight * inverse).sum(0), (weight * inverse**2).sum(0)
    height, product = (weight * squares).sum(0), (weight * inverse * squares).sum(0)
    determinant = np.maximum(one * curve - slope**2, 1e-12 * one * curve)
    a, b = (curve * height - slope * product) / determinant, (one * product - slope * height) / determinant
    a, b = np.where(b < 0, height / one, a), np.where(b < 0, 0.0, b)
    return np.where(a < 0, 0.0, a), np.where(a < 0, product / curve, b)


def _freedom(standardised: Floats) -> Floats:
    """How many independent windows the variance was learned from, as good as (Bartlett's formula at lag one)."""
    ahead, behind = standardised[1:], standardised[:-1]
    power = np.maximum((standardised**2).mean(axis=0), 1e-12)
    correlation = np.clip((ahead * behind).mean(axis=0) / power, -0.95, 0.95)
    share = (1 - correlation**2) / (1 + correlation**2)
    return np.asarray(np.maximum(len(standardised) * share - 1, 3.0))
