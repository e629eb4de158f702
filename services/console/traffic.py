"""The gateway's traffic now: what its counters and histograms gained between two scrapes.

The window is as long as the scrapes of the last half minute reach back: a rate of one poll would jump about, and one
since the gateway's start would not move at all.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.records import FEATURES_UNAVAILABLE
from services.console.exposition import Exposition

WINDOW = 30.0  # seconds
LEAST = 0.5  # seconds between two scrapes, for a rate
SECONDS = "flywheel_gateway_seconds"
REQUESTS = "flywheel_gateway_requests_total"
ANSWERS = "flywheel_gateway_answers_total"
STAGES = ("retrieve", "features", "score", "log")


@dataclass(frozen=True)
class Latency:
    """Quantiles in seconds; NaN where nothing was observed, infinite beyond the last bucket."""

    p50: float = math.nan
    p99: float = math.nan


@dataclass(frozen=True)
class Traffic:
    """What went through the gateway, of one system or of all. Rates a second, shares of predictions; NaN where there
    were none."""

    predictions: float
    outcomes: float
    refused: float  # answers of 4xx and 5xx, a second
    whole: Latency
    stages: Mapping[str, Latency] = field(default_factory=dict)  # features, score, log, retrieve
    fallback: float = math.nan
    versions: Mapping[str, float] = field(default_factory=dict)  # of each version that answered; of one system
    stale: float = math.nan  # views a prediction whose features were too old
    missing: float = math.nan  # views a prediction that knew nothing of an entity, or could not be read
    rows: float = math.nan  # scored for one prediction
    target: float = math.nan  # what the requirements ask of p99, in seconds; the strictest


@dataclass(frozen=True)
class Gain:
    """Two scrapes of one process, so many seconds apart."""

    before: Exposition
    after: Exposition
    seconds: float

    def of(self, name: str, **labels: str | None) -> float:
        """What a counter gained."""
        return self.after.total(name, **labels) - self.before.total(name, **labels)

    def by(self, label: str, name: str, **labels: str | None) -> dict[str, float]:
        """What a counter gained, by a label: buckets by `le`, for example."""
        old = self.before.by_label(name, label, **labels)
        new = self.after.by_label(name, label, **labels)
        return {each: count - old.get(each, 0.0) for each, count in new.items()}


class Scrapes:
    """A part's scrapes of the last `WINDOW` seconds; `counter` is one that falls only when the part starts anew."""

    def __init__(self, counter: str) -> None:
        self._counter = counter
        self._kept: deque[tuple[float, Exposition]] = deque()

    def add(self, at: float, scrape: Exposition) -> None:
        """Keep a scrape made at `at` (seconds); a part that started anew counts from 0, so what was kept goes."""
        if self._kept and scrape.total(self._counter) < self._kept[-1][1].total(self._counter):
            self._kept.clear()
        self._kept.append((at, scrape))
        while at - self._kept[0][0] > WINDOW and len(self._kept) > 1:
            self._kept.popleft()

    def gain(self) -> Gain | None:
        """From the oldest to the newest; None until they lie far enough apart."""
        if not self._kept or (seconds := self._kept[-1][0] - self._kept[0][0]) < LEAST:
            return None
        return Gain(self._kept[0][1], self._kept[-1][1], seconds)


def traffic(gain: Gain, system: str | None = None) -> Traffic:
    """What a gateway's scrapes tell of a system, or of all."""
    predictions = gain.of(REQUESTS, endpoint="predictions", status="200", system=system)
    statuses = gain.by("status", REQUESTS, system=system)
    reasons = gain.by("reason", "flywheel_gateway_degraded_total", system=system)
    targets = gain.after.by_label("flywheel_gateway_p99_target_seconds", "system", system=system)
    rows, scored = (gain.of(f"flywheel_gateway_candidates_{each}", system=system) for each in ("sum", "count"))
    return Traffic(
        predictions=predictions / gain.seconds,
        outcomes=gain.of(REQUESTS, endpoint="outcomes", status="202", system=system) / gain.seconds,
        refused=sum(count for status, count in statuses.items() if status >= "400") / gain.seconds,
        whole=_latency(gain, "predictions", system),
        stages={stage: _latency(gain, stage, system) for stage in STAGES},
        fallback=_share(gain.of("flywheel_gateway_fallbacks_total", system=system), predictions),
        versions={} if system is None else _shares(gain.by("model_version", ANSWERS, system=system)),
        stale=_share(_ending(reasons, ": stale"), predictions),
        missing=_share(_ending(reasons, ": missing") + reasons.get(FEATURES_UNAVAILABLE, 0.0), predictions),
        rows=_share(rows, scored),
        target=min(targets.values(), default=math.nan),
    )


def quantile(share: float, buckets: Mapping[str, float]) -> float:
    """A quantile of a cumulative histogram, by its upper bounds, interpolated within the bucket as Prometheus'
    `histogram_quantile` does; NaN when it is empty, infinite when it lies beyond the last finite bound."""
    bounds = sorted((float(bound), count) for bound, count in buckets.items())
    if not bounds or bounds[-1][1] <= 0:
        return math.nan
    wanted, lower, below = share * bounds[-1][1], 0.0, 0.0
    for bound, count in bounds:
        if count >= wanted:
            return bound if math.isinf(bound) else lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    return math.nan


def _latency(gain: Gain, stage: str, system: str | None) -> Latency:
    counts = gain.by("le", f"{SECONDS}_bucket", stage=stage, system=system)
    return Latency(quantile(0.5, counts), quantile(0.99, counts))


def _ending(reasons: Mapping[str, float], end: str) -> float:
    return sum(count for reason, count in reasons.items() if reason.endswith(end))


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    """Of the whole, those that have any; the largest first."""
    whole = sum(counts.values())
    return {name: counts[name] / whole for name in sorted(counts, key=lambda name: -counts[name]) if counts[name]}


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
