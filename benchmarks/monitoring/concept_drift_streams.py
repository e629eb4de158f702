"""Streams of losses, and the platform's detector over many of them at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitoring.concept_drift_rows import Delays, RunLength
from contracts.system import Floats
from monitoring.concept_drift.bound import upper_bound
from monitoring.concept_drift.cusum import crossed, log_gains, log_paths
from monitoring.concept_drift.detector import Rules

Values = tuple[Floats, Floats | float]  # losses, steps × streams, and their shares
Draw = Callable[[np.random.Generator, int, int], Values]
NEVER = -1
HOLDOUTS = 200  # different hold-outs; streams share them in turn, for finding a bound takes longer than a stream


@dataclass(frozen=True)
class Watched:
    """Streams under the same rules, each with a bound of its own (that of the rules is not used)."""

    rules: Rules
    bounds: Floats

    @property
    def streams(self) -> int:
        return len(self.bounds)


class Watch:
    """The e-CUSUM on many streams side by side; one that has alarmed begins anew at the end of the block."""

    def __init__(self, watched: Watched) -> None:
        self.rules, self.bounds = watched.rules, watched.bounds
        self.state = np.zeros((watched.streams, len(self.rules.rates)))

    def step(self, values: Values) -> NDArray[np.int64]:
        """Judge a block: for each stream the place in it of the first alarm, or NEVER."""
        losses, shares = values
        paths = log_paths(self.state, log_gains(losses, shares, self.bounds, np.array(self.rules.rates)))
        reached = crossed(paths, self.rules.threshold)
        alarmed = np.asarray(reached.any(axis=0))
        self.state = np.where(alarmed[:, np.newaxis], 0.0, paths[-1])
        return np.where(alarmed, reached.argmax(axis=0), NEVER)


@dataclass(frozen=True)
class Size:
    """How much is simulated: streams side by side, labels without a change (in all), labels of one river stream."""

    streams: int
    labels: int
    holdouts: int
    river_streams: int
    river_labels: int


FULL = Size(streams=4_000, labels=200_000_000, holdouts=HOLDOUTS, river_streams=400, river_labels=3_000_000)
QUICK = Size(streams=100, labels=200_000, holdouts=4, river_streams=4, river_labels=20_000)
AFTER, BLOCK = 5_000, 250  # labels after a change at most, and judged at a time


@dataclass(frozen=True)
class Change:
    """An error rate that changes after so many labels."""

    normal: float
    changed: float
    before: int


def errors(rate: float | Floats) -> Draw:
    """0/1 losses at a rate, or at one for each stream."""

    def draw(random: np.random.Generator, steps: int, streams: int) -> Values:
        return (random.random((steps, streams)) < rate).astype(np.float64), 1.0

    return draw


def selected(rate: float | Floats, hard: float, easy: float) -> Draw:
    """The labels that come where a fifth of the predictions, the hard ones, get theirs with probability `hard`, and the
    others with `easy`. Six in ten of all errors are among the hard. The shares are what known propensities give."""
    asked = 0.2 * hard / labelled_share(hard, easy)
    rarest = min(hard, easy)

    def draw(random: np.random.Generator, steps: int, streams: int) -> Values:
        is_hard = random.random((steps, streams)) < asked
        wrong = random.random((steps, streams)) < np.where(is_hard, 3.0 * rate, 0.5 * rate)
        return wrong.astype(np.float64), np.where(is_hard, rarest / hard, rarest / easy)

    return draw


def labelled_share(hard: float, easy: float) -> float:
    """The share of all predictions that get a label."""
    return 0.2 * hard + 0.8 * easy


def unweighted(draw: Draw) -> Draw:
    """The same labels, each taken to stand for itself: what is wrong with selective ones."""

    def bare(random: np.random.Generator, steps: int, streams: int) -> Values:
        return draw(random, steps, streams)[0], 1.0

    return bare


def pages(rate: float | Floats, rows: int, whole: bool) -> Draw:
    """Pages of `rows` rows that share a moment: each page's own error rate is drawn around `rate` (a beta distribution;
    two rows of a page correlate by 1/4). `whole`: a page is one value, its mean; else every row is one."""

    def draw(random: np.random.Generator, steps: int, streams: int) -> Values:
        count = steps if whole else steps // rows
        own = random.beta(3 * rate, 3 * (1 - rate), (count, streams))
        if whole:
            return random.binomial(rows, own) / rows, 1.0
        return (random.random((count * rows, streams)) < np.repeat(own, rows, axis=0)).astype(np.float64), 1.0

    return draw


def over_the_day(low: float, high: float, day: int) -> Draw:
    """0/1 losses whose rate swings between two values within a day of so many labels."""
    moment = 0

    def draw(random: np.random.Generator, steps: int, streams: int) -> Values:
        nonlocal moment
        turn = np.sin(2 * np.pi * np.arange(moment, moment + steps) / day)
        moment += steps
        rates = (low + high) / 2 + (high - low) / 2 * turn
        return (random.random((steps, streams)) < rates[:, np.newaxis]).astype(np.float64), 1.0

    return draw


def bounds_of(draw: Draw, rows: int, size: Size, seed: int, margin: float) -> Floats:
    """The bound of each stream: its own hold-out's, at 99%, and a margin."""
    random = np.random.default_rng([seed, 1])
    found = []
    for _ in range(size.holdouts):
        losses, shares = draw(random, rows, 1)
        found.append(upper_bound(losses[:, 0], 0.99, np.broadcast_to(shares, losses.shape)[:, 0]) + margin)
    return np.resize(np.array(found), size.streams)


def run_length(draw: Draw, watched: Watched, labels: int, seed: int) -> RunLength:
    """False alarms over `labels` labels in all, where nothing changes."""
    random, watch, streams = np.random.default_rng([seed, 2]), Watch(watched), watched.streams
    alarms = counted = 0
    while counted < labels:
        first = watch.step(draw(random, BLOCK, streams))
        alarms += int((first != NEVER).sum())
        counted += int(np.where(first == NEVER, BLOCK, first + 1).sum())
    return RunLength(alarms, counted)


def delays(draws: tuple[Draw, Draw], watched: Watched, before: int, seed: int) -> Delays:
    """Labels from the change between two draws, after `before` labels of the first, to the first alarm of the second;
    infinite where there is none within AFTER."""
    random, watch, streams = np.random.default_rng([seed, 3]), Watch(watched), watched.streams
    for _ in range(before // BLOCK):
        watch.step(draws[0](random, BLOCK, streams))
    found = np.full(streams, np.inf)
    for past in range(0, AFTER, BLOCK):
        first = watch.step(draws[1](random, BLOCK, streams))
        found = np.where(np.isinf(found) & (first != NEVER), past + first + 1, found)
        if np.isfinite(found).all():
            break
    return Delays(found)
