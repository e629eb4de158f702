"""How good is the champion in this window, before any label of it is in? Estimated from its scores and its hold-out.

Confidence-based performance estimation takes calibrated scores for the probabilities of the labels, and computes the
metric that they lead to expect. A calibration that is right on the hold-out is wrong on other rows. So it is fitted on
the hold-out weighed like the window, by the ratio of their densities: Probabilistic Adaptive Performance Estimation
(Białek, Kivimäki, Kuberski and Perrakis, "Estimating Model Performance Under Covariate Shift Without Labels", 2024,
section 3; its first versions call it M-CBPE). Ours goes as far from the unweighted one as the hold-out's labels prove
that it must (`calibration_curve.careful`). The intervals are ours, too: those of the figures that the window's labels
will show.

It cannot see concept drift: it assumes that P(label | features) has not changed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import Matrix
from monitoring.calibration_curve import Curve, Labelled, careful, dispersion, resampled
from monitoring.density_ratio import density_ratios, effective_predictions
from monitoring.quality import SMALLEST, Values, log_losses

METRICS = ("log_loss", "normalised_cross_entropy", "brier", "roc_auc", "base_rate")
LEAST = 50  # predictions, by fewer of which no classifier can tell a window from the hold-out
BLIND = "It cannot see concept drift: it assumes that P(label | features) has not changed."


@dataclass(frozen=True)
class ServedRows:
    """Rows that the champion scored: features (rows × features; NaN is a value like another), scores, the predictions
    that they are of, and how many rows each stands for."""

    features: Matrix
    scores: Values
    predictions: NDArray[np.object_]
    weights: Values

    @property
    def groups(self) -> NDArray[np.int64]:
        """The number of each row's prediction, from 0."""
        return np.asarray(pd.factorize(self.predictions)[0], np.int64)


@dataclass(frozen=True)
class Reference:
    """The champion's hold-out: its rows, and their labels (0.0 or 1.0)."""

    rows: ServedRows
    labels: Values


@dataclass(frozen=True)
class Rules:
    """The intervals' confidence and resamples, and what is too little to say anything."""

    confidence: float = 0.95
    resamples: int = 200
    least_predictions: float = 100.0  # of the hold-out, effective: that resemble the window
    least_labels: float = 20.0  # of the rarer kind: effective in the hold-out, and expected in the window


@dataclass(frozen=True)
class Interval:
    """A figure, and the interval in which the one that the window's labels will show lies with the confidence asked."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What the champion's figures in a window should be: `log_loss`, `normalised_cross_entropy`, `brier`, `roc_auc` and
    `base_rate`. Without metrics it is inconclusive, and `refusal` says why in one sentence."""

    rows: int
    effective_predictions: float  # of the hold-out, that resemble the window
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    refusal: str | None = None
    assumption: str = BLIND


def estimate(reference: Reference, window: ServedRows, rules: Rules, seed: int) -> Estimate:
    """Estimate a window's figures; the seed draws the classifiers' halves and the resamples.

    InvalidInput where the two differ in their features, or scores are no probabilities.
    """
    _check(reference.rows, window)
    groups = reference.rows.groups, window.groups
    refusal = _too_small(groups)
    if refusal is not None:
        return Estimate(len(window.scores), 0.0, refusal=refusal)
    ratios = density_ratios(reference.rows.features, window.features, groups, seed)
    effective = effective_predictions(ratios, groups)
    weights = ratios[0] * reference.rows.weights
    refusal = _beyond(effective, _rarer(reference.labels, weights), rules)
    if refusal is not None:
        return Estimate(len(window.scores), effective, refusal=refusal)
    labelled = Labelled(reference.labels, reference.rows.scores, groups[0])
    curve = careful(labelled, reference.rows.weights, ratios[0])
    refusal = _too_few(curve.probabilities(window.scores), rules)
    if refusal is not None:
        return Estimate(len(window.scores), effective, refusal=refusal)
    metrics = _intervals(curve, dispersion(curve, labelled, weights), window, rules, seed)
    return Estimate(len(window.scores), effective, metrics)


@dataclass(frozen=True)
class Figures:
    """A window's figures as functions of its labels, which may be probabilities: their expectation, but for terms that
    vanish with the number of rows. Scores are sorted once for all."""

    window: ServedRows

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        return np.unique(self.window.scores, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def _losses(self) -> tuple[Values, Values]:
        """Of each row: its log loss with the label 0, and what the label 1 adds."""
        absent = log_losses(np.zeros_like(self.window.scores), self.window.scores)
        return absent, log_losses(np.ones_like(self.window.scores), self.window.scores) - absent

    def of(self, labels: Values) -> dict[str, float]:
        """`METRICS`, of a label for each row."""
        scores, weights = self.window.scores, self.window.weights
        absent, added = self._losses
        rate = float(np.clip(np.average(labels, weights=weights), SMALLEST, 1 - SMALLEST))
        loss = float(np.average(absent + labels * added, weights=weights))
        brier = float(np.average(scores**2 + labels * (1 - 2 * scores), weights=weights))
        normalised = loss / -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))
        return dict(zip(METRICS, (loss, normalised, brier, self._area(labels, rate), rate), strict=True))

    def _area(self, labels: Values, rate: float) -> float:
        """ROC-AUC: the share of pairs in which the positive has the higher score, a tie being half of one."""
        weights = self.window.weights
        positives = np.bincount(self._places, weights=weights * labels)
        negatives = np.bincount(self._places, weights=weights * (1 - labels))
        won = float(positives @ (np.cumsum(negatives) - negatives / 2))
        return float(np.clip(won / (rate * (1 - rate) * float(weights.sum()) ** 2), 0, 1))


def _intervals(curve: Curve, inflation: float, window: ServedRows, rules: Rules, seed: int) -> Mapping[str, Interval]:
    """The figures that the curve leads to expect, and percentiles of those under resampled curves and drawn labels.

    A drawn label strays from its probability by the square root of the inflation more than chance makes it: so a sum
    of them varies as one of labels that are alike within their predictions.
    """
    random, figures = np.random.default_rng(seed), Figures(window)
    drawn = []
    for other in resampled(curve, random, rules.resamples):
        chance = other.probabilities(window.scores)
        drawn.append(figures.of(chance + math.sqrt(inflation) * ((random.random(len(chance)) < chance) - chance)))
    tails = [(1 - rules.confidence) / 2, (1 + rules.confidence) / 2]
    values = figures.of(curve.probabilities(window.scores))
    ends = {name: np.quantile([one[name] for one in drawn], tails) for name in METRICS}
    return {name: Interval(values[name], float(ends[name][0]), float(ends[name][1])) for name in METRICS}


def _rarer(labels: Values, weights: Values) -> float:
    """The effective number of labels of the rarer kind."""
    ones, zeros = weights * labels, weights * (1 - labels)
    return min(_effective(ones), _effective(zeros))


def _effective(weights: Values) -> float:
    squares = float(np.sum(weights**2))
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _beyond(effective: float, rarer: float, rules: Rules) -> str | None:
    if effective < rules.least_predictions:
        return (
            f"The window lies beyond what the hold-out knows: only {effective:.0f} effective predictions resemble it, "
            f"where {rules.least_predictions:.0f} are needed; wait for its labels."
        )
    if rarer < rules.least_labels:
        return (
            f"The hold-out has only {rarer:.0f} effective labels of the rarer kind that resemble the window, where "
            f"{rules.least_labels:.0f} are needed; wait for the window's own."
        )
    return None


def _too_small(groups: tuple[NDArray[np.int64], NDArray[np.int64]]) -> str | None:
    for name, side in zip(("hold-out", "window"), groups, strict=True):
        predictions = int(side.max(initial=-1)) + 1
        if predictions < LEAST:
            return f"The {name} has {predictions} predictions, where {LEAST} are needed; take a longer one."
    return None


def _too_few(chance: Values, rules: Rules) -> str | None:
    rarer = float(min(chance.sum(), (1 - chance).sum()))
    if rarer >= rules.least_labels:
        return None
    return (
        f"The window's {len(chance):,} rows lead to expect only {rarer:.1f} labels of the rarer kind, where "
        f"{rules.least_labels:.0f} are needed; take a longer window."
    )


def _check(reference: ServedRows, window: ServedRows) -> None:
    columns = reference.features.shape[1], window.features.shape[1]
    if columns[0] != columns[1]:
        raise InvalidInput(f"The window has {columns[1]} features and the hold-out {columns[0]}; give both the same.")
    for name, rows in (("hold-out", reference), ("window", window)):
        if not np.all((rows.scores >= 0) & (rows.scores <= 1)):  # false for NaN too
            raise InvalidInput(f"The scores of the {name} must be probabilities, from 0 to 1.", "scores")
