"""From evidence to a rate of false alarms: the largest evidence of any column, as past windows had it.

One window in thousands cannot be read off hundreds of them, so the tail is extrapolated. Were every p-value right, the
evidence −log p would be exponential with mean 1; that of past windows above their 90th percentile is taken as
exponential with the mean that they show, drawn towards 1 where they are few, and never under 1 (peaks over threshold
with shape 0: Coles, An Introduction to Statistical Modeling of Extreme Values, 2001, section 4.3; the mean under the
conjugate prior).

Taking the maximum over columns corrects for their number and for what they have in common (Westfall and Young,
Resampling-Based Multiple Testing, 1993, section 2.3). Windows next to each other are alike, so the threshold's own
uncertainty comes from resampling blocks of them (Künsch, Annals of Statistics 17, 1989); its upper end is what is used.
"""

import math
from dataclasses import dataclass

import numpy as np

from monitoring.data_drift.columns import Floats

TAIL = 0.1  # the share of past windows that the tail is fitted to
RESAMPLES, UPPER = 400, 0.8
PRIOR = 60.0  # exceedances that the mean 1 counts for
MOST = 10.0  # an exceedance counts as at most this: one bad window in the past hides no later one


@dataclass(frozen=True)
class Tail:
    """The distribution of a steady window's largest evidence."""

    start: float  # its 90th percentile
    mean: float  # of what lies above
    body: Floats  # past windows' evidence, sorted
    threshold: float  # exceeded as rarely as was asked for

    def probability(self, largest: float) -> float:
        """That a steady window has any column with so much evidence: the p-value corrected over columns."""
        if largest > self.start:
            return TAIL * math.exp(-(largest - self.start) / self.mean)
        return float(np.mean(self.body >= largest))


def tail(largest: Floats, rate: float, block: int = 24, seed: int = 0) -> Tail:
    """From past windows' largest evidence, in the order of time. `rate` is that of false alarms, a window; blocks of
    so many windows are resampled."""
    random = np.random.default_rng(seed)
    blocks = math.ceil(len(largest) / block)
    firsts = random.integers(0, max(len(largest) - block, 0) + 1, (RESAMPLES, blocks))
    places = (firsts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, : len(largest)] % len(largest)
    starts, means = _fitted(largest[places])
    upper = float(np.quantile(starts + means * math.log(TAIL / rate), UPPER))
    start, _ = (float(one[0]) for one in _fitted(largest[None]))
    return Tail(start, (upper - start) / math.log(TAIL / rate), np.sort(largest), upper)


def _fitted(largest: Floats) -> tuple[Floats, Floats]:
    """Of each row: where the tail begins, and the mean of what lies above."""
    start = np.quantile(largest, 1 - TAIL, axis=1)
    above = largest > start[:, None]
    excess = np.clip(largest - start[:, None], 0.0, MOST).sum(axis=1)
    return start, np.maximum((excess + PRIOR) / (above.sum(axis=1) + PRIOR), 1.0)
