"""The words between the command line and the generator's processes: what to send, and one stage of sending it."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

MOST_CONNECTIONS = 800  # of one process: select(), by which idle connections are checked, takes no descriptor over 1023
SPARE_CONNECTIONS = 8


@dataclass(frozen=True)
class Target:
    """Where requests go, and how a process sends them. It holds the key: it travels by a pipe and is never printed."""

    url: str
    path: str
    key: str
    bodies: str  # a file with one JSON body a line
    connections: int  # of each process, at most
    timeout: float  # seconds until a client gives up


@dataclass(frozen=True)
class Stage:
    """A span of steady load: `users` that wait for each answer (closed), or `rate` requests a second (open)."""

    seconds: float
    rate: float | None = None
    users: int | None = None
    seed: int = 0
    fresh: bool = False  # what Locust has counted so far is forgotten: it was the warm-up


Role = Literal["alone", "master", "worker"]


@dataclass(frozen=True)
class Duty:
    """What one process of the generator is to do, as it reads it from its standard input."""

    role: Role
    target: Target
    workers: int  # processes that send
    master_port: int = 0
    web_port: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> "Duty":
        given: dict[str, Any] = json.loads(text)
        return cls(**{**given, "target": Target(**given["target"])})


def connections(rate: float | None, users: int | None, timeout: float, processes: int) -> int:
    """Connections a process may need: one for each user, or for each request under way until a client gives up."""
    if users is not None:
        return -(-users // processes)
    return min(MOST_CONNECTIONS, int((rate or 0.0) * timeout / processes) + SPARE_CONNECTIONS)
