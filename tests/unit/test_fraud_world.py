"""fraud_detection's world: rare fraud in bursts that requests continue, true probabilities, late labels."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from contracts.errors import InvalidInput
from contracts.system import AT
from contracts.world import Drift, SimulatedOutcome
from systems.fraud_detection import attacks
from systems.fraud_detection.draws import uniform, weighted
from systems.fraud_detection.population import ATTACKERS, POOL
from systems.fraud_detection.requirements import CHARGEBACK_WINDOW
from systems.fraud_detection.world import TOO_LATE, FraudWorld

END = datetime(2026, 3, 15, 12, tzinfo=UTC)
DriftKind = Literal["none", "data", "concept", "both"]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@cache
def world(kind: DriftKind = "none", strength: float = 1.0) -> FraudWorld:
    """A world, drifted or not from ten days before END on."""
    return FraudWorld(7, Drift(kind, END - 10 * DAY, strength))


@cache
def history(kind: DriftKind = "none") -> pd.DataFrame:
    return pd.concat(world(kind).history(END - 20 * DAY, END, 120_000), ignore_index=True)


def truth(frame: pd.DataFrame, kind: DriftKind = "none", strength: float = 1.0) -> np.ndarray:
    return world(kind, strength).truth({str(name): frame[name].to_numpy() for name in frame})


def devices(frame: pd.DataFrame) -> np.ndarray:
    """The devices by number into the population."""
    return world().who.device_index.get_indexer(pd.Index(frame["device_id"]))


def after(frame: pd.DataFrame) -> np.ndarray:
    return (frame[AT] >= (END - 10 * DAY).timestamp()).to_numpy()


def test_one_payment_in_a_hundred_is_fraud() -> None:
    assert 0.008 < history()["fraud"].mean() < 0.015
    assert 0.008 < history("concept").loc[after(history("concept")), "fraud"].mean() < 0.015


@pytest.mark.parametrize("kind", ["none", "concept", "data", "both"])
def test_labels_come_as_often_as_the_truth_says_at_every_height(kind: DriftKind) -> None:
    frame = history(kind)
    probability, label = truth(frame, kind), frame["fraud"].to_numpy()
    for low, high in ((0, 0.001), (0.001, 0.01), (0.01, 0.1), (0.1, 0.6), (0.6, 1)):
        among = (probability >= low) & (probability < high)
        expected, spread = probability[among].sum(), (probability[among] * (1 - probability[among])).sum()
        assert among.sum() > 50
        assert abs(label[among].sum() - expected) < 4.5 * spread**0.5


def test_attacks_are_bursts_on_one_device_and_honest_payments_are_not() -> None:
    frame = history().assign(number=devices(history()))
    online = frame[frame["channel"] != "in_store"]
    busiest = online.groupby("device_id")[AT].transform(lambda at: _most_within_an_hour(at.to_numpy()))
    tested = online["number"].between(attacks.TESTERS, attacks.TESTERS + POOL - 1)
    assert tested.sum() > 300
    assert busiest[tested].median() >= 8
    assert busiest[online["number"] < ATTACKERS].median() == 1
    terminals = frame[frame["channel"] == "in_store"].groupby("device_id").size()
    assert terminals.max() > 100  # so a count alone says nothing


def _most_within_an_hour(at: np.ndarray) -> int:
    return int((np.arange(1, len(at) + 1) - np.searchsorted(at, at - 3600)).max())


def test_card_testing_is_many_cards_small_amounts_and_one_merchant() -> None:
    frame = history().assign(number=devices(history()))
    tested = frame[frame["number"].between(attacks.TESTERS, attacks.TESTERS + POOL - 1)]
    one = tested[tested["device_id"] == tested["device_id"].value_counts().index[0]]
    assert one["card_id"].nunique() > 0.9 * len(one)
    assert one["merchant_id"].nunique() == 1
    assert tested["amount"].median() < 10


def test_takeovers_are_one_card_large_amounts_on_a_new_device() -> None:
    frame = history().assign(number=devices(history()))
    taken = frame[frame["number"].between(attacks.TAKERS, attacks.TAKERS + POOL - 1)]
    assert taken.groupby("device_id")["card_id"].nunique().median() == 1
    assert taken["amount"].median() > 2 * frame["amount"].median()
    assert taken["device_known_days"].median() < 1
    assert (taken["country"] != taken["card_country"]).mean() > 5 * (frame["country"] != frame["card_country"]).mean()


def test_names_say_nothing_of_who_attacks() -> None:
    """The mean rank of the attackers' devices among all names lies within 4 standard errors of the middle."""
    who = world().who
    rank = np.argsort(np.argsort(who.devices.astype(str))) / len(who.devices)
    assert abs(rank[ATTACKERS:].mean() - 0.5) < 4 * (1 / 12 / (3 * POOL)) ** 0.5


def test_consecutive_requests_continue_an_attack() -> None:
    """One request a call and a stream of its own, with one left for its outcome, as the simulated clients ask."""
    runs: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for call in range(4_000):
        (body,) = world().requests(1, END + call * timedelta(seconds=1), 2 * call)
        runs[body["device_id"]].append((call, body))
    tested = world().who.device_index.get_indexer(pd.Index(list(runs))) >= attacks.TESTERS
    bursts = [run for (run, mine) in zip(runs.values(), tested, strict=True) if mine and len(run) >= 6]
    assert bursts
    for burst in bursts:
        assert burst[5][0] - burst[0][0] < 60
        assert len({body["merchant_id"] for _, body in burst}) <= 2  # two attacks may use the same kit on one day


def test_requests_of_one_call_hold_bursts_too() -> None:
    found = pd.DataFrame(world().requests(4_000, END, 10))
    online = found[found["channel"] != "in_store"]
    assert online.groupby("device_id").size().max() >= 6
    assert world().requests(1, END, 10) == world().requests(1, END, 10)


def outcomes_of(body: dict[str, Any], decision: str, count: int, asked: bool = False) -> list[list[SimulatedOutcome]]:
    result = {"decision": decision, "in_review": asked}
    return [list(world().outcomes(body, result, END, stream)) for stream in range(count)]


@cache
def risky() -> tuple[dict[str, Any], float]:
    """A payment that is fraud more likely than not, at END."""
    bodies = world().requests(6_000, END, 10)
    probability = truth(pd.DataFrame(bodies).assign(at=END.timestamp()))
    place = int(np.argmin(np.abs(probability - 0.75)))
    return bodies[place], float(probability[place])


def test_approved_payments_are_charged_back_weeks_later_as_often_as_is_true() -> None:
    (body, probability), count = risky(), 3_000
    found = [each for each in outcomes_of(body, "approve", count) if each]
    assert all(len(each) == 1 and each[0].label == 1.0 and each[0].source == "client" for each in found)
    delays = [each[0].occurred_at - END for each in found]
    within = [delay for delay in delays if delay <= CHARGEBACK_WINDOW]
    assert abs(len(within) - count * probability) < 4 * (count * probability * (1 - probability)) ** 0.5
    assert 11 * DAY < sorted(within)[len(within) // 2] < 13 * DAY
    assert 0 < len(delays) - len(within) < 3 * TOO_LATE * len(within)


def test_a_reviewer_finds_out_within_hours() -> None:
    (body, probability), count = risky(), 2_000
    found = [each[0] for each in outcomes_of(body, "review", count, asked=True)]
    assert len(found) == count
    assert {each.source for each in found} == {"review"}
    assert abs(sum(each.label for each in found) - count * probability) < 4 * (count * 0.25) ** 0.5
    assert timedelta(minutes=10) <= min(each.occurred_at for each in found) - END < HOUR
    assert sorted(each.occurred_at for each in found)[count // 2] - END < 3 * HOUR


def test_of_declined_payments_nothing_is_known_but_what_a_person_is_asked() -> None:
    body, count = risky()[0], 200
    assert not any(outcomes_of(body, "decline", count))
    asked = outcomes_of(body, "decline", count, asked=True)
    assert {each.source for one in asked for each in one} == {"review"}
    assert all(len(one) == 1 for one in asked)


def test_the_old_attacks_stop_and_new_ones_begin_when_the_concept_drifts() -> None:
    calm, drifted = history(), history("concept")
    known = (devices(calm) >= ATTACKERS) & after(calm)
    assert truth(calm)[known].mean() > 0.8
    assert truth(calm, "concept")[known].mean() < 0.05
    stolen = drifted.loc[after(drifted) & (truth(drifted, "concept") > 0.6)]
    assert (stolen["device_known_days"] > 7).mean() > 0.8  # what gave attacks away, a new device, is over
    assert set(stolen["category"]) <= {"gift_cards", "crypto"} | set(calm["category"])
    assert stolen["category"].isin(["gift_cards", "crypto"]).mean() > 0.8


def test_half_a_drift_leaves_half_of_the_attacks_as_they_were() -> None:
    known = history()[(devices(history()) >= ATTACKERS) & after(history())]
    left = (truth(known, "concept", 0.5) == truth(known)).mean()
    assert 0.3 < left < 0.7


def test_data_drift_brings_other_payments() -> None:
    frame = history("data")
    before, since = frame[~after(frame)], frame[after(frame)]
    assert (since["channel"] == "app").mean() > 2 * (before["channel"] == "app").mean()
    assert since["amount"].median() > 1.3 * before["amount"].median()


def test_a_kit_is_in_use_until_shortly_after_midnight() -> None:
    midnight = 20_000 * 86_400.0
    kit = np.array([19_999 * attacks.KITS + 3])
    for moment, found in ((-1.0, kit), (60.0, kit), (2 * 3600.0, np.array([-1]))):
        assert attacks.kit_in_use(kit % POOL, POOL, np.array([midnight + moment])) == found


def test_whoever_is_unknown_is_unlikely_to_be_a_fraud() -> None:
    strange = {name: np.array(["☃"], dtype=object) for name in history() if history()[name].dtype == object}
    row = {**strange, "amount": np.array([40.0]), AT: np.array([END.timestamp()])}
    assert 0 < world().truth(row)[0] < 0.01


def test_a_drift_without_its_time_or_beyond_its_strength_is_refused() -> None:
    with pytest.raises(InvalidInput, match="from which UTC time"):
        FraudWorld(7, Drift("concept"))
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        FraudWorld(7, Drift("concept", END, 2.0))


def test_drawn_numbers_are_even_and_repeat() -> None:
    drawn = uniform(7, 1, np.arange(100_000))
    assert abs(drawn.mean() - 0.5) < 4 * (1 / 12 / 100_000) ** 0.5
    assert np.histogram(drawn, 10, (0, 1))[0].min() > 9_500
    np.testing.assert_array_equal(drawn, uniform(7, 1, np.arange(100_000)))
    assert (drawn != uniform(8, 1, np.arange(100_000))).all()
    counts = np.bincount(weighted(drawn, np.array([1.0, 0.0, 3.0])), minlength=3)
    assert counts[1] == 0
    assert abs(counts[2] / 100_000 - 0.75) < 0.01
