"""What is normal: an upper bound of the mean loss, from the hold-out that the champion was measured on."""

import math

import numpy as np

from contracts.errors import InvalidInput
from contracts.system import Floats

BOLDEST = 0.75  # no bet risks more of its stake than this
HALVINGS = 40  # of the interval in which the bound is sought


def upper_bound(values: Floats, confidence: float, shares: Floats | None = None) -> float:
    """A bound that lies above the mean loss with at least `confidence`, whatever the losses' distribution on [0, 1].

    `values` (and `shares`) as `detector.update` takes them: one a prediction, independent of each other. Method: bets
    that the mean is below m, with stakes fitted to the variance of the values before; the bound is the smallest m at
    which they would have multiplied by 1 / (1 − confidence), which happens no more often than 1 − confidence if the
    mean is m (Markov's inequality; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
    2024, the predictable plug-in at a fixed number of values). 1.0 when there are too few values to say.
    """
    if not 0 < confidence < 1:
        raise InvalidInput(f"The confidence is {confidence}; give one between 0 and 1.", "confidence")
    shares = np.ones(len(values)) if shares is None else shares
    stakes, enough = _stakes(values, shares, confidence), -math.log1p(-confidence)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _log_wealth(middle, values, shares, stakes) < enough:
            low = middle
        else:
            high = middle
    return high


def _stakes(values: Floats, shares: Floats, confidence: float) -> Floats:
    """What is staked on each value, from those before it alone, or the bets would not be fair."""
    mean = (0.5 + np.cumsum(shares * values)) / (1.0 + np.cumsum(shares))
    squares = (0.25 + np.cumsum((shares * (values - mean)) ** 2)) / np.arange(2, len(values) + 2)
    variance = np.concatenate([[0.25], squares])[: len(values)]
    return np.sqrt(-2 * math.log1p(-confidence) / (variance * max(len(values), 1)))


def _log_wealth(bound: float, values: Floats, shares: Floats, stakes: Floats) -> float:
    staked = np.minimum(stakes, BOLDEST / (1.0 - bound))  # the worst value, 1.0, loses stake · (1 − bound)
    return float(np.log1p(staked * shares * (bound - values)).sum())
