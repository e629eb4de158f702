"""Is the champion worse than it was? Judged after every label, with a stated time between false alarms.

What is assumed. Values come in an order in which each one's mean, given everything that was counted before it, is at
most the bound while nothing is wrong; they need be neither independent nor alike. So

- rows of one prediction, which are alike, make one value (`predictions.per_prediction`): after the first bad row of a
  page the next one's mean is above the bound;
- labels are counted when they are final, at the same age for all (`Archive.labelled` gives them so, but for those of
  reviewers, which are to wait). Counted as they arrive they are judged rightly only if how long a label takes says
  nothing about it. Where errors are heard of sooner than their absence is (a click, a chargeback), they all come first;
- labels that come for some rows only are weighed by one over the probability that they come (`shares`);
- that the mean of every hour is within the bound, not only that of a day, is part of "nothing is wrong";
- the bound is right, which `bound.upper_bound` is with the confidence that it was asked for.

Each value is given once, in order: the caller keeps the watermark. After an alarm has been dealt with, `start` anew.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np

from contracts.errors import InvalidInput
from contracts.system import Floats
from monitoring.concept_drift.cusum import crossed, log_evidence, log_gains, log_paths

RATES = (0.05, 0.1, 0.2, 0.4, 0.8)  # a bet within a factor of √2 of the best one loses few labels against it
RUN_LENGTH = 100_000.0
BLOCK = 1 << 16  # values judged at a time: what bounds the memory


@dataclass(frozen=True)
class Rules:
    """What is normal, and how seldom it may be called otherwise.

    `bound`: the largest mean that is normal, between 0 and 1. `run_length`: the average number of values between false
    alarms is at least this. `rates`: the bets; large ones see a large change soon, small ones a small change at all.
    """

    bound: float
    run_length: float = RUN_LENGTH
    rates: tuple[float, ...] = RATES

    def __post_init__(self) -> None:
        if not 0 < self.bound < 1:
            raise InvalidInput(f"The bound of a mean loss is {self.bound}; give one between 0 and 1.", "bound")
        if not 1 < self.run_length < math.inf:
            raise InvalidInput(f"The run length is {self.run_length}; give a number of values above 1.", "run_length")
        if not self.rates or not all(0 < rate < 1 for rate in self.rates):
            raise InvalidInput(f"The rates are {self.rates}; give at least one, all between 0 and 1.", "rates")

    @property
    def threshold(self) -> float:
        """The logarithm of the evidence at which there is an alarm."""
        return math.log(self.run_length)


@dataclass(frozen=True)
class Alarm:
    """The first value at which the evidence sufficed: its number, from 1, its time, since when it seems so."""

    number: int
    at: float
    since: float
    log_evidence: float


@dataclass(frozen=True)
class State:
    """All that is kept between two calls: a few numbers for each rate."""

    rules: Rules
    seen: int
    log_cusums: tuple[float, ...]
    starts: tuple[float, ...]  # the time of the first value that each CUSUM holds
    alarm: Alarm | None = None

    def __post_init__(self) -> None:
        if not len(self.log_cusums) == len(self.starts) == len(self.rules.rates):
            raise InvalidInput(f"The state is not one of {len(self.rules.rates)} rates; start anew.", "log_cusums")

    @property
    def log_evidence(self) -> float:
        """The evidence now, as a logarithm: 0 or below is none, `rules.threshold` an alarm."""
        return float(log_evidence(np.array(self.log_cusums)))

    @property
    def since(self) -> float:
        """When the change began, if there is one: where the CUSUM that holds most of the evidence started."""
        return _since(self.log_cusums, self.starts)

    def dump(self) -> str:
        """As JSON, for `load`."""
        return json.dumps(asdict(self), allow_nan=False)

    @staticmethod
    def load(text: str) -> "State":
        """The state that `dump` wrote."""
        kept = json.loads(text)
        rules, alarmed = kept["rules"], kept["alarm"]
        return State(
            Rules(rules["bound"], rules["run_length"], tuple(rules["rates"])),
            kept["seen"],
            tuple(kept["log_cusums"]),
            tuple(kept["starts"]),
            Alarm(**alarmed) if alarmed else None,
        )


def start(rules: Rules) -> State:
    """No value seen, no evidence."""
    none = (0.0,) * len(rules.rates)
    return State(rules, 0, none, none)


def update(state: State, values: Floats, shares: Floats | None = None, at: Floats | None = None) -> State:
    """The state after more values, in the order in which they matured; how they are cut into calls changes nothing.

    `values`: bounded losses in [0, 1], one a prediction. `shares`: for selective labels, each weight over the largest
    possible one, in [0, 1]. `at`: when each was predicted (seconds since the epoch), the unit of `since`; without it a
    value's place in the order is its time. An alarm stays, whatever comes after it.
    """
    shares = np.ones(len(values)) if shares is None else shares
    at = np.arange(state.seen, state.seen + len(values), dtype=np.float64) if at is None else at
    _refuse_unbounded(values, "values", len(values))
    _refuse_unbounded(shares, "shares", len(values))
    if len(at) != len(values) or not np.isfinite(at).all():
        raise InvalidInput(f"There are {len(values)} values and {len(at)} times; give one finite time each.", "at")
    for low, high in pairwise([*range(0, len(values), BLOCK), len(values)]):
        state = _judged(state, values[low:high], shares[low:high], at[low:high])
    return state


def alarm(state: State) -> bool:
    """Whether the evidence has sufficed at any moment since the start."""
    return state.alarm is not None


def _judged(state: State, values: Floats, shares: Floats, at: Floats) -> State:
    rules = state.rules
    gains = log_gains(values, shares, rules.bound, np.array(rules.rates))
    paths = log_paths(np.array(state.log_cusums), gains)
    starts = _starts(state, paths, at)
    alarmed, reached = state.alarm, crossed(paths, rules.threshold)
    if alarmed is None and reached.any():
        first = int(np.argmax(reached))
        evidence = float(log_evidence(paths[first]))
        alarmed = Alarm(state.seen + first + 1, float(at[first]), _since(paths[first], starts[first]), evidence)
    return replace(
        state,
        seen=state.seen + len(values),
        log_cusums=tuple(paths[-1].tolist()),
        starts=tuple(starts[-1].tolist()),
        alarm=alarmed,
    )


def _starts(state: State, paths: Floats, at: Floats) -> Floats:
    """After each value, when the first of those was that each CUSUM holds: it starts anew where it was worth ≤ 1."""
    anew = np.concatenate([np.array(state.log_cusums)[np.newaxis], paths[:-1]]) <= 0
    place = np.maximum.accumulate(np.where(anew, np.arange(len(at))[:, np.newaxis], -1), axis=0)
    return np.where(place >= 0, at[place], np.array(state.starts))


def _since(log_cusums: tuple[float, ...] | Floats, starts: tuple[float, ...] | Floats) -> float:
    return float(starts[int(np.argmax(log_cusums))])


def _refuse_unbounded(given: Floats, name: str, length: int) -> None:
    if len(given) != length:
        raise InvalidInput(f"There are {length} values and {len(given)} {name}; give one each.", name)
    outside = given[~((given >= 0) & (given <= 1))]
    if outside.size:
        raise InvalidInput(f"One of the {name} is {outside[0]}; each lies between 0 and 1.", name)
