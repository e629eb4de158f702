"""The parts by which the verdict keeps its rate of false alarms: season, spread, tail, bins."""

import numpy as np
import pandas as pd
import pytest

from contracts.errors import InvalidInput
from monitoring.data_drift.calibration import tail
from monitoring.data_drift.columns import codes, learn
from monitoring.data_drift.season import season
from monitoring.data_drift.spread import spread

HOUR = 3600.0


def test_p_values_that_are_right_give_the_threshold_of_the_formula() -> None:
    largest = np.random.default_rng(0).exponential(size=(3_000, 20)).max(axis=1)
    found = tail(largest, 1 / 4320)
    assert -0.4 < found.threshold - np.log(20 * 4320) < 1.0  # the upper end of what 300 exceedances tell
    assert found.probability(found.threshold) == pytest.approx(1 / 4320, rel=1e-6)
    assert found.probability(np.log(20 / 0.3)) == pytest.approx(1 - np.exp(-0.3), abs=0.03)  # in the body


def test_p_values_that_promise_too_much_raise_the_threshold() -> None:
    largest = 2 * np.random.default_rng(0).exponential(size=(1_344, 20)).max(axis=1)
    found = tail(largest, 1 / 4320)
    fresh = 2 * np.random.default_rng(1).exponential(size=(200_000, 20)).max(axis=1)
    assert np.mean(fresh > np.log(20 * 4320)) > 20 / 4320
    assert np.mean(fresh > found.threshold) < 3 / 4320


def test_one_bad_window_in_the_past_hides_no_later_one() -> None:
    largest = np.random.default_rng(0).exponential(size=(1_344, 20)).max(axis=1)
    spoilt = np.append(largest, 600.0)
    assert tail(spoilt, 1 / 4320).threshold < tail(largest, 1 / 4320).threshold + 0.5


def test_a_season_is_learned_and_chance_is_not() -> None:
    random, starts = np.random.default_rng(0), np.arange(1_344) * HOUR
    noise = random.normal(size=(1_344, 2))
    means = noise + np.column_stack([np.zeros(1_344), 3 * np.sin(2 * np.pi * np.arange(1_344) / 24)])
    expected = season(means, np.full(1_344, 500.0), starts).expected(np.arange(24) * HOUR)
    assert np.abs(expected[:, 0]).max() < 0.15  # a mean of 56 windows alone would be off by 0.3 at some hour
    assert expected[:, 1] == pytest.approx(3 * np.sin(2 * np.pi * np.arange(24) / 24), abs=0.5)


def test_a_weekend_is_matched_to_weekends() -> None:
    hours = np.arange(8 * 168)
    weekend = (hours // 24 % 7 >= 5).astype(float)
    means = (weekend + 0.1 * np.random.default_rng(0).normal(size=len(hours)))[:, None]
    found = season(means, np.full(len(hours), 500.0), hours * HOUR)
    assert found.expected(np.array([10.0, 130.0]) * HOUR)[:, 0] == pytest.approx([0.0, 1.0], abs=0.15)


def test_an_hour_that_was_never_seen_is_in_doubt_where_hours_differ() -> None:
    hours = np.arange(8 * 168)
    seen = hours % 24 != 3
    noise = np.random.default_rng(0).normal(size=len(hours))
    means = np.column_stack([0.1 * noise, 0.1 * noise + np.sin(2 * np.pi * hours / 24)])
    found = season(means[seen], np.full(seen.sum(), 500.0), hours[seen] * HOUR)
    flat, cycle = found.doubt(np.array([3.0, 12.0]) * HOUR).T
    assert cycle[0] == pytest.approx(0.5, rel=0.3)  # the variance of a sine of amplitude 1
    assert cycle[1] < 0.001
    assert flat[0] < 0.001


def test_what_an_hour_shares_is_told_from_what_rows_do_not() -> None:
    random = np.random.default_rng(0)
    size = np.exp(random.uniform(np.log(100), np.log(5_000), (3_000, 1)))
    residuals = random.normal(size=size.shape) * np.sqrt(0.03**2 + 2 / size)
    found = spread(residuals, size, size, np.ones(1))
    assert found.between[0] == pytest.approx(0.03**2, rel=0.25)
    assert found.within[0] == pytest.approx(2, rel=0.25)


def test_from_windows_of_one_size_larger_ones_are_not_believed_to_vary_less() -> None:
    size = np.full((1_000, 1), 200.0)
    residuals = np.random.default_rng(0).normal(size=size.shape) / np.sqrt(200)
    found = spread(residuals, size, size, np.ones(1))
    of = [float(found.of(np.array([[n]]), np.array([[n]]))[0, 0]) for n in (50.0, 200.0, 20_000.0)]
    assert of == pytest.approx([1 / 50, 1 / 200, 1 / 200], rel=0.2)


def test_windows_that_hang_together_count_as_fewer() -> None:
    random = np.random.default_rng(0)
    alone = random.normal(size=(1_000, 1))
    together = np.repeat(random.normal(size=(100, 1)), 10, axis=0)
    size = np.full((1_000, 1), 200.0)
    freedom = [spread(one, size, size, np.ones(1)).freedom[0] for one in (alone, together)]
    assert freedom[0] > 900
    assert freedom[1] < 200


def test_values_that_many_rows_share_have_bins_of_their_own() -> None:
    random = np.random.default_rng(0)
    values = np.where(random.random(10_000) < 0.5, 0.0, random.lognormal(size=10_000))
    (column,) = learn(pd.DataFrame({"price": values}))
    zero, near, missing = codes(column, pd.Series([0.0, 1e-9, np.nan]))
    assert column.labels[zero] == "0"
    assert near == zero + 1
    assert missing == column.bins


def test_rare_levels_are_pooled_and_new_ones_kept_apart() -> None:
    levels = [f"level {rank}" for rank in range(500) for _ in range(1 + 500 // (rank + 1))]
    (column,) = learn(pd.DataFrame({"level": levels}))
    assert column.bins < 80
    first, new, missing = codes(column, pd.Series(["level 0", "something else", None]))
    assert (column.labels[first], column.labels[new], missing) == ("level 0", "never seen", column.bins)


def test_a_column_without_values_cannot_be_learned() -> None:
    with pytest.raises(InvalidInput, match="'empty' has no value"):
        learn(pd.DataFrame({"empty": [np.nan, np.nan]}))
