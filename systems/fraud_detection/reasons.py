"""Contributions in log-odds become reasons in words. Features that tell one story speak with one voice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.system import AT, Columns, Evidence
from systems.fraud_detection import rules
from systems.fraud_detection.features import CATEGORIES, CHANNELS, FEATURES
from systems.fraud_detection.task import Reason

MOST = 3
CHANNEL_WORDS = {"in_store": "in a shop", "web": "on the web", "app": "in an app"}


@dataclass(frozen=True)
class Case:
    """One payment: its features and its own columns, by name."""

    features: Mapping[str, float]
    row: Mapping[str, Any]

    @classmethod
    def of(cls, features: Columns, rows: Columns) -> "Case":
        return cls({name: float(values[0]) for name, values in features.items()}, {n: v[0] for n, v in rows.items()})


@dataclass(frozen=True)
class Group:
    """Features whose contributions are added up, and the sentence for their values."""

    name: str
    features: tuple[str, ...]
    words: Callable[[Case], str]


def by_contribution(evidence: Evidence, suspected: bool) -> list[Reason]:
    """What weighed most: of a suspected payment what speaks for fraud, else whichever way it points."""
    parts, case = evidence.contributions, Case.of(evidence.features, evidence.rows)
    if parts is None:
        raise ValueError("There are no contributions; take `by_rule` for an answer that no model gave.")
    weighed = [(sum(float(parts[name][0]) for name in group.features), group) for group in GROUPS]
    if suspected:
        weighed = [(weight, group) for weight, group in weighed if weight > 0]
    weighed.sort(key=lambda each: -abs(each[0]))
    return [Reason(feature=g.name, contribution=weight, words=g.words(case)) for weight, g in weighed[:MOST]]


def by_rule(evidence: Evidence) -> list[Reason]:
    """The rules that fired, the heaviest first; without any, what is at stake."""
    fired = [rule for rule, mask in rules.fired(evidence.features).items() if mask[0]]
    fired.sort(key=lambda rule: -rule.points)
    if not fired:
        stake = f"No rule speaks against the payment; {_money(float(evidence.rows['amount'][0]))} are at stake."
        return [Reason(feature="no_rule", contribution=0.0, words=stake)]
    return [Reason(feature=rule.name, contribution=rule.points, words=rule.words) for rule in fired[:MOST]]


def _velocity(entity: str, where: str) -> Group:
    def words(case: Case) -> str:
        minute, hour, day = (int(case.features[f"{entity}_payments_{window}"]) for window in ("1m", "1h", "1d"))
        paid = _money(case.features[f"{entity}_amount_1d"])
        if day == 0:
            return f"No other payment {where} in the last day."
        counts = f"{_payments(minute)} {where} in the last minute, {hour:,} in the last hour, {day:,} in the last day"
        return f"{counts}, {paid} in all."

    return Group(f"{entity}_velocity", _starting(f"{entity}_payments_1", f"{entity}_amount_1"), words)


def _starting(*prefixes: str) -> tuple[str, ...]:
    return tuple(name for name in FEATURES.names if name.startswith(prefixes))


def _card_habits(case: Case) -> str:
    count, mean = int(case.features["card_payments_30d"]), case.features["card_mean_amount_30d"]
    return f"{_payments(count)} with this card in 30 days, about {_money(mean)} each."


def _merchant_amounts(case: Case) -> str:
    return f"Payments at this merchant are about {_money(case.features['merchant_mean_amount_30d'])}."


def _merchant_chargebacks(case: Case) -> str:
    return f"{case.features['merchant_chargeback_rate_60d']:.1%} of this merchant's payments are charged back."


def _country(case: Case) -> str:
    where, home, rate = case.row["country"], case.row["card_country"], case.features["country_chargeback_rate_60d"]
    paid = f"Paid from {where}, the card's own country" if where == home else f"Paid from {where} with a card of {home}"
    return f"{paid}; {rate:.1%} of the payments from there are charged back."


def _amount(case: Case) -> str:
    return f"An amount of {_money(case.row['amount'])}."


def _hour(case: Case) -> str:
    return f"Paid at {datetime.fromtimestamp(float(case.row[AT]), UTC):%H:%M} UTC."


def _device_known(case: Case) -> str:
    days = float(case.row["device_known_days"])
    return "The device was first seen today." if days < 1 else f"The device has been known for {_days(days)}."


def _card_age(case: Case) -> str:
    return f"The card was issued {_days(float(case.row['card_age_days']))} ago."


def _channel(case: Case) -> str:
    return f"Paid {CHANNEL_WORDS[case.row['channel']]}."


def _category(case: Case) -> str:
    return f"The merchant sells {str(case.row['category']).replace('_', ' ')}."


def _payments(count: int) -> str:
    return "1 payment" if count == 1 else f"{count:,} payments"


def _days(days: float) -> str:
    return "1 day" if 1 <= days < 2 else f"{int(days):,} days"


def _money(amount: float) -> str:
    return f"{amount:,.2f}"


GROUPS: Sequence[Group] = (
    _velocity("card", "with this card"),
    _velocity("device", "on this device"),
    _velocity("merchant", "at this merchant"),
    Group("card_habits", ("card_payments_30d", "card_mean_amount_30d"), _card_habits),
    Group("merchant_amounts", ("merchant_mean_amount_30d",), _merchant_amounts),
    Group("merchant_chargebacks", ("merchant_chargeback_rate_60d",), _merchant_chargebacks),
    Group("country", ("country_chargeback_rate_60d", "foreign"), _country),
    Group("amount", ("amount_log",), _amount),
    Group("hour", ("hour_sin", "hour_cos"), _hour),
    Group("device_known", ("device_known_log",), _device_known),
    Group("card_age", ("card_age_log",), _card_age),
    Group("channel", tuple(f"channel_{name}" for name in CHANNELS), _channel),
    Group("category", tuple(f"category_{name}" for name in CATEGORIES), _category),
)
