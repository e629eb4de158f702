"""How good the served scores were, held against the world's own probabilities: what only a simulation can know."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from contracts.ports import Archive
from contracts.system import System
from contracts.world import World

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """Over the matured rows of a span: normalised cross-entropy of what was served, and of the oracle.

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
    """Quality of what was served in [since, until) and is mature by then; None while only one outcome was seen."""
    rows = archive.labelled(system, since, until, until)
    labels = rows[system.task.target].to_numpy(np.float64)
    if labels.size == 0 or labels.min() == labels.max():
        return None
    truth = world.truth(
        {name: rows[name].to_numpy() for name in (*system.features.source.columns, "at") if name in rows}
    )
    base = float(labels.mean())
    entropy = _log_loss(labels, np.full_like(labels, base))
    served = _log_loss(labels, rows["score"].to_numpy(np.float64))
    return Quality(len(rows), base, served / entropy, _log_loss(labels, truth) / entropy)


def _log_loss(labels: Values, scores: Values) -> float:
    kept = np.clip(scores, 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(kept) + (1 - labels) * np.log1p(-kept)))
