"""How large a demo is, for which system, and how patient."""

import math
from dataclasses import dataclass
from datetime import timedelta

from contracts.system import System

LONGEST_WAIT = 30.0  # seconds of real time for outcomes to mature; what takes longer is leapt over
MINUTES = 15  # no demo takes longer
LEAPS = 6  # … or leaps more often: one for each measurement, one for each look at the drifted log


@dataclass(frozen=True)
class Plan:
    """The demo of one system."""

    seed: int
    days: int  # of history …
    rows: int  # … with as many events
    rate: float  # requests a second
    settled_rows: int  # labelled rows in each of the three measurements …
    drifted_rows: int  # … and served in the changed world before its outcomes are leapt to
    label_delay: timedelta
    speed: float = 240.0  # seconds of the platform's time in one second
    drift: str = "concept"
    drift_strength: float = 1.0
    retries: int = 2  # how often a refused retraining may be followed by another, after the cooldown
    patience: float = 180.0  # seconds that any one step may take

    @property
    def leaps(self) -> bool:
        """Whether outcomes take so long to mature that the clock leaps over the wait."""
        return self.label_delay.total_seconds() / self.speed > LONGEST_WAIT

    @property
    def lead(self) -> timedelta:
        """How far in the past the clock starts, so that it does not catch up before the demo has ended."""
        return timedelta(seconds=self.speed * MINUTES * 60) + (LEAPS * self.label_delay if self.leaps else timedelta(0))


def plan_for(system: System, seed: int = 7, rows: int = 400_000, rate: float | None = None) -> Plan:
    """A demo with rows enough for the gate to judge on, and a rate that two cores keep up with."""
    training, requirements = system.training, system.requirements
    staged = system.model.retrieval is not None
    return Plan(
        seed=seed,
        days=requirements.history.days,
        rows=rows,
        rate=rate or (20.0 if staged else 100.0),
        settled_rows=8_000 if staged or requirements.label_delay < timedelta(days=1) else 4_000,
        drifted_rows=math.ceil(1.1 * training.gate.min_rows / training.holdout),
        label_delay=requirements.label_delay,
    )
