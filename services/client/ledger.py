"""The client's own account of what was acknowledged: the log is held against it, never the other way round."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

KEPT_LATENCIES = 20_000
KINDS = 100  # of failures that are counted apart; a message may name a prediction, and there is no end of those
OTHERS = "other failures"


@dataclass
class Ledger:
    """Grows by one entry an acknowledgement; one that is not `complete` counts alone, and stays small."""

    complete: bool = True
    answered: int = 0  # predictions acknowledged
    reported: int = 0  # outcomes acknowledged
    unsent: int = 0  # requests that were due while too many others waited for an answer
    predictions: dict[str, str] = field(default_factory=dict)  # prediction_id → the version that answered
    outcomes: set[tuple[str, str | None, float]] = field(default_factory=set)  # prediction_id, item, label
    versions: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)  # attempts that were not acknowledged, by kind of error
    made_good: int = 0  # of these attempts, those at something that was acknowledged later
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))  # seconds

    def answer(
        self, prediction_id: str, version: str, degraded: Iterable[str], seconds: float, failures: int = 0
    ) -> None:
        """A prediction was acknowledged, after so many seconds and so many attempts that were not."""
        self.answered += 1
        self.made_good += failures
        self.versions[version] += 1
        self.degraded.update(degraded)
        self.latencies.append(seconds)
        if self.complete:
            self.predictions[prediction_id] = version

    def report(self, prediction_id: str, item: str | None, label: float, failures: int = 0) -> None:
        """An outcome was acknowledged, after so many attempts that were not."""
        self.reported += 1
        self.made_good += failures
        if self.complete:
            self.outcomes.add((prediction_id, item, label))

    def fail(self, reason: str) -> None:
        """A prediction, an outcome or an item was not acknowledged."""
        self.failures[reason if reason in self.failures or len(self.failures) < KINDS else OTHERS] += 1

    @property
    def failed(self) -> int:
        """How often something was not acknowledged."""
        return sum(self.failures.values())

    @property
    def lost(self) -> int:
        """Attempts at what has not been acknowledged to this day."""
        return self.failed - self.made_good

    def percentile(self, share: float) -> float:
        """A percentile of the latest latencies, in milliseconds; NaN before the first answer."""
        return float(np.percentile(self.latencies, share) * 1000) if self.latencies else float("nan")
