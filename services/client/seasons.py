"""A world that changes while it is simulated: once, or there and back again, so that no champion stays the best."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from contracts.errors import InvalidInput
from contracts.world import Drift, World, WorldFactory

DriftKind = Literal["none", "data", "concept", "both"]
CALM = "calm"


@dataclass(frozen=True)
class Seasons:
    """When a world changes, in seconds of real time since its simulation began, and into what."""

    kind: DriftKind = "none"
    strength: float = 1.0
    after: float = 0.0  # until the first change; 0 with `every`: as long as between two changes
    every: float | None = None  # from one change to the next, back and forth; None for one change only

    def turns(self, seconds: float) -> int:
        """How many changes there have been; after an odd number of them the world is the drifted one."""
        first = self.after or self.every or 0.0
        if self.kind == "none" or seconds < first:
            return 0
        return 1 + int((seconds - first) // self.every) if self.every else 1


class ChangingWorld:
    """The world as it is now. After a drift it is the old one again, and that is as new to a retrained model."""

    def __init__(self, make: WorldFactory, seed: int, seasons: Seasons) -> None:
        if seasons.every and seasons.kind == "none":
            raise InvalidInput("A drift that comes and goes needs a kind: give --drift with --drift-every.", "drift")
        self._make, self._seed, self._seasons, self._turns = make, seed, seasons, 0
        self._calm = make(seed)
        self.now: World = self._calm
        self.words = CALM

    def turn(self, seconds: float, at: datetime) -> bool:
        """Bring the world to where it is after so many seconds; whether it changed, from `at` on."""
        turns = self._seasons.turns(seconds)
        if turns == self._turns:
            return False
        self._turns, kind, strength = turns, self._seasons.kind, self._seasons.strength
        if turns % 2:
            self.now = self._make(self._seed, Drift(kind, at, strength))
            self.words = f"under {kind} drift of strength {strength:g}"
        else:
            self.now, self.words = self._calm, CALM
        return True
