"""How much likelier rows are in a window than in the reference: by a classifier that tells the two apart.

Where the two are equally many, the odds that a row is the window's are the ratio of the two densities (Sugiyama, Suzuki
and Kanamori, Density Ratio Estimation in Machine Learning, 2012, chapter 4). The classifier never judges a row it was
fitted on, nor another of the same prediction: it would know them by heart, and every window would look shifted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from contracts.system import Matrix
from monitoring.quality import Values

Indices = NDArray[np.int64]
MOST_ROWS = 20_000  # of each side that a classifier is fitted on: more costs time and hardly changes the ratio
OUTERMOST, TINY = 5.0, 1e-9  # standard deviations; of a column that never varies
RATIO_LIMIT = 1e4  # a ratio beyond is "never seen in the reference", however much beyond


def density_ratios(reference: Matrix, window: Matrix, predictions: tuple[Indices, Indices], seed: int) -> list[Values]:
    """p(row | window) / p(row | reference) of each row of the reference, and of each of the window.

    `predictions` number the predictions of either side from 0: half of them are judged by a classifier that was fitted
    on the other half. There must be two of either side at least.
    """
    random = np.random.default_rng(seed)
    halves = [random.permutation(int(groups.max()) + 1)[groups] % 2 for groups in predictions]
    ratios = [np.empty(len(reference)), np.empty(len(window))]
    for half in (0, 1):
        others = [_at_most(random, np.flatnonzero(side != half)) for side in halves]
        with threadpool_limits(1):  # more are no faster on trees this small, and wait for each other on busy cores
            classifier = _fitted(reference[others[0]], window[others[1]], seed)
            for found, rows, side in zip(ratios, (reference, window), halves, strict=True):
                found[side == half] = classifier.odds(rows[side == half])
    return ratios


def effective_predictions(ratios: list[Values], predictions: tuple[Indices, Indices]) -> float:
    """How many predictions the reference has to say something of the window: its effective sample size.

    Kish's (Σw)² / Σw² of the reference, or its size over the mean ratio in the window where that is less. Both estimate
    the same while the reference covers the window; where it does not, only the window's own rows show it: the
    reference's all have the same small ratio there.
    """
    reference = np.bincount(predictions[0], weights=ratios[0])
    inside = float(reference.sum() ** 2 / np.sum(reference**2))
    return min(inside, len(reference) / float(ratios[1].mean()))


def _at_most(random: np.random.Generator, rows: Indices) -> Indices:
    return rows if len(rows) <= MOST_ROWS else np.sort(random.choice(rows, MOST_ROWS, replace=False))


@dataclass(frozen=True)
class _Classifier:
    """Trees over the features and one more: the log-odds that a logistic regression gives them. A shift of means is a
    straight line to that one, which trees alone would need very many steps for."""

    centre: Values
    scale: Values
    line: LogisticRegression
    trees: HistGradientBoostingClassifier

    def odds(self, rows: Matrix) -> Values:
        """That a row is the window's."""
        columns = np.column_stack([rows, self.line.decision_function(_standard(rows, self.centre, self.scale))])
        odds = np.exp(self.trees.decision_function(columns))
        return np.asarray(np.clip(odds, 1 / RATIO_LIMIT, RATIO_LIMIT), np.float64)


def _fitted(reference: Matrix, window: Matrix, seed: int) -> _Classifier:
    """Few and small trees: what they do not find out is no difference that a few thousand rows could prove."""
    rows, of_window = np.vstack([reference, window]), np.repeat([0, 1], [len(reference), len(window)])
    equally_many = np.repeat([1.0, len(reference) / len(window)], [len(reference), len(window)])
    centre, scale = _moments(rows)
    standard = _standard(rows, centre, scale)
    line = LogisticRegression(C=0.1, max_iter=300).fit(standard, of_window, sample_weight=equally_many)
    trees = HistGradientBoostingClassifier(
        learning_rate=0.2,
        max_iter=30,
        max_leaf_nodes=8,
        min_samples_leaf=40,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=seed,
    )
    columns = np.column_stack([rows, line.decision_function(standard)])
    return _Classifier(centre, scale, line, trees.fit(columns, of_window, sample_weight=equally_many))


def _moments(rows: Matrix) -> tuple[Values, Values]:
    """Mean and standard deviation of what is there of each column."""
    there = np.isfinite(rows)
    values, count = np.where(there, rows.astype(np.float64), 0.0), np.maximum(there.sum(axis=0), 1)
    mean = values.sum(axis=0) / count
    return mean, np.sqrt(np.sum(np.where(there, values - mean, 0.0) ** 2, axis=0) / count) + TINY


def _standard(rows: Matrix, centre: Values, scale: Values) -> Values:
    """What a straight line can use: a missing value is an average one, an absurd one is at most OUTERMOST away."""
    away = np.nan_to_num((rows - centre) / scale, nan=0.0)
    return np.asarray(np.clip(away, -OUTERMOST, OUTERMOST), np.float64)
