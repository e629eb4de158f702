"""What the flow runner does for retrainings: their ends are written down, and alarms that were missed get their run.

An event may get lost, and so may the run that it started. The verdicts are on the disk: every minute what they ask for
is held against the runs there are (`infra/retrain_policy.py`), and what is missing is started, under a key by which
Prefect knows two polls of the same for one.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import systems
from contracts.ports import Clock, Dispatcher, ModelSource
from infra import wiring
from infra.clock import pace
from infra.retrain_policy import End, History, Retraining, Rules, reconcile
from infra.retrainings import Retrainings, Started
from infra.settings import Settings
from infra.verdicts import VerdictFile

RETRAIN = "retrain"
POLL_SECONDS = 60.0
GRACE = timedelta(minutes=2)  # of the machine's time: so long an event may take to become a run
LOG = logging.getLogger("flywheel.runner")
Run = Mapping[str, Any]  # of Prefect, as its API gives it


@dataclass
class MissedAlarms:
    """The poll of one flow runner."""

    verdicts: VerdictFile
    retrainings: Retrainings
    registry: ModelSource
    dispatcher: Dispatcher
    clock: Callable[[], Clock]  # asked anew each time: it may be set going while the runner runs
    looked_at: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> "MissedAlarms":
        """Those of a stack, on its own stores."""
        stores = wiring.verdicts(settings), wiring.retrainings(settings)
        return cls(*stores, wiring.model_source(settings), wiring.dispatcher(settings), lambda: wiring.clock(settings))

    def poll(self, unfinished: Callable[[], Sequence[Run]]) -> Iterator[tuple[str, float]]:
        """Once a minute, for each system: how many alarms no run has answered, NaN where that cannot be told; a run is
        started for the newest where none is held up. `unfinished` asks Prefect for the runs of `retrain` that are."""
        if self.looked_at is not None and time.monotonic() < self.looked_at + POLL_SECONDS:
            return
        self.looked_at = time.monotonic()
        for system in systems.names():
            try:
                yield system, self.look(system, unfinished)
            except Exception as error:  # whatever a system's files hold: the other systems, and the runs, go on
                LOG.warning("the alarms of %s cannot be told: %s: %s", system, type(error).__name__, error)
                yield system, math.nan

    def look(self, system: str, unfinished: Callable[[], Sequence[Run]]) -> int:
        """Start a run for a system's missed alarm if nothing holds it up: how many were missed."""
        clock = self.clock()
        now, grace = clock.now(), GRACE * max(1.0, pace(clock))
        self.retrainings.close_dead(system, now)
        rules = Rules.of(systems.monitoring(system))
        history = self._history(system, now - rules.windows_remembered * rules.window, unfinished)
        if history is None:
            return 0
        found = reconcile(history, rules, now, grace)
        if found.missed:
            LOG.warning("%s: %s", system, found.words)
        if found.start:
            key = f"{system}-{found.start.key}-{len(history.runs)}"
            asked = {"system": system, "reason": found.words, "alarm": found.start.key}
            self.dispatcher.run(RETRAIN, asked, key)
        return len(found.missed)

    def ended(self, run: Run, end: End, said: str) -> None:
        """A run of `retrain` ended, and perhaps could not say so itself; the first word on it is believed."""
        asked = run["parameters"]
        if (system := str(asked.get("system"))) in systems.names():
            now = self.clock().now()
            started = Started(run["id"], now, str(asked.get("reason", "")), str(asked.get("alarm", "")))
            self.retrainings.close(system, started, now, end, said)

    def _history(self, system: str, since: datetime, unfinished: Callable[[], Sequence[Run]]) -> History | None:
        """All that counts; None where no verdict asks for anything: an idle platform costs no request."""
        verdicts = [each for each in self.verdicts.read(system) if each.at > since]
        if not any(each.harm or each.drifted for each in verdicts):
            return None
        champion = self.registry.resolve(system, "champion")
        kept = self.retrainings.read(system)
        begun = {each.run_id for each in kept}
        coming = [
            Retraining(self.clock().now())
            for run in unfinished()
            if run["parameters"].get("system") == system and run["id"] not in begun
        ]
        runs = [*(each.retraining for each in kept), *coming]
        return History(verdicts, runs, champion.version) if champion else None
