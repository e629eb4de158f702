"""Step 3: payments, the windows over them (live and materialised), and what the payment itself says.

What gives most attacks away is not a payment but its neighbours: twenty cards on one device within five minutes. So the
counts of the last minute, hour and day are live. Whatever is made of chargebacks waits out their 28 days, or the label
would leak into its own feature.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.system import AT, ZERO, Columns, Feature, Features, FeatureView, Source
from systems.fraud_detection.requirements import CHARGEBACK_WINDOW

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MONTH, QUARTER = timedelta(days=30), timedelta(days=60)
PRIOR = 0.012  # the share of fraud that is assumed where nothing is known
USUAL_AMOUNT = 40.0

CHANNELS = ("in_store", "web", "app")
CATEGORIES = (
    *("groceries", "restaurants", "fuel", "fashion", "electronics"),
    *("travel", "digital", "gift_cards", "crypto"),
)


def _live(entity: str, most: int) -> FeatureView:
    """How often and for how much an entity has paid, up to the moment of the request that asks."""
    windows = {"1m": MINUTE, "1h": HOUR, "1d": DAY}
    counts = [Feature(f"{entity}_payments_{name}", "count", window, 0.0) for name, window in windows.items()]
    sums = [
        Feature(f"{entity}_amount_{name}", "sum", windows[name], 0.0, column="amount")
        for name in windows
        if name != "1m"
    ]
    features = (*counts, *sums)
    return FeatureView(f"{entity}_live", (f"{entity}_id",), features, every=ZERO, ttl=2 * DAY, most=most)


def _chargeback_rate(name: str, strength: float) -> Feature:
    return Feature(
        name=name,
        aggregate="mean",
        column="fraud",
        window=QUARTER,
        after=CHARGEBACK_WINDOW,
        prior=PRIOR,
        strength=strength,
        default=PRIOR,
    )


def _mean_amount(name: str, strength: float) -> Feature:
    return Feature(name, "mean", MONTH, USUAL_AMOUNT, column="amount", prior=USUAL_AMOUNT, strength=strength)


def _hourly(name: str, entity: str, *features: Feature) -> FeatureView:
    """A state is written again only when it changes: it stays good until its last event has left the window."""
    longest = max(feature.window for feature in features)
    return FeatureView(name, (entity,), features, every=HOUR, ttl=longest + 2 * HOUR)


VIEWS = (
    _live("card", most=64),
    _live("device", most=128),
    _live("merchant", most=256),
    _hourly(
        "card",
        "card_id",
        Feature("card_payments_30d", "count", MONTH, 0.0),
        _mean_amount("card_mean_amount_30d", strength=2),
    ),
    _hourly(
        "merchant",
        "merchant_id",
        _mean_amount("merchant_mean_amount_30d", strength=5),
        _chargeback_rate("merchant_chargeback_rate_60d", strength=50),
    ),
    _hourly("country", "country", _chargeback_rate("country_chargeback_rate_60d", strength=200)),
)

REQUEST_FEATURES = (
    "amount_log",
    "hour_sin",
    "hour_cos",
    "foreign",
    "device_known_log",
    "card_age_log",
    *(f"channel_{name}" for name in CHANNELS),
    *(f"category_{name}" for name in CATEGORIES),
)


def on_request(rows: Columns) -> Mapping[str, NDArray[Any]]:
    """The features that need nothing but the payment; what is outside a vocabulary is in none of its columns."""
    angle = np.asarray(rows[AT], dtype=np.float64) % 86_400 * (2 * np.pi / 86_400)
    channel, category = rows["channel"], rows["category"]
    return {
        "amount_log": _log(rows["amount"]),
        "hour_sin": np.sin(angle),
        "hour_cos": np.cos(angle),
        "foreign": np.asarray(rows["country"] != rows["card_country"], dtype=np.float64),
        "device_known_log": _log(rows["device_known_days"]),
        "card_age_log": _log(rows["card_age_days"]),
        **{f"channel_{name}": np.asarray(channel == name, dtype=np.float64) for name in CHANNELS},
        **{f"category_{name}": np.asarray(category == name, dtype=np.float64) for name in CATEGORIES},
    }


def _log(values: NDArray[Any]) -> NDArray[np.float64]:
    """log(1 + x); what cannot be below zero and is, counts as zero."""
    logarithm: NDArray[np.float64] = np.log1p(np.maximum(np.asarray(values, dtype=np.float64), 0.0))
    return logarithm


SOURCE = Source(
    name="payments",
    id="payment_id",
    columns={
        "card_id": "string",
        "device_id": "string",
        "merchant_id": "string",
        "category": "string",
        "channel": "string",
        "country": "string",
        "card_country": "string",
        "amount": "float",
        "card_age_days": "float",
        "device_known_days": "float",
        "fraud": "float",
    },
    optional={
        "device_id": "unknown",
        "category": "unknown",
        "channel": "web",
        "country": "unknown",
        "card_country": "unknown",
        "card_age_days": 365.0,
        "device_known_days": 90.0,
    },
)

FEATURES = Features(source=SOURCE, views=VIEWS, request_features=REQUEST_FEATURES, on_request=on_request)
