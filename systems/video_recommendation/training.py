"""Step 5: what the model is held against, on which rows, and what it must show before it may serve."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from contracts.system import AT, Columns, Estimator, Floats, Gate, Matrix, Training
from systems.video_recommendation.features import FEATURES
from systems.video_recommendation.ranking import average_precisions, ndcgs, ranked
from systems.video_recommendation.rerank import watch_seconds

SHOWN = 20
FIRST = 5  # places of which watch time is counted: a page of the log has but 10 or 20, and all of them are watched


@dataclass
class ScaledLogisticRegression:
    """Logistic regression on some of the columns, standardised."""

    columns: tuple[int, ...]
    pipeline: Pipeline = field(
        default_factory=lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    )

    def fit(self, X: Matrix, y: Floats, sample_weight: Floats | None = None) -> "ScaledLogisticRegression":
        self.pipeline.fit(self._of(X), y, logisticregression__sample_weight=sample_weight)
        return self

    def predict_proba(self, X: Matrix) -> NDArray[Any]:
        probabilities: NDArray[Any] = self.pipeline.predict_proba(self._of(X))
        return probabilities

    def _of(self, X: Matrix) -> Matrix:
        return X[:, list(self.columns)]


def _logistic_regression_on(*names: str) -> Callable[[int], Estimator]:
    columns = tuple(FEATURES.names.index(name) for name in names)
    return lambda seed: ScaledLogisticRegression(columns)


def _base_rate(seed: int) -> Estimator:
    estimator: Estimator = DummyClassifier(strategy="prior")
    return estimator


BASELINES: Mapping[str, Callable[[int], Estimator]] = {
    "base_rate": _base_rate,
    "popularity": _logistic_regression_on("video_impressions_7d", "video_watch_rate_7d"),
    "stage_one": _logistic_regression_on("likeness"),
    "logistic_regression": _logistic_regression_on(*FEATURES.names),
}


def ndcg_at_20(y: Floats, scores: Floats, rows: Columns, weights: Floats) -> float:
    """Mean nDCG@20 of the pages on which anything was watched; 0 where there is none."""
    return _mean(ndcgs(y, scores, _pages(rows), SHOWN))


def mean_average_precision(y: Floats, scores: Floats, rows: Columns, weights: Floats) -> float:
    """Mean average precision of the pages on which anything was watched; 0 where there is none."""
    return _mean(average_precisions(y, scores, _pages(rows)))


def watch_seconds_of_5(y: Floats, scores: Floats, rows: Columns, weights: Floats) -> float:
    """How long, in seconds, the first 5 of a page were watched, had it been shown in this order."""
    page, seconds = _pages(rows), watch_seconds(y, np.asarray(rows["duration"], dtype=np.float64))
    order, place = ranked(scores, page)
    return float(seconds[order][place < FIRST].sum() / (page.max() + 1))


def _pages(rows: Columns) -> NDArray[np.int64]:
    """The number of each row's page: the rows of one user at one moment are one."""
    asked = pd.DataFrame({"user": rows["user_id"], AT: rows[AT]})
    return np.asarray(asked.groupby(["user", AT], sort=False).ngroup(), dtype=np.int64)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


TRAINING = Training(
    holdout=0.15,
    window=timedelta(days=14),
    half_life=timedelta(days=3),
    max_rows=300_000,
    baselines=BASELINES,
    slices=("device", "category"),
    gate=Gate(min_rows=1_500, margin=0.005, slice_margin=0.02, min_slice_rows=1_000),
    metrics={
        "ndcg_at_20": ndcg_at_20,
        "mean_average_precision": mean_average_precision,
        "watch_seconds_of_5": watch_seconds_of_5,
    },
)
