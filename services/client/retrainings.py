"""The runs of `retrain` that the demo waits for: each is looked at once, and one that was skipped is none."""

from dataclasses import dataclass, field
from datetime import datetime

from contracts.ports import Dispatcher

SKIPPED = "Skipped"  # how a run's message begins that found another one under way, or its alarm answered


@dataclass
class Retrainings:
    """Of one system, since a moment of the machine's time."""

    dispatcher: Dispatcher
    system: str
    since: datetime
    seen: set[str] = field(default_factory=set)

    def next(self) -> str | None:
        """The first run that this was not asked for before; of two alarms at once the one that is not skipped."""
        fresh = [run.run_id for run in self.dispatcher.runs("retrain", self.system, self.since)]
        for run_id in reversed(fresh):  # they come newest first
            if run_id not in self.seen and not self.skipped(run_id):
                self.seen.add(run_id)
                return run_id
        return None

    def skipped(self, run_id: str) -> bool:
        """Whether a run has ended without doing anything."""
        return self.dispatcher.state(run_id).message.startswith(SKIPPED)
