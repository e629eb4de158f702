"""The words between the benchmark and its load generator: what to send, and what came back."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """A span of steady load on one contender.

    Without a rate it is closed: each of `connections` sends its next request when the last is answered. With a rate it
    is open: requests are due at the moments of a Poisson process, whatever became of those before, and a request's
    latency counts from when it was due.
    """

    host: str
    port: int
    path: str
    headers: dict[str, str]
    bodies: str  # a file, one body a line
    whole: str  # what an answer holds that is one; any other is counted as not whole
    seconds: float
    connections: int
    rate: float | None = None
    seed: int = 0
    ids: str = ""  # a file to add the predictions' ids to that were acknowledged


@dataclass(frozen=True)
class Found:
    """What came back. Latencies in milliseconds, over all requests that were due: one that was given up waits for as
    long as it had waited by then. NaN where nothing was measured."""

    due: int
    answered: int  # whole, with status 200
    errors: dict[str, int]  # by kind
    seconds: float  # from the first request to the last answer
    p50: float
    p99: float
    p999: float
    longest: float
    late_p99: float  # how late the generator itself sent what it had a free connection for
    busy: float  # the generator's own share of a core
    starved: float  # … and the share of the time in which it had work and no core to do it on

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0
