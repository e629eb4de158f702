"""Outcomes become final: in minutes, which are waited for, or in weeks, over which the platform's clock leaps."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import FlywheelError
from contracts.ports import Archive
from contracts.system import System
from infra.clock import SharedClock
from services.client.plan import Plan
from services.client.simulation import Simulation
from services.client.story import Step

PAUSE = 3.0  # seconds between two looks at the log, each of which joins all of its newest rows


@dataclass(frozen=True)
class Maturing:
    """The wait for the outcomes of what simulated clients were answered."""

    system: System
    archive: Archive
    clock: SharedClock
    clients: Simulation
    plan: Plan

    def pass_delay(self, step: Step, since: datetime, wanted: int) -> None:
        """For a system whose outcomes take weeks: once so many rows were served since then, let those weeks pass."""
        if not self.plan.leaps:
            return

        def served() -> int:
            rows = self.archive.predictions(self.system, since, self.clock.now())
            return int((rows["place"] >= 0).sum())

        self.until(step, f"{wanted:,} rows served", lambda: (found := served()) >= wanted or f"{found:,} of {wanted:,}")
        self.clock.leap(self.plan.label_delay)
        self.until(step, "the outcomes of those weeks", lambda: self._reported() or "outcomes come in")

    def until(self, step: Step, what: str, reached: Callable[[], bool | str]) -> None:
        """Look every few seconds; what `reached` says in words is shown meanwhile."""
        deadline = time.monotonic() + self.plan.patience
        while (found := reached()) is not True:
            if time.monotonic() > deadline:
                raise FlywheelError(f"{what} did not come about within {self.plan.patience:.0f} s.")
            step.say(str(found))
            time.sleep(PAUSE)
            self.clients.check()

    def _reported(self) -> bool:
        """Whether all outcomes that are due were sent, and are in the archive."""
        known = len(self.clients.ledger.outcomes)
        if self.clients.overdue:
            return False
        found = self.archive.outcomes(self.system, datetime.fromtimestamp(0, self.clock.now().tzinfo), self.clock.now())
        return len(found) >= known
