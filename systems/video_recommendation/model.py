"""Step 4: stage one finds 500 videos, gradient-boosted trees put them in order."""

from sklearn.ensemble import HistGradientBoostingClassifier

from contracts.system import Estimator, Model
from systems.video_recommendation.retrieval import RETRIEVAL


def ranker(seed: int) -> Estimator:
    """Early stopping is off, so that the same rows and seed give the same trees."""
    estimator: Estimator = HistGradientBoostingClassifier(
        learning_rate=0.08,
        max_iter=150,
        max_leaf_nodes=16,
        min_samples_leaf=100,
        l2_regularization=10.0,
        early_stopping=False,
        random_state=seed,
    )
    return estimator


MODEL = Model(
    name="matrix factorisation, then gradient-boosted trees",
    why=(
        "No model looks at 100,000 videos within 50 ms, so stage one finds 500. By its likeness alone the hold-out's "
        "normalised cross-entropy is 0.968, by a logistic regression on all features 0.945, by the trees 0.929, by the "
        "true probability 0.800 (README.md)."
    ),
    build=ranker,
    retrieval=RETRIEVAL,
)
