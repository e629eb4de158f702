"""The ONNX model gives the scores of the estimator it was made from, whatever the rows."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from contracts.errors import CorruptModel, InvalidInput
from pipelines.onnx_export import check_same, rounded_down, score, to_onnx


def rows(count: int = 4000, width: int = 6, seed: int = 0):  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(count, width)).astype(np.float32)
    X[:, 1] = np.round(X[:, 1] * 3)  # ties: many values lie exactly on a threshold's edge
    X[:, 2] = X[:, 2] > 0
    logit = X[:, 0] - X[:, 1] / 3 + X[:, 2]
    return X, (generator.random(count) < 1 / (1 + np.exp(-logit))).astype(np.float64)


def test_boosted_trees_score_the_same() -> None:
    X, y = rows(20_000)
    trees = HistGradientBoostingClassifier(max_iter=150, random_state=1).fit(X, y)
    model = to_onnx(trees, 6)
    assert check_same(trees, model, X) < 5e-6


def test_a_missing_value_takes_the_same_branch() -> None:
    X, y = rows()
    X[::7, 0] = np.nan
    trees = HistGradientBoostingClassifier(max_iter=20).fit(X, y)
    assert np.allclose(score(to_onnx(trees, 6), X), trees.predict_proba(X)[:, 1], atol=1e-5)


def test_trees_whose_leaves_are_all_positive_score_the_same() -> None:
    """ONNX Runtime's classifier of trees leaves out the logistic function then; ours does without it."""
    X, y = rows()
    y[:] = np.random.default_rng(3).random(len(y)) < 0.9
    trees = HistGradientBoostingClassifier(max_iter=1, max_leaf_nodes=2, learning_rate=1e-3).fit(X, y)
    check_same(trees, to_onnx(trees, 6), X)


def test_a_scaled_logistic_regression_scores_the_same() -> None:
    X, y = rows()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    check_same(pipeline, to_onnx(pipeline, 6), X)


def test_another_model_is_not_taken_for_the_same() -> None:
    X, y = rows()
    one, other = (GaussianNB().fit(X, labels) for labels in (y, 1 - y))
    with pytest.raises(CorruptModel, match="differ from the estimator's"):
        check_same(one, to_onnx(other, 6), X)


def test_rows_of_another_width_are_refused_in_one_sentence() -> None:
    X, y = rows()
    model = to_onnx(GaussianNB().fit(X, y), 6)
    with pytest.raises(CorruptModel, match="rows of 5 features"):
        score(model, X[:, :5])


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(CorruptModel, match="does not score"):
        score(b"not a model", rows()[0])


def test_an_estimator_without_a_conversion_is_named() -> None:
    class Unknown(GaussianNB):
        pass

    X, y = rows()
    with pytest.raises(InvalidInput, match="Unknown"):
        to_onnx(Unknown().fit(X, y), 6)


def test_categorical_splits_are_refused() -> None:
    X, y = rows()
    X[:, 1] = np.abs(X[:, 1])
    trees = HistGradientBoostingClassifier(max_iter=5, categorical_features=[1]).fit(X, y)
    with pytest.raises(InvalidInput, match="Categorical"):
        to_onnx(trees, 6)


def test_a_threshold_is_rounded_so_that_no_float_changes_sides() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=10_000).astype(np.float32)
    thresholds = (x.astype(np.float64) + np.nextafter(x, np.float32(9)).astype(np.float64)) / 2
    assert np.array_equal(x <= thresholds, x <= rounded_down(thresholds))
    above = np.nextafter(x, np.float32(9))
    assert np.array_equal(above <= thresholds, above <= rounded_down(thresholds))
