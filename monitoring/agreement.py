"""Do the hold-out and the world order the versions alike? If they do not, the gate decides by the wrong figure.

Kendall's tau-b (Kendall, Rank Correlation Methods, 3rd ed., chapter 3) between an offline metric and an online one over
the versions that answered. Online values are estimates: tau is drawn again and again from their normal distributions
(a flat prior's posterior), and its interval is that of the draws. With few versions even a random order often agrees:
how often, is said beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contracts.system import Floats
from monitoring.online import EVERYTHING, Measured

DRAWS = 4_000
CONFIDENCE = 0.9
ALL_ORDERS = 6  # versions up to which every order is looked at; of more, DRAWS of them
SURPRISING = 0.05  # how rarely a random order may agree as well, if the agreement is to mean anything


@dataclass(frozen=True)
class Offline:
    """A metric of hold-outs, by version."""

    name: str
    better: Literal["higher", "lower"]
    values: Mapping[str, float]


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau of one online and one offline metric, 1 being the same order; NaN where it cannot be said."""

    online: str
    offline: str
    versions: tuple[str, ...]
    tau: float
    low: float
    high: float
    by_chance: float  # how often a random order of the versions agrees at least as well
    apart: bool  # some two of the versions answered at different times: the world may have changed between them

    @property
    def agrees(self) -> bool | None:
        """Whether the orders are alike, False where they are opposite; None where it cannot be told."""
        if np.isnan(self.tau) or self.low <= 0 <= self.high:
            return None
        return self.low > 0

    def sentence(self) -> str:
        """What was found, and how much it is worth."""
        what = f"{self.offline} (offline) and {self.online} (online)"
        if np.isnan(self.tau):
            return f"Whether {what} order versions alike cannot be said: it takes two versions that differ in both."
        verdict = {
            None: f"Whether {what} order {len(self.versions)} versions alike cannot be told yet",
            True: f"{what} order {len(self.versions)} versions alike",
            False: f"{what} order {len(self.versions)} versions the other way round",
        }[self.agrees]
        found = (
            f"{verdict}: Kendall's tau {self.tau:+.2f}, {CONFIDENCE:.0%} interval {self.low:+.2f} to {self.high:+.2f}"
        )
        chance = f"a random order agrees as well {self.by_chance:.0%} of the time"
        weak = ", so that it is no evidence of a rule" if self.agrees and self.by_chance > SURPRISING else ""
        times = " They answered at different times, in which the world may have changed." if self.apart else ""
        return f"{found}; {chance}{weak}.{times}"


def agreement(measured: Sequence[Measured], metric: str, offline: Offline, seed: int = 0) -> Agreement:
    """Whether an online metric and an offline one order those versions alike of which both are known."""
    known = [
        each for each in measured if (each.metric, each.slice) == (metric, EVERYTHING) and _is_known(each, offline)
    ]
    names, random = tuple(each.version for each in known), np.random.default_rng(seed)
    theirs = _upwards([offline.values[name] for name in names], offline.better)
    values = _upwards([each.estimate.value for each in known], known[0].better if known else "higher")
    observed = float(taus(theirs, values[None])[0])
    if np.isnan(observed):
        return Agreement(metric, offline.name, names, math.nan, math.nan, math.nan, math.nan, _apart(known))
    errors = np.array([each.estimate.error for each in known])
    drawn = taus(theirs, values + errors * random.standard_normal((DRAWS, len(names))))
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    by_chance = float(np.mean(taus(theirs, values[_orders(len(names), random)]) >= observed - 1e-9))
    return Agreement(metric, offline.name, names, observed, low, high, by_chance, _apart(known))


def taus(one: Floats, others: Floats) -> Floats:
    """Kendall's tau-b of values with each row of others; NaN where all values of a side are tied."""
    first, second = np.triu_indices(len(one), 1)
    left = np.sign(one[first] - one[second])
    right = np.sign(others[:, first] - others[:, second])
    untied = np.sqrt(np.abs(left).sum() * np.abs(right).sum(axis=1))
    found = np.full(len(others), np.nan)
    np.divide(right @ left, untied, out=found, where=untied > 0)
    return found


def _is_known(each: Measured, offline: Offline) -> bool:
    return bool(np.isfinite([each.estimate.error, offline.values.get(each.version, np.nan)]).all())


def _upwards(values: Sequence[float], better: Literal["higher", "lower"]) -> Floats:
    """So that more is better."""
    return np.asarray(values, np.float64) * (1.0 if better == "higher" else -1.0)


def _orders(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """All orders of so many things; of many things some, drawn evenly."""
    if count <= ALL_ORDERS:
        return np.array(list(permutations(range(count))), dtype=np.int64)
    return np.argsort(random.random((DRAWS, count)), axis=1)


def _apart(known: Sequence[Measured]) -> bool:
    return any(one.until < other.since or other.until < one.since for one, other in combinations(known, 2))
