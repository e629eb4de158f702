"""The data-drift verdict: what it names, what it leaves alone, and what it does not presume to say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from contracts.errors import InvalidInput
from monitoring.data_drift.columns import learn
from monitoring.data_drift.reference import Reference, Rules, reference
from monitoring.data_drift.sketch import Sketches, sketch, sketches
from monitoring.data_drift.verdict import DriftVerdict, judge

HOUR, PAST, ROWS = 3600.0, 504, 200  # three weeks of hours
AT = PAST * HOUR


def rows(random: np.random.Generator, number: int, hours: np.ndarray | float = 0.0) -> pd.DataFrame:  # type: ignore[type-arg]
    """Six columns; `cycle` follows the hour of the day."""
    level = random.choice(["red", "green", "blue"], number, p=[0.6, 0.3, 0.1]).astype(object)
    price = random.lognormal(size=number)
    return pd.DataFrame(
        {
            "normal": random.normal(size=number),
            "price": np.where(random.random(number) < 0.4, 0.0, price),
            "colour": level,
            "partly": np.where(random.random(number) < 0.2, np.nan, random.normal(size=number)),
            "cycle": random.normal(size=number) + 2 * np.sin(2 * np.pi * hours / 24),
            "constant": np.ones(number),
        }
    )


@pytest.fixture(scope="module")
def past() -> Reference:
    random = np.random.default_rng(0)
    windows = np.repeat(np.arange(PAST), ROWS)
    frame = rows(random, len(windows), windows)
    columns = learn(frame)
    return reference(columns, sketches(frame, columns, windows, np.arange(PAST) * HOUR))


def verdict(past: Reference, window: pd.DataFrame, start: float = AT) -> DriftVerdict:
    return judge(past, sketch(window, past.columns, start))


def window(seed: int = 1, number: int = ROWS) -> pd.DataFrame:
    return rows(np.random.default_rng(seed), number)


def test_a_window_like_the_past_is_steady(past: Reference) -> None:
    found = [verdict(past, window(seed)) for seed in range(20)]
    assert {one.state for one in found} == {"steady"}
    assert all(column.p_value > 1e-4 for one in found for column in one.columns)


def test_the_column_that_shifted_is_named_with_its_effect(past: Reference) -> None:
    found = verdict(past, window().assign(normal=lambda frame: frame["normal"] + 0.7))
    assert (found.state, found.shifted) == ("shifted", ("normal",))
    column = found.columns[0]
    assert column.test == "location"
    assert column.shift == pytest.approx(0.7, abs=0.2)
    assert column.p_value == found.p_value < 1 / 4320


def test_a_wider_spread_is_found_though_the_middle_stays(past: Reference) -> None:
    found = verdict(past, window().assign(normal=lambda frame: frame["normal"] * 2))
    assert found.shifted == ("normal",)
    assert abs(found.columns[0].effects["location"]) < 0.2


def test_a_level_that_grows_and_one_never_seen_are_found(past: Reference) -> None:
    frame = window()
    grown, new = frame.copy(), frame.copy()
    grown.loc[:60, "colour"] = "blue"
    new.loc[:15, "colour"] = "mauve"
    assert verdict(past, grown).shifted == ("colour",)
    assert verdict(past, new).shifted == ("colour",)


def test_a_column_that_goes_missing_is_found_as_missing(past: Reference) -> None:
    frame = window()
    frame.loc[:80, "partly"] = np.nan
    found = verdict(past, frame)
    assert found.shifted == ("partly",)
    column = found.columns[3]
    assert (column.missing_shifted, column.test) == (True, "missing")
    assert column.missing_reference == pytest.approx(0.2, abs=0.02)


def test_a_column_without_any_value_is_found(past: Reference) -> None:
    found = verdict(past, window().assign(partly=np.nan))
    assert found.shifted == ("partly",)
    assert found.columns[3].shift is None


def test_a_constant_that_changes_is_found(past: Reference) -> None:
    assert verdict(past, window().assign(constant=0.0)).shifted == ("constant",)


@pytest.mark.parametrize("absurd", [1e12, -1e12, np.inf])
def test_one_absurd_value_neither_makes_a_shift_nor_hides_one(past: Reference, absurd: float) -> None:
    frame = window()
    moved = frame.assign(normal=frame["normal"] + 1.0)
    frame.loc[0, "normal"] = moved.loc[0, "normal"] = absurd
    assert verdict(past, frame).state == "steady"
    assert verdict(past, moved).shifted == ("normal",)


def test_the_daily_cycle_is_expected_at_its_hour_and_a_shift_at_another(past: Reference) -> None:
    random = np.random.default_rng(5)
    noon = rows(random, ROWS, 6.0)
    assert verdict(past, noon, AT + 6 * HOUR).state == "steady"
    assert verdict(past, noon, AT + 18 * HOUR).shifted == ("cycle",)


def test_a_shift_too_small_to_matter_is_left_alone_however_many_the_rows() -> None:
    random = np.random.default_rng(6)
    size = random.integers(500, 6_000, 200)  # traffic varies, so that it is known how little large windows vary
    frame, windows = pd.DataFrame({"value": random.normal(size=size.sum())}), np.repeat(np.arange(200), size)
    columns = learn(frame)
    past = sketches(frame, columns, windows, np.arange(200) * HOUR)
    large = sketch(pd.DataFrame({"value": random.normal(size=200_000) + 0.05}), columns, 200 * HOUR)
    assert judge(reference(columns, past), large).state == "steady"
    assert judge(reference(columns, past, Rules(floor=0.0)), large).state == "shifted"


def test_too_few_rows_or_predictions_are_inconclusive(past: Reference) -> None:
    few = verdict(past, window(number=50).assign(normal=9.0))
    assert (few.state, few.shifted, few.p_value) == ("inconclusive", (), 1.0)
    assert "50 rows" in few.reason
    alike = sketch(window().assign(normal=9.0), past.columns, AT, pd.Series(np.arange(ROWS) // 50))
    assert judge(past, alike).state == "inconclusive"


def test_bars_add_up_to_all_rows_with_a_value(past: Reference) -> None:
    for column in verdict(past, window()).columns:
        assert sum(bar.now for bar in column.bars) == pytest.approx(1.0)
        assert sum(bar.reference for bar in column.bars) == pytest.approx(1.0, abs=0.02)
    colours = [bar.label for bar in verdict(past, window()).columns[2].bars]
    assert colours == ["red", "green", "blue", "never seen"]


def test_the_same_window_gets_the_same_verdict(past: Reference) -> None:
    assert verdict(past, window()) == verdict(past, window())


def test_a_short_past_is_refused_in_a_sentence() -> None:
    frame = window()
    columns = learn(frame)
    short = sketches(frame, columns, np.zeros(ROWS, np.intp), np.zeros(1))
    with pytest.raises(InvalidInput, match="1 past windows have 100 rows of 20 predictions or more: give at least 96"):
        reference(columns, short)


def test_an_absent_column_is_refused_in_a_sentence(past: Reference) -> None:
    with pytest.raises(InvalidInput, match="no column 'price'"):
        sketch(window().drop(columns="price"), past.columns, AT)


def pages(random: np.random.Generator, windows: int, answers: int, size: int) -> tuple[pd.DataFrame, pd.Series]:  # type: ignore[type-arg]
    """Rows of one answer share all but a tenth of their variance."""
    shared = np.repeat(random.normal(size=windows * answers), size)
    values = np.sqrt(0.9) * shared + np.sqrt(0.1) * random.normal(size=len(shared))
    return pd.DataFrame({"value": values}), pd.Series(np.repeat(np.arange(windows * answers), size))


def test_rows_of_one_answer_are_not_taken_as_independent() -> None:
    random, size = np.random.default_rng(3), 10
    answers = random.integers(40, 400, PAST)  # traffic varies, so what answers share can be told from what hours share
    parts = [pages(random, 1, int(number), size) for number in answers]
    frame = pd.concat([part for part, _ in parts], ignore_index=True)
    windows = np.repeat(np.arange(PAST), answers * size)
    columns = learn(frame)
    ids = pd.Series(np.arange(len(frame)) // size)
    learned = reference(columns, sketches(frame, columns, windows, np.arange(PAST) * HOUR, ids))
    fresh, ids = pages(random, 2_000, 40, size)
    places = np.repeat(np.arange(2_000), 40 * size)
    judged: Sketches = sketches(fresh, columns, places, AT + np.arange(2_000) * HOUR, ids)
    strength = learned.evidence(judged).columns.max(axis=1)
    assert np.mean(strength > learned.tail.threshold) <= 2 / 2_000
    independent = replace(judged, predictions=judged.rows)
    assert np.mean(learned.evidence(independent).columns.max(axis=1) > learned.tail.threshold) > 0.05
