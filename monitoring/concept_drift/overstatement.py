"""Does the champion still know what it claims to know? One bounded value a row, blind to the base rate.

Log loss and the Brier score move with the base rate and the hour, whatever the model is worth. What a change of concept
takes away is that outcomes follow the scores: high ones come true less often than they say, low ones more often. That
is the slope of Cox's calibration line falling below 1 ("Two further applications of a model for binary regression",
1958), and its score statistic is, for a row with score s and label y,

    (s − y) · (log-odds of s − centre),

where the centre is the mean of the log-odds, weighed by s(1 − s): then a shift of all log-odds alike, which is what a
base rate does that no feature tells of, changes the mean by nothing. The mean is 0 where scores are right, whichever
rows are shown or get a label, as long as that depends on the features alone: no weights are needed.

The weight of a row is bounded so that its value is never below −LOWEST, whatever its label, and never above 1: its mean
stays 0, and a bet on it may be bold, since it can only lose little.
"""

from dataclasses import dataclass

import numpy as np

from contracts.system import Floats

LOWEST = 0.25  # the most that a row may speak for the champion, where 1.0 is the most that one may speak against it
REACH = 2.0  # standard deviations of the log-odds, beyond which a row weighs no more
EDGES = np.linspace(-10.0, 10.0, 81)  # of the bins in which log-odds are counted
SMALLEST = 1e-5  # scores are kept this far from 0 and 1
HALVINGS = 40


@dataclass(frozen=True)
class Spread:
    """How the log-odds of scored rows spread: s(1 − s) summed over the rows of each bin. No label enters."""

    mass: Floats

    @property
    def width(self) -> float:
        """Their standard deviation, weighed by s(1 − s)."""
        middles = (EDGES[:-1] + EDGES[1:]) / 2
        mean = float(np.average(middles, weights=self.mass))
        return float(np.sqrt(np.average((middles - mean) ** 2, weights=self.mass) + (EDGES[1] - EDGES[0]) ** 2 / 12))


def spread_of(scores: Floats, before: Spread | None = None) -> Spread:
    """The spread of these rows, and of those before them."""
    kept = np.clip(scores, SMALLEST, 1 - SMALLEST)
    mass = np.histogram(np.clip(_log_odds(kept), EDGES[0], EDGES[-1]), EDGES, weights=kept * (1 - kept))[0]
    return Spread(np.asarray(mass if before is None else mass + before.mass, np.float64))


def overstatements(labels: Floats, scores: Floats, spread: Spread, allowed: float = 0.0) -> Floats:
    """A value in [0, 1] for each row; its mean is at most `NORMAL` where the log-odds of the scores are at most the
    share `allowed` too far apart."""
    kept = np.clip(scores, SMALLEST, 1 - SMALLEST)
    centre = _centre(spread)
    weights = _weights(kept, centre, spread.width)
    odds = centre + (1 - allowed) * (_log_odds(kept) - centre)
    worth = (1 / (1 + np.exp(-odds)) - labels) * weights
    return np.asarray(np.clip((worth + LOWEST) / (1 + LOWEST), 0.0, 1.0), np.float64)


NORMAL = LOWEST / (1 + LOWEST)  # what a worth of 0 becomes


def _centre(spread: Spread) -> float:
    """Where the weights, themselves weighed by s(1 − s), add up to 0. They fall as the centre rises: by bisection."""
    middles, width = (EDGES[:-1] + EDGES[1:]) / 2, spread.width
    scores = 1 / (1 + np.exp(-middles))
    low, high = float(EDGES[0]), float(EDGES[-1])
    for _ in range(HALVINGS):
        centre = (low + high) / 2
        if float(spread.mass @ _weights(scores, centre, width)) > 0:
            low = centre
        else:
            high = centre
    return (low + high) / 2


def _weights(scores: Floats, centre: float, width: float) -> Floats:
    """Of a row: its log-odds' distance from the centre, as far as its value stays within −LOWEST and 1."""
    away = (_log_odds(scores) - centre) / (REACH * width)
    return np.clip(away, -np.minimum(1.0, LOWEST / scores), np.minimum(1.0, LOWEST / (1 - scores)))


def _log_odds(scores: Floats) -> Floats:
    return np.asarray(np.log(scores) - np.log1p(-scores), np.float64)
