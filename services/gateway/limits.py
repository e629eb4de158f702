"""What keeps one client, or one hanging part, from taking the gateway from everybody else."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from contracts.errors import Unavailable


@dataclass
class TokenBucket:
    """`rate` requests a second, and as many at once as a second's worth."""

    rate: float
    time: Callable[[], float] = monotonic
    tokens: float = field(init=False)
    filled: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens, self.filled = self.size, self.time()

    @property
    def size(self) -> float:
        return max(1.0, self.rate)

    def take(self) -> int:
        """0 when the request may pass; else the whole seconds after which one may."""
        now = self.time()
        self.tokens = min(self.size, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1.0:
            return math.ceil((1.0 - self.tokens) / self.rate)
        self.tokens -= 1.0
        return 0


@dataclass
class Breaker:
    """Leaves a part alone for a moment once it has wasted the time of several requests, one after the other.

    Only failures that cost time count: a refused connection costs none, and a hanging one the whole of a budget. Calls
    that hang side by side count as one: under load a single short pause takes dozens of them with it. After the moment
    one call goes through as a probe, while the others are refused for another; its success closes the breaker.
    """

    name: str
    time: Callable[[], float] = monotonic
    failures: int = 0
    counted_at: float = -math.inf  # when the last failure that counts became known
    retry_at: float = 0.0

    MOST = 3  # failures in a row; fewer would trip on one pause of the garbage collector
    COSTLY = 0.01  # seconds
    OPEN = 0.25  # seconds: as long as a probe that hangs takes, so that at most one request in flight hangs

    def check(self) -> None:
        """Raises Unavailable while the part is left alone."""
        if self.failures < self.MOST:
            return
        now = self.time()
        if now < self.retry_at:
            raise Unavailable(f"{self.name} did not answer the last {self.failures} times; it is tried again soon.")
        self.retry_at = now + self.OPEN

    def failed(self, seconds: float) -> None:
        """A call failed and had taken `seconds`."""
        if seconds < self.COSTLY:
            return
        now = self.time()
        self.retry_at = now + self.OPEN
        if now - seconds >= self.counted_at:
            self.failures, self.counted_at = self.failures + 1, now

    def succeeded(self) -> None:
        self.failures = 0


class Breakers:
    """The breakers of one part: a single one, or one for each system where a system's own model may be what hangs."""

    def __init__(self, name: str, each: bool = False) -> None:
        self._name, self._each = name, each
        self._all: dict[str, Breaker] = {}

    def of(self, system: str) -> Breaker:
        """The breaker for a system's calls."""
        key = system if self._each else ""
        return self._all.setdefault(key, Breaker(f"{self._name} of {system}" if self._each else self._name))
