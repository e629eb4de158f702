"""A system that takes payments, with two live views and one that is materialised, and events of it in bursts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from pydantic import BaseModel

import systems
from contracts.system import (
    AT,
    ZERO,
    Columns,
    Decision,
    Evidence,
    Feature,
    Features,
    FeatureView,
    Floats,
    Serving,
    Source,
    System,
)
from tests.stores.tiny_system import HOUR, NOON

MINUTE = timedelta(minutes=1)

CARD = FeatureView(
    name="card",
    entities=("card_id",),
    features=(
        Feature("card_1m", "count", MINUTE, default=0.0),
        Feature("card_1h", "count", HOUR, default=-1.0),
        Feature("card_amount_1h", "sum", HOUR, default=-2.0, column="amount"),
    ),
    every=ZERO,
    ttl=2 * HOUR,
    most=5,
)
PLACE = FeatureView(
    name="place",
    entities=("merchant_id", "country"),
    features=(
        Feature("place_items_1m", "sum", MINUTE, default=0.0, column="items"),
        Feature("place_amount_2h", "sum", 2 * HOUR, default=0.0, column="amount"),
    ),
    every=ZERO,
    ttl=3 * HOUR,
    most=40,
)
USUAL = FeatureView(
    name="usual",
    entities=("card_id",),
    features=(Feature("card_mean_6h", "mean", 6 * HOUR, 40.0, "amount", prior=40.0, strength=2),),
    every=HOUR,
    ttl=8 * HOUR,
)
SOURCE = Source(
    "payments",
    "payment_id",
    {
        **{"card_id": "string", "merchant_id": "string", "country": "string"},
        **{"amount": "float", "items": "integer", "fraud": "float"},
    },
)


class Payment(BaseModel):
    card_id: str
    merchant_id: str
    country: str
    amount: float
    items: int


class Verdict(BaseModel):
    score: float


def live(*views: FeatureView) -> System:
    """`payments`, with its live views among and around the other: CARD, USUAL and PLACE, or those given."""
    features = Features(SOURCE, views or (CARD, USUAL, PLACE), ("amount_log",), _on_request)
    like = systems.load("ad_click")
    example = {"card_id": "c1", "merchant_id": "m1", "country": "FR", "amount": 9.99, "items": 1}
    task = replace(like.task, request=Payment, response=Verdict, target="fraud", item=None, example=example)
    return replace(like, name="payments", features=features, task=task, serving=Serving(_rows, _respond, _fallback))


def payments(count: int, seconds: float, seed: int = 0) -> pd.DataFrame:
    """Payments of 7 cards in the seconds before noon, in time order: most in bursts, and a third at the same moment
    as the one before them, as on a clock that runs fast."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(1.0, count) * np.append(1.0, random.choice([0.0, 0.01, 2.0], count - 1))
    moments = NOON.timestamp() - seconds * np.cumsum(gaps)[::-1] / gaps.sum()
    return pd.DataFrame(
        {
            "payment_id": [f"p{seed}-{number}:0" for number in range(count)],
            AT: [datetime.fromtimestamp(moment, UTC).timestamp() for moment in moments],  # a clock's microseconds
            "card_id": random.choice([f"c{number}" for number in range(7)], count),
            "merchant_id": random.choice(["m1", "m2:", "çarşı"], count),
            "country": random.choice(["FR", ":FR", ""], count),
            "amount": np.round(random.lognormal(3, 1, count), 2),
            "items": random.integers(1, 9, count),
            "fraud": (random.random(count) < 0.1).astype(float),
        }
    )


def columns(frame: pd.DataFrame) -> Columns:
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def _rows(payment: Payment) -> Columns:
    return {
        **{name: np.array([getattr(payment, name)], dtype=object) for name in ("card_id", "merchant_id", "country")},
        "amount": np.array([payment.amount]),
        "items": np.array([payment.items]),
    }


def _respond(payment: Payment, evidence: Evidence, random: np.random.Generator) -> Decision:
    shown = np.flatnonzero(evidence.scores < 0.5)  # what is declined is shown to nobody: no outcome will follow
    return Decision(Verdict(score=float(evidence.scores[0])), shown, np.ones(len(shown)))


def _fallback(payment: Payment, rows: Columns, features: Columns) -> Floats:
    return np.zeros(1)


def _on_request(rows: Columns) -> Columns:
    return {"amount_log": np.log1p(rows["amount"])}
