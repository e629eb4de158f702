"""What the answers say: goodput, refusals, the way back to normal, stalls, and slopes with their intervals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.overload.arrivals import NO_ANSWER, Answers

REFUSALS = (429, 503)
CALM = 1.5  # times the p99 from before the overload: normal again
APART = 0.1  # seconds without a late answer between two stalls
DRAWN = 2_000  # bootstrap samples

Series = NDArray[np.float64]


@dataclass(frozen=True)
class Goodput:
    """A load with what came of it. Rates a second of the span in which requests were due, milliseconds."""

    asked: float  # requests a second
    good: float  # whole answers within the deadline, a second
    late: float  # whole answers after it, a second
    others: dict[str, int]  # requests without a whole answer, by kind
    p50: float  # of whole answers, from when they were due
    p99: float
    refused_p99: float  # from when it was sent
    refused_p99_due: float  # … from when it was due: with what the generator was late by, and waits for a connection
    without_retry: int  # refusals without Retry-After


@dataclass(frozen=True)
class Stall:
    """Answers that came later than they may, one after the other."""

    begin: float  # when the first of them was due …
    end: float  # … and the last of them came
    answers: int
    longest: float  # milliseconds


@dataclass(frozen=True)
class Slope:
    """A slope a minute, with its 95% interval."""

    each_minute: float
    low: float
    high: float


def goodput(found: Answers, seconds: float, deadline: float) -> Goodput:
    """What came of a load of so many seconds; the deadline in seconds."""
    whole = found.whole == 1.0
    in_time = whole & (found.ended - found.due <= deadline)
    refused = np.isin(found.status, REFUSALS)
    return Goodput(
        asked=len(found.due) / seconds,
        good=int(in_time.sum()) / seconds,
        late=int((whole & ~in_time).sum()) / seconds,
        others=_kinds(found.status[~whole]),
        p50=percentile(found.waited[whole], 50),
        p99=percentile(found.waited[whole], 99),
        refused_p99=percentile((found.ended - found.sent)[refused] * 1e3, 99),
        refused_p99_due=percentile(found.waited[refused], 99),
        without_retry=int((refused & (found.retry_after == 0.0)).sum()),
    )


def recovery(found: Answers, before: float, seconds: int) -> int | None:
    """Whole seconds after the overload from which on the p99 is at most `CALM` times that of before; None if never.

    The load after it lasts `seconds`; a second counts only where a third of them is still to come.
    """
    since = found.due - found.due.min()
    for second in range(seconds * 2 // 3):
        if percentile(found.waited[since >= second], 99) <= CALM * before:
            return second
    return None


def windows(at: Series, values: Series, width: float, share: float) -> Series:
    """The percentile in each whole window of `width` seconds, in order; `at` in seconds, in any order."""
    since = at - at.min()
    count = int((since.max() + 1e-9) // width)
    number = (since // width).astype(np.int64)
    return np.array([percentile(values[number == each], share) for each in range(count)])


def slope(values: Series, width: float, block: int, seed: int) -> Slope:
    """Least squares over values that are `width` seconds apart.

    The interval is from residuals resampled in moving blocks of `block` neighbours, which keeps how they depend on each
    other (Künsch, 1989, The jackknife and the bootstrap for general stationary observations).
    """
    minutes = np.arange(len(values)) * width / 60
    centred = minutes - minutes.mean()
    weights = centred / (centred**2).sum()
    fitted = float(weights @ values)
    residuals = values - values.mean() - fitted * centred
    random = np.random.default_rng(seed)
    blocks = -(-len(values) // block)
    starts = random.integers(len(values) - block + 1, size=(DRAWN, blocks, 1))
    drawn = residuals[(starts + np.arange(block)).reshape(DRAWN, -1)[:, : len(values)]]
    low, high = np.percentile(fitted + drawn @ weights, (2.5, 97.5))
    return Slope(fitted, float(low), float(high))


def stalls(found: Answers, longest: float) -> list[Stall]:
    """Answers that took longer than so many milliseconds, those within `APART` together, in order of time."""
    slow = found.waited > longest
    order = np.argsort(found.due[slow])
    due, ended, waited = found.due[slow][order], found.ended[slow][order], found.waited[slow][order]
    if not len(due):
        return []
    reached = np.maximum.accumulate(ended)
    cuts = np.flatnonzero(due[1:] > reached[:-1] + APART) + 1
    return [
        Stall(float(due[part[0]]), float(ended[part].max()), len(part), float(waited[part].max()))
        for part in np.split(np.arange(len(due)), cuts)
    ]


def longest(found: Sequence[Stall], most: int) -> list[Stall]:
    """At most so many of them, the longest first."""
    return sorted(found, key=lambda one: -one.longest)[:most]


def percentile(values: Series, share: float) -> float:
    """By nearest rank; NaN of nothing."""
    return float(np.percentile(values, share, method="inverted_cdf")) if len(values) else float("nan")


def _kinds(status: Series) -> dict[str, int]:
    names = {NO_ANSWER: "no answer", 200.0: "not whole"}
    return dict(Counter(names.get(one, f"status {one:.0f}") for one in status.tolist()))
