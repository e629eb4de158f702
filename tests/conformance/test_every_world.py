"""The simulated clients of every system: they repeat, their truth is true, and they drift when they are told to."""

from datetime import timedelta
from typing import cast

import numpy as np
import pandas as pd
import pytest

from contracts.system import AT
from contracts.world import Drift, PublishingWorld
from tests.conformance.sample import END, LONG_AGO, ROWS, SEED, Sample, columns_of, log_loss

FRAME = 100_000
DAY = timedelta(days=1)


def test_the_history_repeats_by_its_seed(sample: Sample) -> None:
    again = sample.system.world(SEED).history(sample.start, END, ROWS)
    pd.testing.assert_frame_equal(pd.concat(again, ignore_index=True), sample.history)
    other = sample.system.world(SEED + 1).history(sample.start, END, ROWS)
    assert not pd.concat(other, ignore_index=True).equals(sample.history)


def test_the_history_comes_in_time_order_in_frames_that_fit_into_memory(sample: Sample) -> None:
    source, frames = sample.system.features.source, list(sample.world.history(END - DAY, END, FRAME + 10))
    history = pd.concat(frames)
    assert max(map(len, frames)) <= FRAME
    assert len(history) == FRAME + 10
    assert list(history) == [source.id, AT, *source.columns]
    assert history[AT].is_monotonic_increasing
    assert history[AT].between((END - DAY).timestamp(), END.timestamp(), inclusive="left").all()
    assert history[source.id].is_unique


def test_the_labels_of_the_history_are_zeros_and_ones(sample: Sample) -> None:
    assert set(sample.history[sample.system.task.target]) == {0.0, 1.0}


def test_the_same_stream_and_moment_repeat_the_same_requests(sample: Sample) -> None:
    again = sample.system.world(SEED)
    assert again.requests(5, END, 1) == sample.world.requests(5, END, 1)
    assert again.requests(5, END, 2) != sample.world.requests(5, END, 1)
    assert again.requests(5, END + timedelta(minutes=1), 1) != sample.world.requests(5, END, 1)


def test_the_oracle_beats_the_base_rate(sample: Sample) -> None:
    truth, labels = sample.world.truth(columns_of(sample.history)), sample.history[sample.system.task.target].to_numpy()
    assert ((truth > 0) & (truth < 1)).all()
    assert abs(truth.sum() - labels.sum()) < 5 * (truth * (1 - truth)).sum() ** 0.5
    assert log_loss(truth, labels) < 0.97 * log_loss(np.full(len(labels), labels.mean()), labels)


def test_the_truth_changes_when_the_concept_drifts_and_not_before(sample: Sample) -> None:
    """By a tenth of the base rate at least: of labels that are one in a hundred, that is one in a thousand."""
    moment, rows = sample.start + (END - sample.start) / 2, columns_of(sample.history)
    drifted = sample.system.world(SEED, Drift("concept", moment)).truth(rows)
    truth, after = sample.world.truth(rows), rows[AT] >= moment.timestamp()
    np.testing.assert_array_equal(drifted[~after], truth[~after])
    assert np.abs(drifted[after] - truth[after]).mean() > 0.1 * truth.mean()


def test_data_drift_leaves_the_truth_and_changes_who_comes(sample: Sample) -> None:
    rows, earlier = columns_of(sample.history), END - DAY - timedelta(hours=1)
    world = sample.system.world(SEED, Drift("data", END - DAY))
    np.testing.assert_array_equal(world.truth(rows), sample.world.truth(rows))
    assert world.requests(20, earlier, 1) == sample.world.requests(20, earlier, 1)
    assert world.requests(20, END, 1) != sample.world.requests(20, END, 1)


def test_what_is_published_repeats_and_has_the_columns_of_the_catalogue(sample: Sample) -> None:
    for retrieval in filter(None, [sample.system.model.retrieval]):  # systems with a stage one have a catalogue
        world, again = (cast(PublishingWorld, one) for one in (sample.world, sample.system.world(SEED)))
        items = world.items(LONG_AGO, END)
        pd.testing.assert_frame_equal(again.items(LONG_AGO, END), items)
        assert list(items) == [retrieval.items.id, AT, *retrieval.items.columns]
        assert items[retrieval.items.id].is_unique
        assert items[AT].is_monotonic_increasing
        of_a_day = world.items(END - DAY, END)
        assert 0 < len(of_a_day) < len(items)
        assert of_a_day[AT].between((END - DAY).timestamp(), END.timestamp(), inclusive="left").all()
        assert set(of_a_day[retrieval.items.id]) <= set(items[retrieval.items.id])


@pytest.mark.parametrize("kind", ["concept", "data", "both"])
def test_a_drift_of_no_strength_is_none(sample: Sample, kind: str) -> None:
    rows = {name: values[-500:] for name, values in columns_of(sample.history).items()}
    world = sample.system.world(SEED, Drift(kind, END - 7 * DAY, strength=0.0))  # type: ignore[arg-type]  # one of its kinds
    np.testing.assert_allclose(world.truth(rows), sample.world.truth(rows), rtol=1e-9)
