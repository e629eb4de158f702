"""What holds for every folder in systems/: a new one is held to all of it by being there."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import systems
from contracts.system import AT, System
from contracts.world import Drift
from systems.coherence import RESERVED, row_columns
from tests.conformance.conftest import DAYS, END, ROWS, SEED, Sample, log_loss, take

FRAME = 100_000


def test_the_seven_files_the_world_and_the_readme_are_there(system: System) -> None:
    folder = Path(systems.__file__).parent / system.name
    wanted = {f"{step.file}.py" for step in systems.STEPS} | {"README.md"}
    assert wanted <= {path.name for path in folder.iterdir()}


def test_no_name_means_two_things(system: System) -> None:
    names = [system.features.source.id, *system.features.source.columns, *system.features.names]
    assert len(set(names)) == len(names)
    assert not RESERVED & set(names)


def test_a_view_can_be_kept_beside_those_of_other_systems(system: System) -> None:
    views = [view.name for view in system.features.views]
    assert len(set(views)) == len(views)
    assert all(name.isidentifier() and "__" not in name for name in [system.name, *views])


def test_what_is_made_of_labels_waits_out_the_label_delay(system: System) -> None:
    made = [f for view in system.features.views for f in view.features if f.column == system.task.target]
    assert all(feature.after >= system.requirements.label_delay for feature in made)


def test_the_history_repeats_by_its_seed(sample: Sample) -> None:
    again = sample.system.world(SEED).history(END - timedelta(days=DAYS), END, ROWS)
    pd.testing.assert_frame_equal(pd.concat(again, ignore_index=True), sample.history)
    other = sample.system.world(SEED + 1).history(END - timedelta(days=DAYS), END, ROWS)
    assert not pd.concat(other, ignore_index=True).equals(sample.history)


def test_the_history_comes_in_time_order_in_frames_that_fit_into_memory(sample: Sample) -> None:
    source, frames = sample.system.features.source, list(sample.world.history(END - timedelta(days=1), END, ROWS))
    history = pd.concat(frames)
    assert max(map(len, frames)) <= FRAME
    assert len(history) == ROWS
    assert list(history) == [source.id, AT, *source.columns]
    assert history[AT].is_monotonic_increasing
    assert history[AT].between((END - timedelta(days=1)).timestamp(), END.timestamp(), inclusive="left").all()
    assert history[source.id].is_unique


def test_the_labels_of_the_history_are_zeros_and_ones(sample: Sample) -> None:
    assert set(np.unique(sample.labels)) == {0.0, 1.0}


def test_the_same_stream_and_moment_repeat_the_same_requests(sample: Sample) -> None:
    again = sample.system.world(SEED)
    assert again.requests(5, END, 1) == sample.world.requests(5, END, 1)
    assert again.requests(5, END, 2) != sample.world.requests(5, END, 1)
    assert again.requests(5, END + timedelta(minutes=1), 1) != sample.world.requests(5, END, 1)


def test_the_example_is_a_request_and_makes_rows(system: System) -> None:
    request = system.task.request.model_validate(dict(system.task.example))
    rows = system.serving.rows(request)
    lengths = {len(values) for values in rows.values()}
    assert len(lengths) == 1
    assert 1 <= lengths.pop() <= system.requirements.max_candidates


def test_a_request_with_a_field_too_many_is_refused(system: System) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        system.task.request.model_validate({**system.task.example, "no_such_field": 1})


def test_the_rows_of_a_request_are_the_columns_of_the_source(sample: Sample) -> None:
    system, kinds = sample.system, {"string": object, "float": np.floating, "integer": np.integer}
    for body in sample.world.requests(20, END, 1):
        rows = system.serving.rows(system.task.request.model_validate(body))
        assert sorted(rows) == sorted(row_columns(system))
        for name, values in rows.items():
            assert np.issubdtype(values.dtype, kinds[system.features.source.columns[name]]), name


def test_on_request_gives_just_the_declared_features_all_finite(sample: Sample) -> None:
    found = sample.system.features.on_request(sample.columns)
    assert tuple(found) == sample.system.features.request_features
    assert all(values.shape == (len(sample.history),) for values in found.values())
    assert all(np.isfinite(np.asarray(values, dtype=np.float32)).all() for values in found.values())


def test_on_request_gives_a_row_alone_what_it_gives_it_among_others(sample: Sample) -> None:
    on_request, rows = sample.system.features.on_request, take(sample.columns, slice(0, 50))
    together = on_request(rows)
    for row in range(50):
        alone = on_request(take(rows, slice(row, row + 1)))
        assert {name: values[0] for name, values in alone.items()} == {n: v[row] for n, v in together.items()}


def test_on_request_takes_strings_that_nobody_has_seen(system: System) -> None:
    columns = system.features.source.columns
    strange = {name: np.array(["☃ unseen"], dtype=object) for name, kind in columns.items() if kind == "string"}
    numbers = {name: np.array([1.0]) for name, kind in columns.items() if kind != "string"}
    found = system.features.on_request({**strange, **numbers, AT: np.array([END.timestamp()])})
    assert all(np.isfinite(values).all() for values in found.values())


def test_the_fallback_scores_anybody_without_a_model(sample: Sample) -> None:
    system = sample.system
    for body in [dict(system.task.example), *sample.world.requests(20, END, 1)]:
        request = system.task.request.model_validate(body)
        rows = system.serving.rows(request)
        scores = system.serving.fallback(request, rows)
        assert scores.shape == (len(next(iter(rows.values()))),)
        assert ((scores > 0) & (scores < 1)).all()


def test_an_answer_says_what_was_shown_and_how_likely_that_was(sample: Sample) -> None:
    system = sample.system
    for stream, body in enumerate(sample.world.requests(50, END, 1)):
        request = system.task.request.model_validate(body)
        rows = system.serving.rows(request)
        scores = system.serving.fallback(request, rows)
        decision = system.serving.respond(request, rows, scores, np.random.default_rng(stream))
        assert isinstance(decision.result, system.task.response)
        assert len(decision.shown) == len(decision.propensity) > 0
        assert len(set(decision.shown.tolist())) == len(decision.shown)
        assert set(decision.shown.tolist()) <= set(range(len(scores)))
        assert ((decision.propensity > 0) & (decision.propensity <= 1)).all()


def test_outcomes_name_items_that_were_shown_and_repeat(sample: Sample) -> None:
    system, again, seen = sample.system, sample.system.world(SEED), 0
    for stream, body in enumerate(sample.world.requests(200, END, 1)):
        request = system.task.request.model_validate(body)
        rows = system.serving.rows(request)
        decision = system.serving.respond(
            request, rows, system.serving.fallback(request, rows), np.random.default_rng(stream)
        )
        result = decision.result.model_dump(mode="json")
        outcomes = sample.world.outcomes(body, result, END, stream)
        assert outcomes == again.outcomes(body, result, END, stream)
        items = {None} if system.task.item is None else set(rows[system.task.item][decision.shown])
        assert {outcome.item for outcome in outcomes} <= items
        assert all(outcome.label in (0.0, 1.0) and outcome.occurred_at > END for outcome in outcomes)
        seen += sum(outcome.label for outcome in outcomes)
    assert seen > 0


def test_outcomes_come_as_often_as_the_truth_says(sample: Sample) -> None:
    system, expected, seen = sample.system, 0.0, 0
    for stream, body in enumerate(sample.world.requests(1_000, END, 3)):
        request = system.task.request.model_validate(body)
        rows = system.serving.rows(request)
        scores = system.serving.fallback(request, rows)
        decision = system.serving.respond(request, rows, scores, np.random.default_rng(stream))
        found = sample.world.outcomes(body, decision.result.model_dump(mode="json"), END, stream)
        until = END + system.requirements.label_delay
        seen += sum(outcome.label == 1.0 and outcome.occurred_at <= until for outcome in found)
        at = np.full(len(scores), END.timestamp())
        expected += float(sample.world.truth({**rows, AT: at})[decision.shown].sum())
    assert abs(seen - expected) < 5 * expected**0.5


def test_the_oracle_beats_the_base_rate(sample: Sample) -> None:
    truth, labels = sample.world.truth(sample.columns), sample.labels
    assert ((truth > 0) & (truth < 1)).all()
    assert abs(truth.mean() - labels.mean()) < 0.01
    assert log_loss(truth, labels) < 0.97 * log_loss(np.full(len(labels), labels.mean()), labels)


def test_the_truth_changes_when_the_concept_drifts_and_not_before(sample: Sample) -> None:
    moment = END - timedelta(days=DAYS / 2)
    drifted = sample.system.world(SEED, Drift("concept", moment)).truth(sample.columns)
    truth, after = sample.world.truth(sample.columns), sample.columns[AT] >= moment.timestamp()
    np.testing.assert_array_equal(drifted[~after], truth[~after])
    assert np.abs(drifted[after] - truth[after]).mean() > 0.01


def test_data_drift_leaves_the_truth_and_changes_who_comes(sample: Sample) -> None:
    moment = END - timedelta(days=DAYS / 2)
    world = sample.system.world(SEED, Drift("data", moment))
    np.testing.assert_array_equal(world.truth(sample.columns), sample.world.truth(sample.columns))
    assert world.requests(20, moment - timedelta(hours=1), 1) == sample.world.requests(
        20, moment - timedelta(hours=1), 1
    )
    assert world.requests(20, END, 1) != sample.world.requests(20, END, 1)


def test_the_model_beats_its_baselines_on_later_rows(sample: Sample) -> None:
    """On features made by the platform's own aggregation, split by time, as training does it."""
    X, y, training = sample.features, sample.labels, sample.system.training
    assert np.isfinite(X).all()
    age = sample.columns[AT].max() - sample.columns[AT]
    weights, cut = 0.5 ** (age / training.half_life.total_seconds()), int(len(y) * (1 - training.holdout))
    builders = {"model": sample.system.model.build, **training.baselines}
    losses = {}
    for name, build in builders.items():
        fitted = build(SEED).fit(X[:cut], y[:cut], weights[:cut])
        losses[name] = log_loss(fitted.predict_proba(X[cut:])[:, 1], y[cut:])
    assert training.baselines
    assert min(losses, key=losses.__getitem__) == "model", losses
