"""The data-drift benchmark runs at a small size, and its figures are the kind that its full size prints."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.monitoring.columns import NAMES, made, plan
from benchmarks.monitoring.data_drift import Sizes, alarms, comparators, edges, power, speed
from benchmarks.monitoring.data_drift_comparators import Flags, compared, stability, uncorrected
from benchmarks.monitoring.data_drift_figures import ASKED, EDGES, alarm_table, edge_table, power_table

SMALL = Sizes(
    past=240, few=168, fresh=168, worlds=1, repeats=2, shifted=20, compared=1, many=30_000, large=1, speed=50_000
)
SEED = 7


def test_there_are_twenty_columns_and_a_shift_moves_them_all() -> None:
    before, after = (
        made(np.random.default_rng(0), plan(np.random.default_rng(1), np.array([500])), by) for by in (0, 1)
    )
    assert len(NAMES) == before.frame.shape[1] == 20
    for name in NAMES:
        moved = before.frame[name].astype(str) != after.frame[name].astype(str)
        assert moved.any(), name


def test_nothing_changed_and_hardly_an_alarm() -> None:
    found = alarms(SMALL, 1, SEED, mean=200)
    assert 100 < found.windows < 168  # in some hours of the night there are too few rows to say
    assert found.alarms <= 1
    assert found.low <= found.in_90_days <= found.high
    assert alarm_table({"steady": found}).row_count == 1


def test_a_shift_of_the_target_is_found_and_named() -> None:
    found = power(SMALL, 200, 0.5, SEED)
    assert found.found > 0.9
    assert found.low <= found.found <= found.high
    assert found.rightly > 0.95
    assert power_table({200: found, 500: found, 2_000: found}).row_count == 3 + len(found.kinds)


def test_a_window_is_judged_quickly() -> None:
    found = speed(SMALL, SEED)
    assert found.rows == 50_000
    assert found.seconds < 5


def test_one_absurd_value_neither_makes_a_shift_nor_hides_one() -> None:
    found = edges(SMALL, SEED)
    assert found.outlier_alone <= found.calm + 0.1
    assert found.outlier_and_shift == found.shift == 1.0
    assert found.outlier_alone_wasserstein == 1.0  # the default's way to be wrong about it
    assert edge_table(found).row_count == len(EDGES)


def test_the_comparators_judge_the_same_windows_as_ours() -> None:
    found = comparators(SMALL, 200, 0.5, SEED)
    assert found["ours"].alarms <= 0.1
    assert found["ours"].found == found["ours"].raised == found["KS and chi² at 0.05"].found == 1.0, ASKED
    assert found["KS and chi² at 0.05"].alarms > 0.3  # twenty tests at 0.05, uncorrected
    assert found["Evidently, half of the columns"].raised == 0.0  # one column of twenty is not half of them
    assert found["Evidently, any column"].found == 1.0


def test_flags_are_counted_as_shares() -> None:
    calm = np.zeros((4, 20), bool)
    calm[0, :12] = True
    moved = np.zeros((4, 20), bool)
    moved[:3, 0] = moved[0, 1] = True
    found = compared(calm, moved, asked=0, share=0.5)
    assert (found.windows, found.alarms, found.columns) == (4, 0.25, 12 / 80)
    assert (found.raised, found.found, found.alone) == (0.0, 0.75, 2 / 3)


@pytest.mark.parametrize("test", [uncorrected, stability])
def test_the_usual_tests_flag_a_shift_and_not_the_same_rows(test: Callable[..., Flags]) -> None:
    random = np.random.default_rng(3)
    before, after = (made(random, plan(random, np.array([2_000])), by).frame for by in (0.0, 2.0))
    assert not test([before], before).any()
    assert test([after], before).all()
