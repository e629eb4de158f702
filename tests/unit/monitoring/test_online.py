"""Online metrics hold the intervals they state, know what clients told, and say when versions are ordered alike."""

import math
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from contracts.online_metric import OnlineMetric
from contracts.records import ModelVersion
from contracts.system import AT, Columns
from infra.archive import ParquetArchive
from infra.importance import importance
from monitoring.agreement import Agreement, Offline, agreement, taus
from monitoring.online import (
    EVERYTHING,
    REPORTED,
    Measured,
    Rows,
    beside,
    gathered,
    measure,
    measured,
    tally,
    together,
)
from monitoring.ratio import Estimate, Parts, ratio
from tests.stores.log_records import DELAY, NOON, SHOP, outcome, prediction


def clicks(rows: Columns) -> Parts:
    return rows["clicked"], np.ones(len(rows["clicked"]))


def hides(rows: Columns) -> Parts:
    return rows[REPORTED] & (rows["clicked"] == 0), np.ones(len(rows["clicked"]))


def revenue(rows: Columns) -> Parts:
    return 1000 * rows["clicked"] * rows["bid"], np.ones(len(rows["clicked"]))


def clicks_a_page(rows: Columns) -> Parts:
    return rows["clicked"], np.asarray(rows["place"] == 0, np.float64)


def rows_shown(rows: Columns) -> Parts:
    return np.asarray(rows["place"] >= 0, np.float64), np.ones(len(rows["place"]))


CLICK_RATE = OnlineMetric("click-through rate", "share", clicks, "higher")
HIDE_RATE = OnlineMetric("hide rate", "share", hides, "lower")
REVENUE = OnlineMetric("revenue per thousand impressions", "currency", revenue, "higher")
PER_PAGE = OnlineMetric("clicks a page", "clicks", clicks_a_page, "higher")
SHOWN = OnlineMetric("share shown", "share", rows_shown, "higher", over="answers")


def as_rows(predictions: int, each: int) -> np.ndarray:  # type: ignore[type-arg]  # of object
    return np.repeat(np.arange(predictions), each).astype(object)


def test_a_ratio_is_the_weighted_sum_of_numerators_over_that_of_denominators() -> None:
    parts = np.array([1.0, 0.0, 2.0]), np.array([1.0, 1.0, 0.0])
    found = ratio(parts, np.array([1.0, 3.0, 0.5]), np.array(["a", "a", "b"], object), 0.95)
    assert found.value == pytest.approx((1 + 0 + 1) / (1 + 3 + 0))
    assert (found.rows, found.predictions) == (3, 2)


def test_nothing_to_divide_by_is_no_figure() -> None:
    found = ratio((np.ones(3), np.zeros(3)), np.ones(3), as_rows(3, 1), 0.95)
    assert math.isnan(found.value)
    assert math.isnan(found.low)


def test_the_interval_holds_as_often_as_it_says_when_rows_of_a_prediction_are_alike() -> None:
    random = np.random.default_rng(0)
    held = held_as_independent = 0
    for _ in range(1_500):
        taste = np.repeat(random.beta(1, 4, size=250), 4)  # with mean 0.2
        parts = (random.random(1_000) < taste).astype(float), np.ones(1_000)
        found = ratio(parts, np.ones(1_000), as_rows(250, 4), 0.95)
        naive = ratio(parts, np.ones(1_000), as_rows(1_000, 1), 0.95)
        held += found.low <= 0.2 <= found.high
        held_as_independent += naive.low <= 0.2 <= naive.high
    assert held / 1_500 == pytest.approx(0.95, abs=0.017)  # 3 standard errors
    assert held_as_independent / 1_500 < 0.91


def test_the_interval_holds_when_the_denominator_varies_too() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(1_500):
        pages = random.integers(1, 8, size=300)  # rows a page: what is watched goes with how much is shown
        number = np.repeat(np.arange(300), pages)
        first = np.concatenate([[True], number[1:] != number[:-1]]).astype(float)
        watched = random.exponential(2.0, len(number))
        found = ratio((watched, first), np.ones(len(number)), number.astype(object), 0.95)
        held += found.low <= 2.0 * 4 <= found.high
    assert held / 1_500 == pytest.approx(0.95, abs=0.017)


def test_few_events_give_no_interval_and_a_dozen_or_more_one_that_nearly_holds() -> None:
    random = np.random.default_rng(2)
    none = ratio((np.zeros(5_000), np.ones(5_000)), np.ones(5_000), as_rows(5_000, 1), 0.95)
    assert (none.value, math.isnan(none.high)) == (0.0, True)
    held = told = 0
    for _ in range(2_000):
        events = (random.random(2_000) < 0.008).astype(float)  # 16 of them, more or less
        found = ratio((events, np.ones(2_000)), np.ones(2_000), as_rows(2_000, 1), 0.95)
        assert (events.sum() < 10) == math.isnan(found.low)
        told += not math.isnan(found.low)
        held += found.low <= 0.008 <= found.high
    assert held / told > 0.92


def test_a_ratio_that_is_the_same_in_every_row_has_no_error_to_speak_of() -> None:
    parts = np.full(1_000, 0.1) * np.arange(1, 1_001), np.arange(1.0, 1_001)
    found = ratio(parts, np.ones(1_000), as_rows(1_000, 1), 0.95)
    assert found.value == pytest.approx(0.1)
    assert math.isnan(found.low)


def test_one_enormous_weight_gives_no_interval() -> None:
    weights = np.ones(1_000)
    weights[0] = 1e6
    assert math.isnan(ratio((np.arange(1_000) % 2.0, np.ones(1_000)), weights, as_rows(1_000, 1), 0.95).low)


def test_where_answers_decide_who_gets_a_label_the_weights_bring_back_the_whole() -> None:
    random = np.random.default_rng(3)
    fraud = (random.random(60_000) < 0.05).astype(float)
    caught = random.random(60_000) < np.where(fraud > 0, 0.7, 0.02)
    propensity = np.where(caught, 0.1, 1.0)
    place = np.where(random.random(60_000) < propensity, 0, -1)
    frame = pd.DataFrame({"fraud": fraud, "caught": caught, "place": place, "propensity": propensity, AT: 0.0})
    system = replace(SHOP, task=replace(SHOP.task, censored=True))
    weights = importance(system, frame, 1.0)
    known = weights > 0
    parts = (fraud * caught)[known], fraud[known]
    found = ratio(parts, weights[known], as_rows(int(known.sum()), 1), 0.99)
    assert found.low < 0.7 < found.high
    unweighted = ratio(parts, np.ones(int(known.sum())), as_rows(int(known.sum()), 1), 0.99)
    assert unweighted.high < 0.5


@pytest.fixture
def archive(tmp_path: Path) -> ParquetArchive:
    """Answers of versions 3 and 10: of each a1 is shown below a2, a3 is not shown; some is clicked, hidden, or late."""
    made = ParquetArchive(tmp_path)
    for number in range(60):
        version = "3" if number < 40 else "10"
        made.append([replace(prediction(f"p{number}", NOON), model_version=version)])
    made.append([outcome(f"p{number}", "a1", 1.0) for number in range(20)])  # clicked, all of version 3
    made.append([outcome(f"p{number}", "a2", 0.0) for number in range(5)])  # hidden
    made.append([outcome("p50", "a1", 1.0, after=DELAY + timedelta(seconds=1))])  # too late
    made.append([outcome("p51", "a3", 1.0)])  # it was not shown
    made.append([outcome("p52", "a1", 1.0)])
    return made


LATER = NOON + DELAY + timedelta(minutes=5)
HOUR = timedelta(hours=1)


def values(archive: ParquetArchive, *metrics: OnlineMetric, now: datetime = LATER) -> dict[tuple[str, str], float]:
    found = measure(metrics, gathered(SHOP, archive, (now - HOUR, now), now), ())
    return {(each.metric, each.version): each.estimate.value for each in found}


def test_metrics_are_of_each_version_and_of_what_was_shown(archive: ParquetArchive) -> None:
    found = values(archive, CLICK_RATE, HIDE_RATE, REVENUE, PER_PAGE, SHOWN)
    assert found["click-through rate", "3"] == pytest.approx(20 / 80)
    assert found["click-through rate", "10"] == pytest.approx(1 / 40)
    assert found["clicks a page", "3"] == pytest.approx(20 / 40)
    assert found["hide rate", "3"] == pytest.approx(5 / 80)
    assert found["hide rate", "10"] == 0.0
    assert found["revenue per thousand impressions", "3"] == pytest.approx(1000 * 20 * 1.0 / 80)  # a1's bid is 1
    assert found["share shown", "10"] == pytest.approx(2 / 3)


def test_versions_come_in_the_registrys_order_and_with_the_time_they_answered(archive: ParquetArchive) -> None:
    found = measure([CLICK_RATE], gathered(SHOP, archive, (LATER - HOUR, LATER), LATER), ())
    assert [each.version for each in found] == ["3", "10"]
    assert {each.since for each in found} == {NOON}


def test_what_has_not_matured_is_in_no_outcome_and_in_the_answers(archive: ParquetArchive) -> None:
    found = values(archive, CLICK_RATE, SHOWN, now=NOON + DELAY - timedelta(seconds=1))
    assert set(found) == {("share shown", "3"), ("share shown", "10")}


def test_an_empty_log_has_no_metrics(tmp_path: Path) -> None:
    assert values(ParquetArchive(tmp_path), CLICK_RATE, SHOWN) == {}


def table(rows: int) -> Rows:
    random = np.random.default_rng(4)
    device = random.choice(["mobile", "desktop", "tv"], rows, p=[0.6, 0.38, 0.02])
    clicked = (random.random(rows) < np.where(device == "mobile", 0.3, 0.1)).astype(float)
    ids = [f"p{number // 2}" for number in range(rows)]
    columns = {"device": device, "clicked": clicked, "prediction_id": ids, "model_version": "1", AT: np.arange(rows)}
    return Rows(pd.DataFrame(columns), np.ones(rows))


def test_slices_with_enough_rows_are_measured_each() -> None:
    found = {each.slice: each.estimate for each in measure([CLICK_RATE], {"outcomes": table(4_000)}, ("device",))}
    assert set(found) == {EVERYTHING, "device = mobile", "device = desktop"}
    assert found["device = mobile"].low < 0.3 < found["device = mobile"].high
    assert found["device = desktop"].high < found["device = mobile"].low
    assert found["device = mobile"].rows + found["device = desktop"].rows < found[EVERYTHING].rows == 4_000


def test_pieces_of_the_log_add_up_to_the_whole() -> None:
    whole = table(4_000)
    ends = [0, 300, 1_300, 4_000]  # no prediction is in two of them
    tallies = {}
    for start, end in pairwise(ends):
        piece = Rows(whole.frame[start:end].reset_index(drop=True), whole.weights[start:end])
        tallies = together(tallies, tally([CLICK_RATE], {"outcomes": piece}, ("device",)))
    in_pieces = measured([CLICK_RATE], tallies)
    at_once = measure([CLICK_RATE], {"outcomes": whole}, ("device",))
    assert [replace(each, estimate=at_once[0].estimate) for each in in_pieces] == [
        replace(each, estimate=at_once[0].estimate) for each in at_once
    ]
    for piecewise, once in zip(in_pieces, at_once, strict=True):
        assert astuple(piecewise.estimate) == pytest.approx(astuple(once.estimate), rel=1e-9)


def test_rows_without_a_value_are_in_no_slice() -> None:
    rows = table(4_000)
    frame = rows.frame.assign(device=rows.frame["device"].where(rows.frame["device"] != "tv", None))
    found = {
        each.slice: each.estimate.rows
        for each in measure([CLICK_RATE], {"outcomes": Rows(frame, rows.weights)}, ("device",))
    }
    assert set(found) == {EVERYTHING, "device = mobile", "device = desktop"}
    assert found["device = mobile"] == int((frame["device"] == "mobile").sum())


def of_versions(**figures: tuple[float, float]) -> list[Measured]:
    """A click rate with its error for each version, all of one time."""
    return [
        Measured(
            *("click rate", "share", "higher", name, EVERYTHING, NOON, LATER),
            Estimate(value, error, value - 2 * error, value + 2 * error, 1_000, 500),
        )
        for name, (value, error) in figures.items()
    ]


def log_loss(**values: float) -> Offline:
    return Offline("log loss", "lower", values)


def test_online_and_offline_stand_side_by_side() -> None:
    known = ModelVersion("shop", "v1", "", "", (), datetime(2026, 1, 1, tzinfo=UTC), {"log_loss": 0.3})
    [found] = beside(of_versions(v1=(0.1, 0.01), fallback=(0.05, 0.01)), [known])
    assert (found.version, found.online["click rate"].value, found.offline["log_loss"]) == ("v1", 0.1, 0.3)


def test_versions_in_the_same_order_agree_and_in_the_opposite_one_do_not() -> None:
    measured = of_versions(a=(0.10, 0.001), b=(0.12, 0.001), c=(0.14, 0.001), d=(0.16, 0.001))
    alike = agreement(measured, "click rate", log_loss(a=0.5, b=0.4, c=0.3, d=0.2))
    assert (alike.agrees, alike.tau, alike.low) == (True, 1.0, 1.0)
    assert alike.by_chance == pytest.approx(1 / 24)
    assert alike.sentence() == (
        "log loss (offline) and click rate (online) order 4 versions alike: Kendall's tau +1.00, 90% interval +1.00 to "
        "+1.00; a random order agrees as well 4% of the time."
    )
    opposite = agreement(measured, "click rate", log_loss(a=0.2, b=0.3, c=0.4, d=0.5))
    assert (opposite.agrees, opposite.tau) == (False, -1.0)
    assert "the other way round" in opposite.sentence()


def test_two_versions_that_agree_are_no_evidence_of_a_rule() -> None:
    found = agreement(of_versions(a=(0.1, 0.001), b=(0.2, 0.001)), "click rate", log_loss(a=0.4, b=0.3))
    assert (found.agrees, found.by_chance) == (True, 0.5)
    assert "50% of the time, so that it is no evidence of a rule" in found.sentence()


def test_one_version_and_tied_versions_cannot_be_ordered() -> None:
    for found in (
        agreement(of_versions(a=(0.1, 0.01)), "click rate", log_loss(a=0.4)),
        agreement(of_versions(a=(0.1, 0.01), b=(0.2, 0.01)), "click rate", log_loss(a=0.4, b=0.4)),
        agreement(of_versions(a=(0.1, 0.01), b=(0.2, math.nan)), "click rate", log_loss(a=0.4, b=0.3)),
        agreement([], "click rate", log_loss()),
    ):
        assert found.agrees is None
        assert "cannot be said" in found.sentence()


def test_versions_that_answered_at_different_times_are_said_to() -> None:
    first, second = of_versions(a=(0.1, 0.01), b=(0.2, 0.01))
    later = replace(second, since=LATER + HOUR, until=LATER + 2 * HOUR)
    assert agreement([first, later], "click rate", log_loss(a=0.4, b=0.3)).apart
    assert not agreement([first, second], "click rate", log_loss(a=0.4, b=0.3)).apart


def test_slices_and_other_metrics_take_no_part_in_the_order() -> None:
    first, second = of_versions(a=(0.1, 0.001), b=(0.2, 0.001))
    others = [replace(first, slice="device = tv", version="c"), replace(first, metric="hide rate", version="d")]
    found = agreement([first, second, *others], "click rate", log_loss(a=0.4, b=0.3, c=0.2, d=0.1))
    assert found.versions == ("a", "b")


@pytest.mark.parametrize("versions", [2, 5])
def test_versions_that_do_not_differ_online_seldom_agree_by_mistake(versions: int) -> None:
    random, agreed = np.random.default_rng(5), 0
    offline = log_loss(**{f"v{number}": -float(number) for number in range(versions)})
    for _ in range(600):
        figures = {f"v{number}": (0.1 + 0.01 * random.normal(), 0.01) for number in range(versions)}
        agreed += agreement(of_versions(**figures), "click rate", offline).agrees is True
    assert agreed / 600 < 0.08  # 5% of a one-sided interval, and 3 standard errors


def test_tau_is_kendalls_tau_b_with_ties_and_without() -> None:
    random = np.random.default_rng(6)
    for _ in range(50):
        one, other = random.integers(0, 4, 7).astype(float), random.integers(0, 4, 7).astype(float)
        assert taus(one, other[None])[0] == pytest.approx(kendalltau(one, other).statistic)


def test_an_agreement_that_noise_could_have_made_cannot_be_told() -> None:
    measured = of_versions(a=(0.100, 0.02), b=(0.101, 0.02), c=(0.102, 0.02))
    found: Agreement = agreement(measured, "click rate", log_loss(a=0.5, b=0.4, c=0.3))
    assert (found.tau, found.agrees) == (1.0, None)
    assert "cannot be told yet" in found.sentence()
