"""ad_click's simulated world: its figures, its delays, and each kind of drift."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import AT
from contracts.world import Drift
from systems.ad_click.population import ADS, CATEGORIES, USERS
from systems.ad_click.requirements import ATTRIBUTION_WINDOW
from systems.ad_click.world import AdWorld

END = datetime(2026, 3, 15, tzinfo=UTC)
MOMENT = END - timedelta(days=1)


def history(world: AdWorld, rows: int = 120_000) -> pd.DataFrame:
    return pd.concat(world.history(END - timedelta(days=2), END, rows), ignore_index=True)


def columns(rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {str(name): rows[name].to_numpy() for name in rows}


def cross_entropy(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    return float(-np.mean(labels * np.log(scores) + (1 - labels) * np.log1p(-scores)))


@pytest.fixture(scope="module")
def calm() -> pd.DataFrame:
    return history(AdWorld(7))


@pytest.fixture(scope="module")
def drifted() -> dict[str, pd.DataFrame]:
    kinds: tuple[Literal["data", "concept", "both"], ...] = ("data", "concept", "both")
    return {kind: history(AdWorld(7, Drift(kind, MOMENT))) for kind in kinds}


def test_the_population_is_as_large_as_it_says_and_popularity_is_uneven(calm: pd.DataFrame) -> None:
    assert (len(AdWorld(7).who.users), len(set(AdWorld(7).who.users))) == (USERS, USERS)
    assert len(set(AdWorld(7).who.ads)) == ADS
    assert set(calm["category"]) == set(CATEGORIES)
    shares = calm["ad_id"].value_counts(normalize=True)
    assert shares.iloc[:200].sum() > 0.5  # a tenth of the ads has half the impressions


def test_clicks_are_rare_and_there_is_something_to_learn(calm: pd.DataFrame) -> None:
    labels, truth = calm["clicked"].to_numpy(), AdWorld(7).truth(columns(calm))
    assert 0.07 < labels.mean() < 0.13
    base_rate = cross_entropy(np.full(len(labels), labels.mean()), labels)
    assert cross_entropy(truth, labels) < 0.92 * base_rate


def test_an_ad_is_on_a_page_once(calm: pd.DataFrame) -> None:
    assert not calm.duplicated([AT, "user_id", "ad_id"]).any()


def test_there_is_less_traffic_at_night(calm: pd.DataFrame) -> None:
    hours = pd.to_datetime(calm[AT], unit="s").dt.hour.value_counts()
    assert hours[20] > 2 * hours[8]


def test_half_of_the_clicks_take_minutes_and_a_few_come_too_late() -> None:
    world = AdWorld(7)
    delays = []
    for stream, request in enumerate(world.requests(4_000, END, 1)):
        outcomes = world.outcomes(request, {"ads": request["ads"]}, END, stream)
        delays += [outcome.occurred_at - END for outcome in outcomes if outcome.label]
    late = [delay > ATTRIBUTION_WINDOW for delay in delays]
    assert timedelta(minutes=1, seconds=50) < sorted(delays)[len(delays) // 2] < timedelta(minutes=2, seconds=15)
    assert 0.01 < np.mean(late) < 0.03


def test_whoever_the_world_does_not_know_is_average() -> None:
    strangers = {
        name: np.array(["nobody"], dtype=object) for name in ("user_id", "device", "placement", "ad_id", "category")
    }
    assert 0.001 < AdWorld(7).truth({**strangers, AT: np.array([END.timestamp()])})[0] < 0.2


def test_nothing_drifts_before_its_time(calm: pd.DataFrame, drifted: dict[str, pd.DataFrame]) -> None:
    before = calm[AT] < MOMENT.timestamp() - 3600
    for rows in drifted.values():
        assert rows[AT].equals(calm[AT])
        assert abs(rows["clicked"][before].mean() - calm["clicked"][before].mean()) < 0.01


def test_data_drift_brings_other_people_on_other_devices(calm: pd.DataFrame, drifted: dict[str, pd.DataFrame]) -> None:
    after = calm[AT] >= MOMENT.timestamp()
    for kind, moved in {"data": True, "both": True, "concept": False}.items():
        was, now = (rows[after]["device"].value_counts(normalize=True) for rows in (calm, drifted[kind]))
        assert bool(abs(was["tablet"] - now["tablet"]) > 0.1) is moved


def test_concept_drift_ruins_the_old_truth_and_data_drift_does_not(drifted: dict[str, pd.DataFrame]) -> None:
    for kind, ruined in {"data": False, "both": True, "concept": True}.items():
        rows = drifted[kind][drifted[kind][AT] >= MOMENT.timestamp()]
        labels = rows["clicked"].to_numpy()
        old, new = AdWorld(7).truth(columns(rows)), AdWorld(7, Drift(kind, MOMENT)).truth(columns(rows))  # type: ignore[arg-type]  # the keys are kinds
        entropy = cross_entropy(np.full(len(labels), labels.mean()), labels)
        assert bool(cross_entropy(old, labels) - cross_entropy(new, labels) > 0.05 * entropy) is ruined


def test_drift_is_as_strong_as_asked(calm: pd.DataFrame) -> None:
    truth = AdWorld(7).truth(columns(calm))
    moved = [
        float(np.abs(AdWorld(7, Drift("concept", MOMENT, strength)).truth(columns(calm)) - truth).mean())
        for strength in (0.0, 0.3, 1.0)
    ]
    assert moved[0] == 0 < moved[1] < moved[2]


def test_drift_without_a_moment_or_beyond_its_range_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Drift of kind 'concept' has at=None"):
        AdWorld(7, Drift("concept"))
    with pytest.raises(InvalidInput, match="strength 2"):
        AdWorld(7, Drift("concept", MOMENT, 2.0))
