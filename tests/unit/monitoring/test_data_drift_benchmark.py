"""The data-drift benchmark runs at a small size, and its figures are the kind that its full size prints."""

import numpy as np
import pytest

from benchmarks.monitoring.columns import NAMES, made, plan
from benchmarks.monitoring.data_drift import Sizes, alarms, comparators, power, speed
from benchmarks.monitoring.data_drift_figures import ASKED, alarm_table, power_table

SMALL = Sizes(past=240, few=168, fresh=168, worlds=1, repeats=1, shifted=20, compared=1, many=2_000, speed=50_000)


def test_there_are_twenty_columns_and_a_shift_moves_them_all() -> None:
    before, after = (
        made(np.random.default_rng(0), plan(np.random.default_rng(1), np.array([500])), by) for by in (0, 1)
    )
    assert len(NAMES) == before.frame.shape[1] == 20
    for name in NAMES:
        moved = before.frame[name].astype(str) != after.frame[name].astype(str)
        assert moved.any(), name


def test_nothing_changed_and_hardly_an_alarm() -> None:
    found = alarms(SMALL, worlds=1, mean=200)
    assert 100 < found.windows < 168  # in some hours of the night there are too few rows to say
    assert found.alarms <= 1
    assert found.low <= found.in_90_days <= found.high
    assert alarm_table({"steady": found}).row_count == 1


def test_a_shift_of_the_target_is_found_and_named() -> None:
    found = power(SMALL, 200, 0.5)
    assert found.found > 0.9
    assert found.rightly > 0.95
    assert power_table({200: found, 500: found, 2_000: found}).row_count == 3 + len(found.kinds)


def test_a_window_is_judged_quickly() -> None:
    found = speed(SMALL)
    assert found.rows == 50_000
    assert found.seconds < 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")  # Evidently's own
def test_the_comparators_are_measured_on_real_windows() -> None:
    found = comparators(SMALL, 200, 0.5)
    assert found["Evidently, one shifted"].named == found["KS at 0.05, one shifted"].named == 1.0, ASKED
    assert found["Evidently, one shifted"].columns > found["Evidently, nothing changed"].columns
