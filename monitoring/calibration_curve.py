"""How probable the label is, given the champion's score: fitted on labelled rows that are weighed like another window.

Logistic calibration (Cox, "Two further applications of a model for binary regression", 1958): the true log-odds are
those of the score times a slope, plus an intercept, with one bend, for scores that are right where most rows lie are
often wrong in the tail. A weak pull towards "the scores are right" keeps it defined where the labels say nothing.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from monitoring.quality import SMALLEST, Values

BEND = 0.7  # quantile of the fitted log-odds at which the line may bend
PULL = 1.0  # weighs as much as one row's label, per squared unit of each coefficient
AS_SCORED = np.array([0.0, 1.0, 0.0])  # intercept, slope, change of slope: the scores are right
MOST_STEPS, SETTLED = 100, 1e-9


@dataclass(frozen=True)
class Curve:
    """A calibration curve, and how each prediction that it was fitted on moved it."""

    bend: float  # in log-odds
    coefficients: Values  # 3
    influences: Values  # predictions × 3: their sum of squares estimates the coefficients' covariance
    doubt: Values = field(default_factory=lambda: np.zeros(3))  # by how much they may have been drawn back too far

    def probabilities(self, scores: Values) -> Values:
        """The probability of the label, for each score."""
        return probabilities_of(_basis(scores, self.bend) @ self.coefficients)


@dataclass(frozen=True)
class Labelled:
    """What curves are fitted on: labels and scores of rows, and the numbers of their predictions, from 0."""

    labels: Values
    scores: Values
    predictions: NDArray[np.int64]


def fitted(rows: Labelled, weights: Values) -> Curve:
    """The curve under the weights, which count in proportion to their mean.

    Influences are the one-step (of Newton's method) changes of each prediction, over one minus its leverage: what
    leaving it out would change (MacKinnon and White's HC3, 1985). Plain ones would make intervals too narrow where a
    few predictions have most of the weight.
    """
    bend = float(np.quantile(_log_odds(rows.scores), BEND))
    basis, weights = _basis(rows.scores, bend), weights / weights.mean()
    coefficients = _newton(basis, rows.labels, weights)
    chance = probabilities_of(basis @ coefficients)
    information = weights * chance * (1 - chance)
    inverse = np.linalg.inv(_curvature(basis, information))
    leverages = np.bincount(rows.predictions, weights=information * np.einsum("ij,jk,ik->i", basis, inverse, basis))
    steps = (basis * (weights * (rows.labels - chance))[:, None]) @ inverse
    moved = np.column_stack([np.bincount(rows.predictions, weights=step) for step in steps.T])
    return Curve(bend, coefficients, np.asarray(moved / (1 - np.minimum(leverages, 0.9))[:, None], np.float64))


def careful(rows: Labelled, weights: Values, ratios: Values) -> Curve:
    """The curve under `weights` times `ratios`, as far from simpler ones as the labels prove that it must be.

    Weighing by ratios costs precision, and where the window is not shifted, or the scores are right everywhere, buys
    nothing. So the curve without the ratios is drawn towards the scores as they are, and the one with them towards
    that. Its influences stay those with the ratios, and how far it was drawn is kept as its doubt: so that an interval
    around it reaches to what the ratios alone say, too.
    """
    plain, weighted = fitted(rows, weights), fitted(rows, weights * ratios)
    calm = _shrunk(AS_SCORED, plain.coefficients, plain.influences)
    apart = weighted.influences - plain.influences
    found = calm + _shrunk(plain.coefficients, weighted.coefficients, apart) - plain.coefficients
    return Curve(weighted.bend, found, weighted.influences, weighted.coefficients - found)


def _shrunk(simple: Values, rich: Values, influences: Values) -> Values:
    """`rich`, drawn towards `simple` as far as their difference may be chance.

    The share 1 − 1/W of the difference is kept, or nothing, with W its Wald statistic: a positive-part James-Stein
    estimate of three coefficients (Efron and Morris, "Stein's estimation rule and its competitors", 1973).
    """
    difference = rich - simple
    wald = float(difference @ np.linalg.pinv(influences.T @ influences, hermitian=True) @ difference)
    return simple + (max(0.0, 1 - (len(difference) - 2) / wald) if wald > 0 else 0.0) * difference


def resampled(curve: Curve, random: np.random.Generator, times: int) -> list[Curve]:
    """Curves as other hold-outs like this one would give: a bootstrap over predictions, exponential weights of mean 1
    in place of counts (Rubin's), linearised by the influences (Kline and Santos, "A score based approach to wild
    bootstrap inference", 2012); each with a part of the doubt, any part being as likely."""
    changes = (random.exponential(size=(times, len(curve.influences))) - 1) @ curve.influences
    changes += random.random((times, 1)) * curve.doubt
    return [replace(curve, coefficients=curve.coefficients + change) for change in changes]


def dispersion(curve: Curve, rows: Labelled, weights: Values) -> float:
    """By how much the variance of a sum of labels exceeds that of independent ones, since rows of one prediction share
    more than their scores tell: 1 or more, from the weighted residuals of the rows, plain and times their log-odds."""
    residuals = weights * (rows.labels - curve.probabilities(rows.scores))
    return max(1.0, *(_inflation(r, rows.predictions) for r in (residuals, residuals * _log_odds(rows.scores))))


def _inflation(residuals: Values, predictions: NDArray[np.int64]) -> float:
    alone = float(np.sum(residuals**2))
    return float(np.sum(np.bincount(predictions, weights=residuals) ** 2)) / alone if alone > 0 else 1.0


def _basis(scores: Values, bend: float) -> Values:
    """Rows × 3."""
    odds = _log_odds(scores)
    return np.column_stack([np.ones_like(odds), odds, np.maximum(odds - bend, 0)])


def _log_odds(scores: Values) -> Values:
    kept = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(kept) - np.log1p(-kept), np.float64)


def probabilities_of(odds: Values) -> Values:
    """Probabilities of log-odds."""
    return np.asarray(0.5 * (1 + np.tanh(odds / 2)), np.float64)


def _curvature(basis: Values, weights: Values) -> Values:
    return np.asarray((basis * weights[:, None]).T @ basis + PULL * np.eye(basis.shape[1]), np.float64)


def _newton(basis: Values, labels: Values, weights: Values) -> Values:
    """The coefficients of the least penalised loss; each step is halved until it does not lead upwards."""

    def loss(at: Values) -> float:
        odds = basis @ at
        return float(weights @ (np.logaddexp(0, odds) - labels * odds) + PULL / 2 * np.sum((at - AS_SCORED) ** 2))

    found, least = AS_SCORED.copy(), loss(AS_SCORED)
    for _ in range(MOST_STEPS):
        chance = probabilities_of(basis @ found)
        downwards = basis.T @ (weights * (labels - chance)) - PULL * (found - AS_SCORED)
        step = np.linalg.solve(_curvature(basis, weights * chance * (1 - chance)), downwards)
        while (tried := loss(found + step)) > least and np.abs(step).max() > SETTLED:
            step = step / 2
        found, least = found + step, min(tried, least)
        if np.abs(step).max() <= SETTLED:
            return found
    raise InvalidInput(f"No calibration curve was found in {MOST_STEPS} steps; look for scores that are no number.")
