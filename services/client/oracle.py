"""How good the served scores were, held against the world's own probabilities: what only a simulation can know."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from contracts.ports import Archive
from contracts.system import AT, System
from contracts.world import World

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """Over the matured rows of a span: normalised cross-entropy of what was served, and of the oracle, as the world's
    probabilities have it: with those for labels, chance plays no part in either, however rare the label.

    Normalised by the entropy of the span's own base rate (He et al., "Practical Lessons from Predicting Clicks on Ads
    at Facebook", 2014, section 3): 1 is no better than knowing the base rate, lower is better.
    """

    rows: int
    base_rate: float
    served: float
    oracle: float

    @property
    def gap(self) -> float:
        return self.served - self.oracle


def quality(archive: Archive, system: System, world: World, since: datetime, until: datetime) -> Quality | None:
    """Quality of what was served in [since, until) and is mature by then; None where that is nothing.

    Where answers decide who gets a label (`Task.censored`) rows count by one over their propensity.
    """
    rows = archive.labelled(system, since, until, until)
    rows = rows[rows["place"] >= 0]
    if rows.empty:
        return None
    truth = world.truth({name: rows[name].to_numpy() for name in (*system.features.source.columns, AT) if name in rows})
    weights = 1 / rows["propensity"].to_numpy(np.float64) if system.task.censored else np.ones(len(rows))
    base = float(np.average(truth, weights=weights))
    entropy = _log_loss(truth, np.full_like(truth, base), weights)
    served = _log_loss(truth, rows["score"].to_numpy(np.float64), weights)
    return Quality(len(rows), base, served / entropy, _log_loss(truth, truth, weights) / entropy)


def _log_loss(probabilities: Values, scores: Values, weights: Values) -> float:
    """Expected log loss a row."""
    kept = np.clip(scores, 1e-7, 1 - 1e-7)
    losses = probabilities * np.log(kept) + (1 - probabilities) * np.log1p(-kept)
    return float(-np.average(losses, weights=weights))
