"""What keeps one client, or one hanging part, from taking the gateway from everybody else."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
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

    def wait(self) -> int:
        """0 when a request may pass; else the whole seconds after which one may."""
        now = self.time()
        self.tokens = min(self.size, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        return 0 if self.tokens >= 1.0 else math.ceil((1.0 - self.tokens) / self.rate)

    def take(self) -> int:
        """The same, and the request passes if it may."""
        if not (wait := self.wait()):
            self.tokens -= 1.0
        return wait


@dataclass
class Room:
    """How many requests may be at work side by side so that each is done within `target` seconds, as far as others are
    what it waits for.

    Waiting in line makes nobody's answer come sooner, and an answer after the deadline is work for nothing: where more
    come than can be done, all of them would be late. So while the middle request takes longer than the target, there is
    room for as many as are finished in that time (Little's law: requests at work = rate × time); while it does not, the
    room grows. The rate is the one that was seen, so the room fits after one look, however far off it was.

    A pause that has just ended is not a crowd: only what has lasted for `PATIENCE` makes the room smaller (as in CoDel,
    Nichols and Jacobson, 2012, Controlling queue delay). Its most is what a flood finds that comes at once, and what a
    part that hangs can hold; all of it must still be done within the deadline.
    """

    most: int = 96
    target: float = 0.1  # seconds; two fifths of the deadline that the systems set, for bursts come on top
    time: Callable[[], float] = monotonic
    limit: float = field(init=False)
    working: int = 0
    expected: int = 0  # let in by the door and not at work yet, in this turn of the event loop
    _done: list[tuple[float, int]] = field(default_factory=list)  # seconds, and how many were at work then
    _crowded: float | None = None  # since when every look has found a crowd

    FEWEST = 16  # keeps every process of the path busy, and takes a burst on a slow machine; never fewer
    LOOK = 16  # requests between two looks: one pause moves half of them at most
    GROWTH = 1.1
    PATIENCE = 0.1  # seconds

    def __post_init__(self) -> None:
        self.limit = float(self.most)

    @property
    def full(self) -> bool:
        return self.working + self.expected >= self.limit

    def enter(self) -> None:
        """One more is at work."""
        self.working += 1

    def leave(self) -> None:
        """One has failed, or was refused: it says nothing of how long an answer takes."""
        self.working -= 1

    def done(self, seconds: float) -> None:
        """One was answered, after so many seconds at work."""
        self._done.append((seconds, self.working))
        self.working -= 1
        if len(self._done) == self.LOOK:
            self._look()

    def _look(self) -> None:
        took = median(seconds for seconds, _ in self._done)
        working = median(number for _, number in self._done)
        self._done.clear()
        now = self.time()
        if took <= self.target:
            self._crowded = None
            self.limit = min(self.most, self.limit * self.GROWTH)
        elif self._crowded is None:
            self._crowded = now
        elif now - self._crowded > self.PATIENCE:
            self.limit = max(self.FEWEST, min(self.limit, working * self.target / took))


class Turns:
    """Lets one request begin in each turn of the event loop, the others in their order.

    What begins is the longest piece of work that a turn holds. However many come at once, a turn stays as short as that
    of one, and with it the time until a refusal is out, or until a part's answer is taken.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._begun = False

    async def turn(self) -> None:
        """Wait for the turn; none when nothing has begun in this one."""
        loop = asyncio.get_running_loop()
        if not self._begun:
            self._begun = True
            loop.call_soon(self._next)
            return
        place = loop.create_future()
        self._waiting.append(place)
        await place

    def _next(self) -> None:
        self._begun = False
        while self._waiting and not self._begun:
            place = self._waiting.popleft()
            if not place.done():  # its client's connection is still there
                place.set_result(None)
                self._begun = True
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next)


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
        if (breaker := self._all.get(key)) is None:
            breaker = self._all[key] = Breaker(f"{self._name} of {system}" if self._each else self._name)
        return breaker
