"""What a fraud analyst would write down before there is a model: points in log-odds for what looks like an attack.

They score when no model answers, they label payments that came in without a label, and they are a baseline that the
model must beat. A rule reads features alone, by their names, so that all three uses judge by the same values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.system import Columns, Floats

Mask = NDArray[np.bool_]

BASE = -5.6  # log-odds of a payment that no rule speaks against: four in a thousand
FRAUD = 0.5  # the score from which on the rules call a payment fraud


@dataclass(frozen=True)
class Rule:
    """What fires it, how much it speaks for fraud (log-odds), and its reason in words."""

    name: str
    points: float
    words: str
    fires: Callable[[Columns], Mask]


def _new_device(features: Columns, days: float) -> Mask:
    """Online, on a device first seen so many days ago at most."""
    fresh: Mask = (features["device_known_log"] < np.log1p(days)) & (features["channel_in_store"] == 0)
    return fresh


def _amount(features: Columns) -> Floats:
    amount: Floats = np.expm1(np.asarray(features["amount_log"], dtype=np.float64))
    return amount


def _device_burst(features: Columns) -> Mask:
    return np.asarray(_new_device(features, 7) & (features["device_payments_1h"] >= 3))


def _card_burst(features: Columns) -> Mask:
    return np.asarray((features["card_payments_1m"] >= 3) | (features["card_payments_1h"] >= 8))


def _new_device_abroad(features: Columns) -> Mask:
    return np.asarray(_new_device(features, 3) & (features["foreign"] > 0))


def _new_device_large(features: Columns) -> Mask:
    return np.asarray(_new_device(features, 3) & (_amount(features) > 100))


def _merchant_charged_back(features: Columns) -> Mask:
    return np.asarray(features["merchant_chargeback_rate_60d"] > 0.04)


def _large_for_card(features: Columns) -> Mask:
    amount = _amount(features)
    return np.asarray((amount > 200) & (amount > 4 * features["card_mean_amount_30d"]))


def _easily_resold(features: Columns) -> Mask:
    resold = (features["category_gift_cards"] > 0) | (features["category_crypto"] > 0)
    return np.asarray(resold & (_amount(features) > 100))


RULES = (
    Rule("device_burst", 4.5, "Several payments within an hour on a device that is new.", _device_burst),
    Rule("card_burst", 0.7, "Several payments with this card in quick succession.", _card_burst),
    Rule("new_device_abroad", 2.5, "A new device, and a country that is not the card's.", _new_device_abroad),
    Rule("new_device_large", 2.5, "A new device and a large amount.", _new_device_large),
    Rule("merchant_charged_back", 2.5, "Payments at this merchant are often charged back.", _merchant_charged_back),
    Rule("large_for_card", 0.7, "A large amount, several times what this card usually pays.", _large_for_card),
    Rule("easily_resold", 1.0, "A larger amount for what is easily turned into money.", _easily_resold),
)


def fired(features: Columns) -> Mapping[Rule, Mask]:
    """Which rows each rule fires on."""
    return {rule: rule.fires(features) for rule in RULES}


def scores(features: Columns) -> Floats:
    """Probabilities by the rules."""
    odds = np.full(len(features["amount_log"]), BASE)
    for rule, mask in fired(features).items():
        odds += rule.points * mask
    probability: Floats = 1 / (1 + np.exp(-odds))
    return probability


def labels(columns: Columns) -> Floats:
    """1.0 where the rules call a payment fraud: what a first model learns from before there are labels."""
    return np.asarray(scores(columns) >= FRAUD, dtype=np.float64)


@dataclass
class RuleScores:
    """The rules as a classifier over the matrix of features, whose columns are `names`. Nothing is fitted."""

    names: tuple[str, ...]

    def fit(self, X: NDArray[np.float32], y: Floats, sample_weight: Floats | None = None) -> "RuleScores":
        return self

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        score = scores(dict(zip(self.names, X.T, strict=True)))
        return np.column_stack([1 - score, score])
