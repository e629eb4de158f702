"""The client's own account of what was acknowledged: the log is held against it, never the other way round."""

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

KEPT_LATENCIES = 20_000


@dataclass
class Ledger:
    """Grows by one entry an acknowledgement."""

    predictions: dict[str, str] = field(default_factory=dict)  # prediction_id → the version that answered
    outcomes: set[tuple[str, str | None, float]] = field(default_factory=set)  # prediction_id, item, label
    versions: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)  # by kind of error, unacknowledged
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))  # seconds

    def percentile(self, share: float) -> float:
        """A percentile of the latest latencies, in milliseconds; NaN before the first answer."""
        return float(np.percentile(self.latencies, share) * 1000) if self.latencies else float("nan")
