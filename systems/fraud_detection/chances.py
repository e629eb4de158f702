"""The true probability that a payment is fraud: a function of its columns and its time, known to the world alone."""

from dataclasses import dataclass

import numpy as np

from systems.fraud_detection import attacks
from systems.fraud_detection.attacks import FARMED
from systems.fraud_detection.draws import Doubles, Ints
from systems.fraud_detection.features import CATEGORIES
from systems.fraud_detection.population import CARDS, IN_STORE, POOL, Cast

BASE = -7.6
ADVENTURE = np.array([0.0, 0.0, 0.0, 0.2, 0.5, 0.4, 0.3, 0.8, 1.0])  # what a category adds, in log-odds
CRYPTO = CATEGORIES.index("crypto")


@dataclass(frozen=True)
class Facts:
    """What the probability depends on, by payment; -1 stands for whoever the world does not know."""

    at: Doubles
    card: Ints
    device: Ints
    merchant: Ints
    category: Ints
    channel: Ints
    foreign: Doubles
    amount: Doubles


def log_odds(seed: int, who: Cast, facts: Facts, new: Doubles) -> Doubles:
    """The log-odds of fraud. `new` is the share of the attackers' kits that have turned, at each payment."""
    odds = _everyday(who, facts)
    for kit, attacked, novel in (
        (_used(facts, attacks.TESTERS, POOL), _tested(facts), False),
        (_used(facts, attacks.TAKERS, POOL), _taken(facts), False),
        (_farmed(facts), np.full(len(odds), 2.2), True),
        (_scammed(facts), np.full(len(odds), 1.6), True),
    ):
        turned = attacks.turned(seed, kit, new)
        odds = np.where((kit >= 0) & (turned == novel), attacked, odds)
    return odds


def _everyday(who: Cast, facts: Facts) -> Doubles:
    """What happens without any attack: merchants differ, and a few of them are in league with the fraudsters."""
    online = facts.channel != IN_STORE
    known = facts.merchant >= 0
    colluding = known & who.colluding[facts.merchant] & online
    odds: Doubles = (
        BASE
        + np.where(known, who.risk[facts.merchant], 0.0)
        + np.where(facts.category >= 0, ADVENTURE[facts.category], 0.0)
        + 0.8 * online
        + 0.6 * facts.foreign
        + 0.4 * (np.log(np.maximum(facts.amount, 0.01)) - np.log(40.0))
        + np.where(colluding, np.where(facts.amount > 100, 4.0, 1.5), 0.0)
    )
    return odds


def _used(facts: Facts, first: int, cycle: int) -> Ints:
    """The kit of which the device is part; -1 where it belongs to none of that pool in use."""
    number = facts.device - first
    return attacks.kit_in_use(np.where((number >= 0) & (number < cycle), number, -1), cycle, facts.at)


def _farmed(facts: Facts) -> Ints:
    number = facts.device - attacks.FARM
    inside = (number >= 0) & (number < POOL)
    return attacks.kit_in_use(np.where(inside, number // FARMED, -1), POOL // FARMED, facts.at)


def _scammed(facts: Facts) -> Ints:
    kit = attacks.kit_in_use(facts.card, CARDS, facts.at)
    return np.where((facts.category == CRYPTO) & (facts.amount > 150), kit, -1)


def _tested(facts: Facts) -> Doubles:
    """Nearly all are fraud while they are small; a tester's larger payments are often refused by the bank itself."""
    return np.where(facts.amount < 30, 2.6, 0.5)


def _taken(facts: Facts) -> Doubles:
    odds: Doubles = 1.2 + 0.5 * (np.log(np.maximum(facts.amount, 1.0)) - np.log(150.0))
    return odds
