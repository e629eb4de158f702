"""What holds for every folder in systems/: a new one is held to all of it by being there."""

import importlib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import systems
from contracts.system import AT, System
from systems.coherence import RESERVED, row_columns
from tests.conformance.sample import END, SEED, Sample, answered, defaults_of, request_of, rows_of

KINDS = {"string": np.object_, "float": np.floating, "integer": np.integer}


def test_the_seven_files_the_world_and_the_readme_are_there(system: System) -> None:
    folder = Path(importlib.import_module(f"systems.{system.name}").__file__ or "").parent
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


def test_the_example_is_a_request_and_makes_rows(sample: Sample) -> None:
    rows = rows_of(sample, request_of(sample.system, sample.system.task.example))
    lengths = {len(values) for values in rows.values()}
    assert len(lengths) == 1
    assert 1 <= lengths.pop() <= sample.system.requirements.max_candidates


def test_a_request_with_a_field_too_many_is_refused(system: System) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        system.task.request.model_validate({**system.task.example, "no_such_field": 1})


def test_the_rows_of_a_request_are_the_columns_of_the_source(sample: Sample) -> None:
    kinds = sample.system.features.source.columns
    for body in sample.world.requests(20, END, 1):
        rows = rows_of(sample, request_of(sample.system, body))
        assert sorted(rows) == sorted((*row_columns(sample.system), AT))
        for name in row_columns(sample.system):
            assert np.issubdtype(rows[name].dtype, KINDS[kinds[name]]), name


def test_the_fallback_scores_anybody_without_a_model(sample: Sample) -> None:
    system = sample.system
    for body in [dict(system.task.example), *sample.world.requests(20, END, 1)]:
        request = request_of(system, body)
        rows = rows_of(sample, request)
        features = dict(zip(system.features.names, defaults_of(system, rows).T, strict=True))
        scores = system.serving.fallback(request, rows, features)
        assert scores.shape == rows[AT].shape
        assert ((scores > 0) & (scores < 1)).all()


def test_an_answer_says_what_was_shown_and_how_likely_that_was(sample: Sample) -> None:
    shown = 0
    for stream, body in enumerate(sample.world.requests(50, END, 1)):
        request = request_of(sample.system, body)
        rows, decision = answered(sample, request, stream)
        assert isinstance(decision.result, sample.system.task.response)
        assert decision.shown.dtype == np.int64
        assert len(decision.shown) == len(decision.propensity)
        assert len(set(decision.shown.tolist())) == len(decision.shown)
        assert set(decision.shown.tolist()) <= set(range(len(rows[AT])))
        assert ((decision.propensity > 0) & (decision.propensity <= 1)).all()
        kept = range(len(rows[AT])) if decision.kept is None else decision.kept.tolist()
        assert len(set(kept)) == len(kept)
        assert set(decision.shown.tolist()) <= set(kept) <= set(range(len(rows[AT])))
        shown += len(decision.shown)
    assert shown > 0


def test_the_same_request_and_draw_get_the_same_answer(sample: Sample) -> None:
    for stream, body in enumerate(sample.world.requests(10, END, 1)):
        request = request_of(sample.system, body)
        (_, one), (_, other) = answered(sample, request, stream), answered(sample, request, stream)
        assert one.result == other.result
        assert one.shown.tolist() == other.shown.tolist()
        assert one.propensity.tolist() == other.propensity.tolist()


def test_outcomes_name_what_was_shown_and_repeat(sample: Sample) -> None:
    """A client's; a reviewer may say what became of something that nobody was shown."""
    again, seen = sample.system.world(SEED), 0.0
    for stream, body in enumerate(sample.world.requests(200, END, 1)):
        rows, decision = answered(sample, request_of(sample.system, body), stream)
        result = decision.result.model_dump(mode="json")
        outcomes = sample.world.outcomes(body, result, END, stream)
        assert outcomes == again.outcomes(body, result, END, stream)
        column = sample.system.task.item
        shown = [None] * len(decision.shown) if column is None else rows[column][decision.shown].tolist()
        assert {each.item for each in outcomes if each.source == "client"} <= set(shown)
        assert all(each.label in (0.0, 1.0) and each.occurred_at > END for each in outcomes)
        seen += len(outcomes)
    assert seen > 0


def test_outcomes_come_as_often_as_the_truth_says(sample: Sample) -> None:
    expected, spread, seen = 0.0, 0.0, 0
    until = END + sample.system.requirements.label_delay
    for stream, body in enumerate(sample.world.requests(1_000, END, 3)):
        rows, decision = answered(sample, request_of(sample.system, body), stream)
        found = sample.world.outcomes(body, decision.result.model_dump(mode="json"), END, stream)
        seen += sum(each.label == 1.0 and each.source == "client" and each.occurred_at <= until for each in found)
        truth = sample.world.truth(rows)[decision.shown]
        expected, spread = expected + truth.sum(), spread + (truth * (1 - truth)).sum()
    assert abs(seen - expected) < 5 * spread**0.5


def test_what_is_made_of_labels_waits_out_the_label_delay(system: System) -> None:
    made = [f for view in system.features.views for f in view.features if f.column == system.task.target]
    assert all(feature.after >= system.requirements.label_delay > timedelta(0) for feature in made)
