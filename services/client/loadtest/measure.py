"""What a stage measured: durations as counts in narrow buckets, answers, errors by kind. Tallies add up."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

BIG = 1000  # microseconds from which on three significant digits are kept


@dataclass
class Durations:
    """Durations in seconds, kept as counts by microseconds rounded up to three digits: within 1%, never too low."""

    counts: Counter[int] = field(default_factory=Counter)
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[_bucket(seconds)] += 1
        self.longest = max(self.longest, seconds)

    def merge(self, other: Self) -> None:
        self.counts.update(other.counts)
        self.longest = max(self.longest, other.longest)

    def percentile(self, share: float) -> float:
        """Seconds within which `share` (0 to 1) of them lie, by nearest rank; NaN of nothing."""
        rank, seen = max(1.0, share * self.counts.total()), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return min(bucket / 1e6, self.longest)
        return float("nan")

    def packed(self) -> dict[str, Any]:
        return {"counts": [[bucket, count] for bucket, count in self.counts.items()], "longest": self.longest}

    @classmethod
    def unpacked(cls, given: dict[str, Any]) -> Self:
        return cls(Counter(dict(given["counts"])), given["longest"])


@dataclass
class Tally:
    """What one process, or all of them, measured in one stage."""

    due: int = 0  # requests whose moment had come
    answered: int = 0  # with status 200
    fallbacks: int = 0  # of those, by the system's fallback rather than a model
    degraded: Counter[str] = field(default_factory=Counter)  # of those, by what was replaced
    errors: Counter[str] = field(default_factory=Counter)  # by kind
    examples: dict[str, str] = field(default_factory=dict)  # what the first error of each kind said
    waiting: int = 0  # requests under way, or waiting for a free connection, at the last look
    latency: Durations = field(default_factory=Durations)  # from the moment due; of refusals it is not counted
    service: Durations = field(default_factory=Durations)  # from the moment sent: what a closed loop would have seen
    lateness: Durations = field(default_factory=Durations)  # how late the generator itself was
    ended: float = 0.0  # seconds from the stage's start to its last answer
    busy: float = 0.0  # share of the time in which the busiest process ran …
    starved: float = 0.0  # … and in which the worst off had work and waited for a processor
    stopped: bool = False  # somebody pressed Stop

    @property
    def failed(self) -> int:
        return self.errors.total()

    def fail(self, kind: str, example: str) -> None:
        self.errors[kind] += 1
        self.examples.setdefault(kind, example)

    def merge(self, other: Self) -> None:
        """Add another process's."""
        for name in ("due", "answered", "fallbacks", "waiting"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("degraded", "errors"):
            getattr(self, name).update(getattr(other, name))
        for name in ("latency", "service", "lateness"):
            getattr(self, name).merge(getattr(other, name))
        self.examples = {**other.examples, **self.examples}
        for name in ("ended", "busy", "starved"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        self.stopped = self.stopped or other.stopped

    def packed(self) -> dict[str, Any]:
        """As JSON and msgpack take it."""
        plain = {name: value for name, value in vars(self).items() if not isinstance(value, Durations)}
        spans = {name: value.packed() for name, value in vars(self).items() if isinstance(value, Durations)}
        return {**plain, "degraded": dict(self.degraded), "errors": dict(self.errors), **spans}

    @classmethod
    def unpacked(cls, given: dict[str, Any]) -> Self:
        spans = {name: Durations.unpacked(given[name]) for name in ("latency", "service", "lateness")}
        counted = {name: Counter(given[name]) for name in ("degraded", "errors")}
        return cls(**{**given, **spans, **counted})


def merged(tallies: list[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total


def _bucket(seconds: float) -> int:
    microseconds = max(0, round(seconds * 1e6))
    if microseconds < BIG:
        return microseconds
    scale = 10 ** (len(str(microseconds)) - 3)
    return int(-(-microseconds // scale) * scale)
