"""The stores that the console reads as they are: the registry, Prefect's runs, what monitoring found.

Their ports block, so each is asked in a thread, and by one at a time.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self, TypeVar

from contracts.findings import OnlineFigures, ParityFinding, WindowDetails
from contracts.ports import Dispatcher, ModelSource, Registry
from contracts.records import ModelVersion, RunState, Verdict
from infra import wiring
from infra.findings import Finding
from infra.retrainings import Kept
from infra.settings import Settings

LOOK_BACK = timedelta(days=2)  # for trainings, which are rare
MATERIALIZED = timedelta(hours=3)  # the schedule brings features online every hour
MOST_VERDICTS, LATEST = 500, 5  # of a system on its own page, and of each on the first
TRAININGS = ("retrain", "train")
T = TypeVar("T", bound=Finding)


class VerdictReader(Protocol):
    """What monitoring found, at rest."""

    def read(self, system: str, most: int = 1000) -> list[Verdict]: ...


class FindingReader(Protocol):
    """What monitoring found last, in detail."""

    def read(self, kind: type[T], system: str) -> T | None: ...


class RetrainingReader(Protocol):
    """What became of every run of `retrain`, oldest first."""

    def read(self, system: str) -> list[Kept]: ...


@dataclass(frozen=True)
class Findings:
    """The newest of a system in detail; None where monitoring has not found it yet."""

    window: WindowDetails | None = None
    online: OnlineFigures | None = None
    parity: ParityFinding | None = None
    retrainings: Sequence[Kept] = ()


@dataclass(frozen=True)
class Models:
    """The versions that a system's two names point at: what serves, and what was trained last."""

    champion: ModelVersion | None
    challenger: ModelVersion | None


@dataclass(frozen=True)
class Runs:
    """A system's runs in Prefect, newest first; what is scheduled and not yet due left out."""

    trainings: tuple[RunState, ...]
    materialized: datetime | None  # when features last came online, by the machine's clock

    @property
    def under_way(self) -> RunState | None:
        return next((run for run in self.trainings if not run.finished), None)


@dataclass(frozen=True)
class Stores:
    """The ports. `registry` makes one that can move names, which costs seconds and 100 MB: only for a rollback."""

    models: ModelSource
    dispatcher: Dispatcher
    verdicts: VerdictReader
    findings: FindingReader
    retrainings: RetrainingReader
    registry: Callable[[], Registry]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that the settings name."""
        return cls(
            wiring.model_source(settings),
            wiring.dispatcher(settings),
            wiring.verdicts(settings),
            wiring.findings(settings),
            wiring.retrainings(settings),
            lambda: wiring.registry(settings),
        )

    async def named(self, systems: Sequence[str]) -> Mapping[str, Models]:
        """What each system's names point at."""

        def ask() -> dict[str, Models]:
            resolve = self.models.resolve
            return {name: Models(resolve(name, "champion"), resolve(name, "challenger")) for name in systems}

        return await asyncio.to_thread(ask)

    async def runs(self, systems: Sequence[str]) -> Mapping[str, Runs]:
        """Each system's runs of late."""
        return await asyncio.to_thread(lambda: {name: self._runs(name) for name in systems})

    async def found(self, systems: Sequence[str]) -> Mapping[str, list[Verdict]]:
        """Each system's latest verdicts, oldest first: two runs of the monitor may have ended in another order."""

        return await asyncio.to_thread(lambda: {name: self._verdicts(name, LATEST) for name in systems})

    async def judged(self, system: str) -> list[Verdict]:
        """A system's verdicts as far back as its page shows, oldest first."""
        return await asyncio.to_thread(self._verdicts, system, MOST_VERDICTS)

    async def details(self, systems: Sequence[str]) -> Mapping[str, Findings]:
        """Each system's newest findings, and what became of its retrainings."""
        return await asyncio.to_thread(lambda: {name: self._details(name) for name in systems})

    async def versions(self, system: str) -> Sequence[ModelVersion]:
        """All versions of a system, oldest first."""
        return await asyncio.to_thread(self.models.versions, system)

    async def retrain(self, system: str) -> str:
        """Start a retraining, as `flywheel retrain` does: the run's id."""
        given = {"system": system, "reason": "asked for in the console"}
        return await asyncio.to_thread(self.dispatcher.run, "retrain", given)

    async def rollback(self, system: str) -> ModelVersion:
        """Bring the champion before this one back, as `flywheel rollback` does; `NotFound` when there was none."""
        return await asyncio.to_thread(lambda: self.registry().rollback(system))

    def _verdicts(self, system: str, most: int) -> list[Verdict]:
        return sorted(self.verdicts.read(system, most), key=lambda verdict: verdict.at)

    def _details(self, system: str) -> Findings:
        read = self.findings.read
        return Findings(
            window=read(WindowDetails, system),
            online=read(OnlineFigures, system),
            parity=read(ParityFinding, system),
            retrainings=self.retrainings.read(system),
        )

    def _runs(self, system: str) -> Runs:
        now = datetime.now(UTC)
        found = [run for each in TRAININGS for run in self.dispatcher.runs(each, system, now - LOOK_BACK)]
        trainings = sorted(found, key=lambda run: run.started_at or now, reverse=True)
        materialized = self.dispatcher.runs("materialize", system, now - MATERIALIZED)
        ends = [run.ended_at for run in materialized if run.state == "completed" and run.ended_at]
        return Runs(tuple(trainings), max(ends, default=None))
