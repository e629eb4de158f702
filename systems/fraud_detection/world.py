"""fraud_detection's simulated clients, with the true probability of fraud: what the demo and the tests measure against.

The history is of a time when every payment was approved and what was fraud came back. Attacks among the payments are
functions of the seed, the day and the turn (attacks.py), so history and live requests hold the same kinds of bursts.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import AT
from contracts.world import Drift, SimulatedOutcome
from systems.fraud_detection import chances, population, traffic
from systems.fraud_detection.attacks import DAY
from systems.fraud_detection.chances import Facts
from systems.fraud_detection.draws import Doubles, Ints
from systems.fraud_detection.features import CATEGORIES, CHANNELS
from systems.fraud_detection.population import COUNTRIES, index
from systems.fraud_detection.requirements import CHARGEBACK_WINDOW
from systems.fraud_detection.traffic import Payments, Scene

CATEGORY_NAMES, CHANNEL_NAMES, COUNTRY_NAMES = (
    np.array(names, dtype=object) for names in (CATEGORIES, CHANNELS, COUNTRIES)
)
CATEGORY_INDEX, CHANNEL_INDEX = index(CATEGORIES), index(CHANNELS)

CALM = Drift()
FRAME = 100_000  # rows in a frame of history, at most
TURN = 2  # the simulated clients number their streams by request and by outcome in turn
MEDIAN_DELAY, SPREAD = timedelta(days=12), 0.35  # from payment to chargeback; SPREAD in its logarithm
TOO_LATE = 0.015  # chargebacks that come after the window, for each that comes within it
REVIEW_TIME = timedelta(hours=2)  # the mean, after ten minutes


class FraudWorld:
    """Card holders, merchants and attackers that repeat from their seed."""

    def __init__(self, seed: int, drift: Drift = CALM) -> None:
        if drift.kind != "none" and (drift.at is None or drift.at.tzinfo is None):
            raise InvalidInput(f"Drift of kind {drift.kind!r} has at={drift.at}; say from which UTC time on.", "at")
        if not 0 <= drift.strength <= 1:
            raise InvalidInput(f"Drift has strength {drift.strength}; it must lie between 0 and 1.", "strength")
        self.seed = seed
        self.drift = drift
        random = np.random.default_rng([seed, 0])
        self.who = population.cast(random)
        self._habits = population.habits(random)
        self._new_habits = population.moved_habits(random, self.who, self._habits)
        self._scene = Scene(seed, self.who)
        self._concept_from = drift.at.timestamp() if drift.at and drift.kind in ("concept", "both") else np.inf
        self._data_from = drift.at.timestamp() if drift.at and drift.kind in ("data", "both") else np.inf

    def history(self, start: datetime, end: datetime, rows: int) -> Iterator[pd.DataFrame]:
        """Payments in time order; `fraud` is 1.0 where a chargeback came within the window."""
        first, last = start.timestamp(), end.timestamp()
        random = np.random.default_rng([self.seed, 1, int(first), int(last), rows])
        turn = np.arange(rows, dtype=np.int64) * TURN
        at = traffic.hurried(self.seed, turn, traffic.moments(random, first, last, rows))
        order = np.argsort(at, kind="stable")
        turn, at = turn[order], np.clip(at[order], first, np.nextafter(last, first))
        for begin in range(0, rows, FRAME):
            part = slice(begin, begin + FRAME)
            frame = self._labelled(random, self._payments(random, turn[part], at[part]))
            frame.insert(0, "payment_id", [f"h{int(first)}-{begin + i}" for i in range(len(frame))])
            yield frame

    def requests(self, count: int, at: datetime, stream: int) -> Sequence[dict[str, Any]]:
        """Bodies of payments; the streams that follow continue whatever attack is under way."""
        random = np.random.default_rng([self.seed, 2, stream, int(at.timestamp() * 1000)])
        turn = stream + np.arange(count, dtype=np.int64) * TURN
        columns = self._columns(self._payments(random, turn, np.full(count, at.timestamp())))
        del columns[AT]
        values = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [dict(zip(columns, each, strict=True)) for each in values]

    def outcomes(
        self, request: Mapping[str, Any], result: Mapping[str, Any], at: datetime, stream: int
    ) -> Sequence[SimulatedOutcome]:
        """A chargeback, if the payment was approved; a reviewer's finding, if a person was asked."""
        random = np.random.default_rng(_digest(self.seed, stream, at.isoformat(), request, result["decision"]))
        probability = float(self.truth(_rows_of(request, at))[0])
        whether, when = random.random(2).tolist()
        if result["decision"] == "approve":
            return _chargeback(probability, whether, when, at)
        if not result["in_review"]:
            return []
        minutes = timedelta(minutes=10) + REVIEW_TIME * float(-np.log1p(-when))
        return [SimulatedOutcome(None, float(whether < probability), at + minutes, source="review")]

    def truth(self, rows: Mapping[str, NDArray[Any]]) -> Doubles:
        """The true probability of fraud of each row; whoever the world does not know is average."""
        facts = Facts(
            at=np.asarray(rows[AT], dtype=np.float64),
            card=self.who.card_index.get_indexer(pd.Index(rows["card_id"])),
            device=self.who.device_index.get_indexer(pd.Index(rows["device_id"])),
            merchant=self.who.merchant_index.get_indexer(pd.Index(rows["merchant_id"])),
            category=CATEGORY_INDEX.get_indexer(pd.Index(rows["category"])),
            channel=CHANNEL_INDEX.get_indexer(pd.Index(rows["channel"])),
            foreign=np.asarray(rows["country"] != rows["card_country"], dtype=np.float64),
            amount=np.asarray(rows["amount"], dtype=np.float64),
        )
        return self._probability(facts)

    def _probability(self, facts: Facts) -> Doubles:
        return 1 / (1 + np.exp(-chances.log_odds(self.seed, self.who, facts, self._new(facts.at))))

    def _new(self, at: Doubles) -> Doubles:
        """The share of the attackers' kits that have turned to something new."""
        return np.where(at >= self._concept_from, self.drift.strength, 0.0)

    def _payments(self, random: np.random.Generator, turn: Ints, at: Doubles) -> Payments:
        before = self._scene.payments(random, self._habits, turn, at, self._new(at))
        drifted = np.asarray(at >= self._data_from)
        if not drifted.any():
            return before
        after = self._scene.payments(random, self._new_habits, turn, at, self._new(at))
        before.put(drifted & (random.random(len(at)) < self.drift.strength), **vars(after))
        return before

    def _labelled(self, random: np.random.Generator, made: Payments) -> pd.DataFrame:
        probability = self._probability(_facts(made, self.who))
        fraud = random.random(len(made.at)) < probability
        return pd.DataFrame({**self._columns(made), "fraud": fraud.astype(np.float64)})

    def _columns(self, made: Payments) -> dict[str, NDArray[Any]]:
        """`at` and the row columns."""
        who = self.who
        return {
            AT: made.at,
            "card_id": who.cards[made.card],
            "device_id": who.devices[made.device],
            "merchant_id": who.merchants[made.merchant],
            "category": CATEGORY_NAMES[who.category[made.merchant]],
            "channel": CHANNEL_NAMES[made.channel],
            "country": COUNTRY_NAMES[made.country],
            "card_country": COUNTRY_NAMES[who.home[made.card]],
            "amount": made.amount,
            "card_age_days": np.round((made.at / DAY + who.age_days[made.card]) % 1_095, 2),
            "device_known_days": np.round(made.device_known_days, 2),
        }


def _facts(made: Payments, who: population.Cast) -> Facts:
    return Facts(
        at=made.at,
        card=made.card,
        device=made.device,
        merchant=made.merchant,
        category=who.category[made.merchant],
        channel=made.channel,
        foreign=np.asarray(made.country != who.home[made.card], dtype=np.float64),
        amount=made.amount,
    )


def _rows_of(request: Mapping[str, Any], at: datetime) -> dict[str, NDArray[Any]]:
    """A request as one row."""
    row = {
        name: np.array([value], dtype=object if isinstance(value, str) else float) for name, value in request.items()
    }
    return row | {AT: np.array([at.timestamp()])}


def _chargeback(probability: float, whether: float, when: float, at: datetime) -> Sequence[SimulatedOutcome]:
    """Within the window with the true probability, after it now and then, else never."""
    if whether < probability:
        return [SimulatedOutcome(None, 1.0, at + _delay(when))]
    if whether < probability * (1 + TOO_LATE):
        return [SimulatedOutcome(None, 1.0, at + CHARGEBACK_WINDOW * (1.001 + when))]
    return []


def _delay(quantile: float) -> timedelta:
    """Log-normal about MEDIAN_DELAY, cut off at the window."""
    normal = NormalDist(float(np.log(MEDIAN_DELAY / timedelta(days=1))), SPREAD)
    within = normal.cdf(float(np.log(CHARGEBACK_WINDOW / timedelta(days=1))))
    return timedelta(days=float(np.exp(normal.inv_cdf(max(quantile * within, 1e-9)))))


def _digest(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest())


WORLD = FraudWorld
