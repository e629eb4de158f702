"""A champion watched from its first answer on: what has been read of its labels, and what they said."""

import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import Floats
from monitoring.concept_drift.bound import upper_bound
from monitoring.concept_drift.detector import Rules, State, start, update
from monitoring.concept_drift.overstatement import NORMAL, Spread, overstatements, spread_of
from monitoring.concept_drift.predictions import per_prediction

SURE = 0.99  # that what is normal lies below the bound
LEARNED = 20_000  # rows, from which on the spread of a champion's scores is known: drift must not move its own measure


@dataclass(frozen=True)
class LabelledRows:
    """Rows whose labels are final, in time order: labels (0.0 or 1.0), the champion's scores, of which prediction each
    is, and when that was made (seconds since the epoch)."""

    labels: Floats
    scores: Floats
    predictions: NDArray[np.object_]
    at: Floats


@dataclass(frozen=True)
class Watch:
    """The detector's state, the spread of the scores that were served, and how far the log has been read."""

    until: float  # rows before this moment (seconds since the epoch) are in
    rows: int
    spread: Spread | None  # None before the first row
    detector: State

    def dump(self) -> str:
        """As JSON, for `load`."""
        mass = None if self.spread is None else self.spread.mass.tolist()
        return json.dumps({"until": self.until, "rows": self.rows, "mass": mass, "detector": self.detector.dump()})

    @staticmethod
    def load(text: str) -> "Watch":
        """The watch that `dump` wrote."""
        kept = json.loads(text)
        spread = None if kept["mass"] is None else Spread(np.array(kept["mass"], np.float64))
        return Watch(kept["until"], kept["rows"], spread, State.load(kept["detector"]))


def begin(held: LabelledRows, run_length: float, since: float) -> Watch:
    """Nothing read yet; what is normal comes from the hold-out. InvalidInput where that is too small to say."""
    values = overstatements(held.labels, held.scores, spread_of(held.scores)) if len(held.labels) else held.labels
    bound = max(NORMAL, upper_bound(per_prediction(values, held.predictions).values, SURE))
    if bound >= 1.0:
        raise InvalidInput(
            f"A hold-out of {len(held.labels):,} rows is too small to say what is normal; train on more of them."
        )
    return Watch(since, 0, None, start(Rules(bound, run_length)))


def follow(watch: Watch, rows: LabelledRows, allowed: float, until: float) -> Watch:
    """The watch after the rows up to `until`. `allowed` is the share by which the scores' log-odds may be too far apart
    before it counts as drift, beyond what the hold-out's labels leave open."""
    if not len(rows.labels):
        return replace(watch, until=until)
    spread = watch.spread
    if spread is None or watch.rows < LEARNED:
        spread = spread_of(rows.scores, spread)
    values = overstatements(rows.labels, rows.scores, spread, allowed)
    found = per_prediction(values, rows.predictions)
    detector = update(watch.detector, found.values, at=rows.at[found.first])
    return Watch(until, watch.rows + len(rows.labels), spread, detector)
