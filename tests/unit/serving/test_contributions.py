"""What explains a score: held against exact Shapley values, the closed form of a linear model, and its own sum."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from contracts.errors import CorruptModel, InvalidInput
from contracts.system import Matrix
from pipelines.onnx_export import score, to_onnx, with_typical_row
from services.serving.contributions import MOST_ROWS, contributions
from services.serving.onnx_model import OnnxModel, open_model
from tests.unit.serving.onnx_models import fitted, onnx, rows


def trees(columns: int, iterations: int) -> tuple[OnnxModel, Matrix]:
    """A boosted ensemble with interactions, as training registers it, and rows it may be asked about."""
    random = np.random.default_rng(columns)
    X = random.normal(size=(20_000, columns)).astype(np.float32)
    logit = 1.2 * X[:, 0] + X[:, 1] * X[:, 2] + np.maximum(X[:, 3], 0) * X[:, 4] - 2
    y = random.random(len(X)) < 1 / (1 + np.exp(-logit))
    estimator = HistGradientBoostingClassifier(max_iter=iterations, random_state=0).fit(X, y)
    return open_model(with_typical_row(to_onnx(estimator, columns), X), columns), X[:12]


def log_odds(model: OnnxModel, features: Matrix) -> NDArray[np.float64]:
    scores = model.scores(features)
    return np.asarray(np.log(scores) - np.log1p(-scores))


def exact(model: OnnxModel, row: Matrix, typical: Matrix) -> NDArray[np.float64]:
    """Shapley's formula over all 2ⁿ coalitions of features that have the row's values."""
    count, found = len(row), np.zeros(len(row))
    everybody = range(count)
    coalitions = [each for size in range(count + 1) for each in combinations(everybody, size)]
    mixed = np.array([np.where(np.isin(everybody, each), row, typical) for each in coalitions], dtype=np.float32)
    worth = dict(zip(coalitions, log_odds(model, mixed), strict=True))
    for each in coalitions:
        weight = factorial(len(each)) * factorial(count - len(each) - 1) / factorial(count) if len(each) < count else 0
        for joining in set(everybody) - set(each):
            found[joining] += weight * (worth[tuple(sorted((*each, joining)))] - worth[each])
    return found


def test_they_are_near_the_exact_shapley_values_of_a_boosted_ensemble() -> None:
    model, asked = trees(columns=8, iterations=60)
    assert model.typical is not None
    found = contributions(model.scores, asked, model.typical)
    expected = np.array([exact(model, row, model.typical) for row in asked])
    error = np.sqrt(np.mean((found - expected) ** 2))
    assert error < 0.05 * expected.std(), (error, expected.std())
    named = np.take_along_axis(expected, np.argmax(found, axis=1)[:, np.newaxis], axis=1)[:, 0]
    np.testing.assert_allclose(named, expected.max(axis=1), atol=0.05, err_msg="the first reason is the strongest")


def test_those_of_a_linear_model_are_its_coefficients_times_the_distance() -> None:
    model, typical = open_model(onnx(1), 3), rows(1)[0]
    expected = fitted(1).coef_[0] * (rows(9) - typical)
    np.testing.assert_allclose(contributions(model.scores, rows(9), typical), expected, atol=2e-4)


def test_they_add_up_to_the_distance_from_a_typical_rows_score() -> None:
    model, asked = trees(columns=35, iterations=30)
    assert model.typical is not None
    found = contributions(model.scores, asked, model.typical)
    distance = log_odds(model, asked) - log_odds(model, model.typical[np.newaxis])
    np.testing.assert_allclose(found.sum(axis=1), distance, atol=1e-9)


def test_a_feature_that_is_typical_or_not_looked_at_contributes_nothing() -> None:
    def only_the_second(features: Matrix) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-features[:, 1].astype(np.float64))))

    typical = np.array([1, 2, 3, 4], dtype=np.float32)
    asked = np.array([[1, 2, 3, 4], [9, 2, 9, 4], [9, 3, 3, 4], [1, 3, 3, 4]], dtype=np.float32)
    found = contributions(only_the_second, asked, typical)
    np.testing.assert_allclose(found, [[0] * 4, [0] * 4, [0, 1, 0, 0], [0, 1, 0, 0]], atol=1e-12)


def test_the_same_row_gets_the_same_answer_alone_and_among_others() -> None:
    model, asked = trees(columns=8, iterations=30)
    together = model.contributions(asked)
    assert np.array_equal(together, model.contributions(asked))
    np.testing.assert_allclose(np.concatenate([model.contributions(row[np.newaxis]) for row in asked]), together)


def test_scores_at_the_ends_of_what_float32_holds_have_finite_contributions() -> None:
    def certain(features: Matrix) -> NDArray[np.float64]:
        return np.asarray(features[:, 0] > 0, dtype=np.float64)

    found = contributions(certain, np.ones((1, 2), dtype=np.float32), np.zeros(2, dtype=np.float32))
    assert np.isfinite(found).all()
    assert found[0, 0] > 30 > abs(found[0, 1])


def test_only_so_many_rows_are_explained_at_once() -> None:
    model, typical = open_model(onnx(1), 3), rows(1)[0]
    assert contributions(model.scores, rows(MOST_ROWS), typical).shape == (MOST_ROWS, 3)
    assert contributions(model.scores, rows(0), typical).shape == (0, 3)
    with pytest.raises(InvalidInput, match=f"At most {MOST_ROWS} rows"):
        contributions(model.scores, rows(MOST_ROWS + 1), typical)


def test_the_typical_row_is_the_median_and_part_of_the_registered_bytes() -> None:
    X = rows(101)
    model = with_typical_row(onnx(1), X)
    typical = open_model(model, 3).typical
    assert typical is not None
    assert np.array_equal(typical, np.median(X, axis=0).astype(np.float32))
    assert np.array_equal(score(model, X), score(onnx(1), X))
    assert with_typical_row(onnx(1), X) == model, "the same rows give the same bytes"


def test_a_model_without_a_typical_row_scores_and_is_not_explained() -> None:
    model = open_model(onnx(1), 3)
    assert model.scores(rows(2)).shape == (2,)
    with pytest.raises(InvalidInput, match="without a typical row"):
        model.contributions(rows(2))


@pytest.mark.parametrize("wrong", [rows(3, 4), np.full((1, 3), np.inf, dtype=np.float32)])
def test_a_typical_row_that_is_none_is_refused_with_its_model(wrong: Matrix) -> None:
    with pytest.raises(CorruptModel, match="typical row"):
        open_model(with_typical_row(onnx(1), wrong), 3)
