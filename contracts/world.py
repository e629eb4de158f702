"""A system's simulated clients, with known truth: what the tests and the demo hold the platform against."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd  # see contracts/ports.py


@dataclass(frozen=True)
class Drift:
    """A change in the world from `at` on: in its data, in its concept (what leads to the label), or both."""

    kind: Literal["none", "data", "concept", "both"] = "none"
    at: datetime | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class SimulatedOutcome:
    """What one simulated client does about one item of an answer, and when."""

    item: str | None
    label: float
    occurred_at: datetime
    source: Literal["client", "review"] = "client"


class World(Protocol):
    """Clients that repeat from their seed. Times are UTC; every method takes them, none reads a clock."""

    def history(self, start: datetime, end: datetime, rows: int) -> Iterator["pd.DataFrame"]:
        """Events of the system's source in time order, in frames of at most 100,000 rows; labels as in the end."""

    def requests(self, count: int, at: datetime, stream: int) -> Sequence[dict[str, Any]]:
        """Bodies for the gateway of `count` requests made at `at`; the same stream and `at` repeat the same."""

    def outcomes(
        self, request: Mapping[str, Any], result: Mapping[str, Any], at: datetime, stream: int
    ) -> Sequence[SimulatedOutcome]:
        """What follows from an answer's `result` given at `at`; what the client never reports is left out."""

    def truth(self, rows: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """The true probability of the label for each row (row columns and `at`): the oracle's score."""


@runtime_checkable
class PublishingWorld(World, Protocol):
    """The world of a system whose model has a stage one: it has a catalogue."""

    def items(self, start: datetime, end: datetime) -> "pd.DataFrame":
        """What is published in the interval, in time order: `Retrieval.items`' id, `at` and columns."""


class WorldFactory(Protocol):
    """Builds the world of a system."""

    def __call__(self, seed: int, drift: Drift = Drift()) -> World: ...
