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
class _Finding:
    name: str
    interval: Interval
    passed: bool
    sentence: str


def judge(
    gate: Gate,
    y: Floats,
    candidate: Floats,
    champion: Floats | None,
    baselines: Mapping[str, Floats],
    slices: Mapping[str, NDArray[Any]],
) -> Judgement:
    """Judge a candidate's scores on hold-out rows beside the champion's (None: there is none) and the baselines'.

    InvalidInput when the candidate's or the champion's scores are not probabilities for these rows.
    """
    if fault := _unfit(gate, y):
        return Judgement(False, (fault,), {})
    losses = log_losses(y, candidate)
    findings = [*_against_baselines(gate, losses, y, baselines)]
    if champion is not None:
        worse = losses - log_losses(y, champion)
        findings += [_against_champion(gate, worse), *_on_slices(gate, worse, slices)]
    refusals = tuple(each.sentence for each in findings if not each.passed)
    praise = tuple(each.sentence for each in findings if not each.name.startswith("slice "))
    return Judgement(not refusals, refusals or praise, {each.name: each.interval for each in findings})


def interval(differences: Floats, confidence: float, resamples: int, seed: int = SEED) -> Interval:
    """The percentile bootstrap interval of the mean."""
    generator = np.random.default_rng(seed)
    count = len(differences)
    means = [differences[generator.integers(0, count, count, dtype=np.int32)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(differences.mean()), float(high))


def _unfit(gate: Gate, y: Floats) -> str | None:
    if len(y) < gate.min_rows:
        return f"The hold-out has {len(y):,} rows, and the gate asks for at least {gate.min_rows:,}."
    if not 0 < y.mean() < 1:
        return f"All {len(y):,} labels of the hold-out are {y[0]:g}, which says nothing about a model."
    return None


def _against_baselines(gate: Gate, losses: Floats, y: Floats, baselines: Mapping[str, Floats]) -> Iterator[_Finding]:
    for name, scores in baselines.items():
        found = interval(losses - log_losses(y, scores), gate.confidence, gate.resamples)
        passed = found.high < 0
        verb = "beats" if passed else "does not surely beat"
        yield _Finding(name, found, passed, f"It {verb} the baseline {name}: log loss {found}.")


def _against_champion(gate: Gate, worse: Floats) -> _Finding:
    found = interval(worse, gate.confidence, gate.resamples)
    passed = found.high < gate.margin
    verb = "is not worse" if passed else "may be worse"
    sentence = f"It {verb} than the champion by the margin of {gate.margin:g}: log loss {found}."
    return _Finding("champion", found, passed, sentence)


def _on_slices(gate: Gate, worse: Floats, slices: Mapping[str, NDArray[Any]]) -> Iterator[_Finding]:
    for name, rows in slices_of(slices, gate.min_slice_rows).items():
        found = interval(worse[rows], gate.confidence, gate.resamples)
        passed = found.low <= gate.slice_margin
        sentence = f"It is worse than the champion on {name} by more than {gate.slice_margin:g}: log loss {found}."
        yield _Finding(f"slice {name}", found, passed, sentence)
