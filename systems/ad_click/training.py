"""Step 5: what the model is held against, on which rows, and what it must show before it may serve."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from contracts.system import Estimator, Floats, Gate, Matrix, Training


@dataclass
class ScaledLogisticRegression:
    """Logistic regression on standardised columns; a pipeline takes weights only under its last step's name."""

    pipeline: Pipeline = field(
        default_factory=lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    )

    def fit(self, X: Matrix, y: Floats, sample_weight: Floats | None = None) -> "ScaledLogisticRegression":
        self.pipeline.fit(X, y, logisticregression__sample_weight=sample_weight)
        return self

    def predict_proba(self, X: Matrix) -> NDArray[Any]:
        probabilities: NDArray[Any] = self.pipeline.predict_proba(X)
        return probabilities


def _base_rate(seed: int) -> Estimator:
    estimator: Estimator = DummyClassifier(strategy="prior")
    return estimator


def _logistic_regression(seed: int) -> Estimator:
    return ScaledLogisticRegression()


BASELINES: Mapping[str, Callable[[int], Estimator]] = {
    "base_rate": _base_rate,
    "logistic_regression": _logistic_regression,
}

TRAINING = Training(
    holdout=0.1,
    window=timedelta(days=14),
    half_life=timedelta(days=3),
    max_rows=300_000,
    baselines=BASELINES,
    slices=("device", "placement", "category"),
    gate=Gate(min_rows=2_000, margin=0.002, slice_margin=0.01, min_slice_rows=500),
)
