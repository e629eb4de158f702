"""The model of every system: better than what is simpler, the same for a row alone, and watched by monitoring."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from contracts.system import AT, Matrix
from contracts.world import Drift
from monitoring.quality import Rows, harmed, loss_of
from pipelines.onnx_export import check_same, score
from tests.conformance.sample import (
    END,
    ROWS,
    SEED,
    Sample,
    columns_of,
    defaults_of,
    features_of,
    log_loss,
    rows_of,
    take,
)
from tests.conformance.test_every_feature import strangers

DAY = timedelta(days=1)


def test_the_model_beats_its_baselines_on_later_rows(sample: Sample) -> None:
    """On features made by the platform's own aggregation, split by time, as training does it."""
    X, y, cut, training = sample.features, sample.labels, sample.cut, sample.system.training
    assert np.isfinite(X).all()
    losses = {"model": log_loss(score(sample.onnx, X[cut:]), y[cut:])}
    for name, build in training.baselines.items():
        fitted = build(SEED).fit(X[:cut], y[:cut], sample.weights[:cut])
        losses[name] = log_loss(fitted.predict_proba(X[cut:])[:, 1], y[cut:])
    assert training.baselines
    assert min(losses, key=losses.__getitem__) == "model", losses


def test_the_model_as_it_is_served_is_the_model_that_was_fitted(sample: Sample) -> None:
    check_same(sample.estimator, sample.onnx, sample.features[sample.cut :][:2_000])


def test_rows_scored_at_once_get_what_each_gets_alone(sample: Sample) -> None:
    X = sample.features[sample.cut :][:200]
    alone = np.concatenate([score(sample.onnx, X[row : row + 1]) for row in range(len(X))])
    np.testing.assert_allclose(score(sample.onnx, X), alone, rtol=0, atol=1e-6)
    assert len(np.unique(alone)) > 20


def test_whoever_is_unknown_gets_a_probability(sample: Sample) -> None:
    scores = score(sample.onnx, defaults_of(sample.system, strangers(sample.system, 3)))
    assert ((scores > 0) & (scores < 1)).all()


def test_own_metrics_are_figures(sample: Sample) -> None:
    rows, y = take(sample.columns, slice(sample.cut, None)), sample.labels[sample.cut :]
    scores, weights = score(sample.onnx, sample.features[sample.cut :]), np.ones(len(y))
    found = {name: measure(y, scores, rows, weights) for name, measure in sample.system.training.metrics.items()}
    assert np.isfinite(list(found.values())).all(), found


def test_rules_label_by_features_and_columns_with_zeros_and_ones(sample: Sample) -> None:
    for rules in filter(None, [sample.system.training.rules]):  # whoever has rules for the time before there are labels
        named = dict(zip(sample.system.features.names, sample.features.T, strict=True))
        labels = rules({**sample.columns, **named})
        assert set(np.unique(labels)) == {0.0, 1.0}
        assert sample.labels[labels == 1].mean() > 2 * sample.labels.mean()


def test_stage_one_finds_candidates_for_anybody_and_survives_being_stored(sample: Sample) -> None:
    for retrieval in filter(None, [sample.system.model.retrieval]):
        assert sample.retriever is not None
        stored = retrieval.load(sample.retriever.dump())
        for body in [dict(retrieval.anybody), *sample.world.requests(20, END, 1)]:
            found, again = (one.candidates(body, END.timestamp()) for one in (sample.retriever, stored))
            items = found[retrieval.items.id].tolist()
            assert 1 <= len(items) <= sample.system.requirements.max_candidates
            assert len(set(items)) == len(items)
            assert {name: values.tolist() for name, values in again.items()} == {
                name: values.tolist() for name, values in found.items()
            }


def test_stage_one_says_of_a_row_alone_what_it_says_among_others(sample: Sample) -> None:
    for retriever in filter(None, [sample.retriever]):
        rows = take(columns_of(sample.rows), slice(0, 100))
        together = retriever.columns(rows)
        assert sample.system.model.retrieval is not None
        assert set(together) == set(sample.system.model.retrieval.columns)
        for row in range(100):
            alone = retriever.columns(take(rows, slice(row, row + 1)))
            for name, values in alone.items():
                assert values[0] == pytest.approx(together[name][row], abs=1e-6)


def test_quality_is_quiet_on_fresh_rows_and_loud_when_the_concept_has_turned(sample: Sample) -> None:
    calm, turned = (_fresh(sample, kind) for kind in ("none", "concept"))
    assert _harmed(sample, *calm) is False
    assert _harmed(sample, *turned) is True


def test_the_whole_answer_is_made_of_the_models_scores(sample: Sample) -> None:
    """Scores of the served model for what a request brings, or stage one finds: finite, and not all the same."""
    scores = []
    for body in sample.world.requests(20, END, 1):
        rows = rows_of(sample, sample.system.task.request.model_validate(body))
        scores.append(score(sample.onnx, defaults_of(sample.system, rows)))
    every = np.concatenate(scores)
    assert ((every > 0) & (every < 1)).all()
    assert len(np.unique(every)) > 5


def _fresh(sample: Sample, kind: str) -> tuple[pd.DataFrame, Matrix]:
    """What comes after the history, a third of it, in a world that has just drifted; with its features."""
    world = sample.system.world(SEED, Drift(kind, END))  # type: ignore[arg-type]  # one of its kinds
    until = END + (END - sample.start) / 3
    fresh = pd.concat(world.history(END, until, ROWS // 3), ignore_index=True)
    rows = sample.filled_in(fresh)
    return rows, features_of(sample.system, pd.concat([sample.history, fresh], ignore_index=True), rows)


def _harmed(sample: Sample, rows: pd.DataFrame, X: Matrix) -> bool | None:
    """What monitoring says of these rows, those of one moment being one prediction."""
    rules, moments = sample.system.monitoring, rows[AT].to_numpy().astype(str).astype(object)
    labels = rows[sample.system.task.target].to_numpy(np.float64)
    judged = Rows(labels, score(sample.onnx, X), moments, np.ones(len(labels)))
    loss = loss_of(judged, sample.normalised, rules.confidence)
    return harmed(loss, rules.quality_margin, rules.min_rows)
