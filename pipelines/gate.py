"""The gate between a trained candidate and serving. Pure: labels and scores in, a judgement in sentences out.

Every comparison is paired (the same rows, the same resamples) and judged by a bootstrap interval of the mean
difference of log losses (Efron and Tibshirani 1993, chapter 13): a point estimate never promotes. Candidate and
champion are compared on the newest rows: when the world has changed and the champion grown bad, the candidate wins.
Where the champion has seen some of these rows in its own training, that favours the champion: the careful side.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.system import Floats, Gate
from pipelines.metrics import log_losses, slices_of

SEED = 0  # the same rows get the same judgement


@dataclass(frozen=True)
class Interval:
    """A mean difference of log losses per row (below 0: the candidate is better), and its interval."""

    low: float
    mean: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.5f} [{self.low:+.5f}, {self.high:+.5f}]"


@dataclass(frozen=True)
class Judgement:
    """Whether a candidate may serve, why (not), and the intervals behind it, by what it was compared with."""

    passed: bool
    reasons: tuple[str, ...]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True)
class Rows:
    """Hold-out rows: their labels, the values that cut them into slices, and how many rows each stands for (None: one,
    each)."""

    y: Floats
    slices: Mapping[str, NDArray[Any]]
    importance: Floats | None = None

    @property
    def weights(self) -> Floats:
        return np.ones(len(self.y)) if self.importance is None else self.importance


@dataclass(frozen=True)
class _Finding:
    name: str
    interval: Interval
    passed: bool
    sentence: str


def judge(
    gate: Gate,
    rows: Rows,
    candidate: Floats,
    champion: Floats | None,
    baselines: Mapping[str, Floats],
) -> Judgement:
    """Judge a candidate's scores on hold-out rows beside the champion's (None: there is none) and the baselines'.

    InvalidInput when the candidate's or the champion's scores are not probabilities for these rows.
    """
    if fault := _unfit(gate, rows.y):
        return Judgement(False, (fault,), {})
    losses = log_losses(rows.y, candidate)
    findings = [*_against_baselines(gate, losses, rows, baselines)]
    if champion is not None:
        worse = losses - log_losses(rows.y, champion)
        findings += [_against_champion(gate, worse, rows.weights), *_on_slices(gate, worse, rows)]
    refusals = tuple(each.sentence for each in findings if not each.passed)
    praise = tuple(each.sentence for each in findings if not each.name.startswith("slice "))
    return Judgement(not refusals, refusals or praise, {each.name: each.interval for each in findings})


def interval(differences: Floats, gate: Gate, weights: Floats | None = None, seed: int = SEED) -> Interval:
    """The percentile bootstrap interval of the mean; with weights of the weighted one, whose rows are drawn together
    with their weights."""
    generator = np.random.default_rng(seed)
    count = len(differences)
    weights = np.ones(count) if weights is None else weights
    total = differences * weights
    draws = (generator.integers(0, count, count, dtype=np.int32) for _ in range(gate.resamples))
    means = [total[drawn].sum() / weights[drawn].sum() for drawn in draws]
    low, high = np.quantile(means, [(1 - gate.confidence) / 2, (1 + gate.confidence) / 2])
    return Interval(float(low), float(total.sum() / weights.sum()), float(high))


def _unfit(gate: Gate, y: Floats) -> str | None:
    if len(y) < gate.min_rows:
        return f"The hold-out has {len(y):,} rows, and the gate asks for at least {gate.min_rows:,}."
    if not 0 < y.mean() < 1:
        return f"All {len(y):,} labels of the hold-out are {y[0]:g}, which says nothing about a model."
    return None


def _against_baselines(gate: Gate, losses: Floats, rows: Rows, baselines: Mapping[str, Floats]) -> Iterator[_Finding]:
    for name, scores in baselines.items():
        found = interval(losses - log_losses(rows.y, scores), gate, rows.weights)
        passed = found.high < 0
        verb = "beats" if passed else "does not surely beat"
        yield _Finding(name, found, passed, f"It {verb} the baseline {name}: log loss {found}.")


def _against_champion(gate: Gate, worse: Floats, weights: Floats) -> _Finding:
    found = interval(worse, gate, weights)
    passed = found.high < gate.margin
    verb = "is not worse" if passed else "may be worse"
    sentence = f"It {verb} than the champion by the margin of {gate.margin:g}: log loss {found}."
    return _Finding("champion", found, passed, sentence)


def _on_slices(gate: Gate, worse: Floats, rows: Rows) -> Iterator[_Finding]:
    for name, inside in slices_of(rows.slices, gate.min_slice_rows).items():
        found = interval(worse[inside], gate, rows.weights[inside])
        passed = found.low <= gate.slice_margin
        sentence = f"It is worse than the champion on {name} by more than {gate.slice_margin:g}: log loss {found}."
        yield _Finding(f"slice {name}", found, passed, sentence)
