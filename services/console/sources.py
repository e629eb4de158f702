"""All that the console reads of the loop, each source on its own: one that is down leaves the others as they are."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self

import httpx

import systems
from contracts.errors import FlywheelError, Unavailable
from contracts.records import ModelVersion, Verdict
from infra.settings import Settings
from services.console.exposition import Exposition, scrape
from services.console.gateway import Gateway, SystemLine
from services.console.readings import Reading, Source
from services.console.serving import Champion, Serving
from services.console.stores import Findings, Models, Runs, Stores
from services.console.traffic import REQUESTS, Scrapes

QUICK, SLOW, RARE = 1.0, 4.0, 30.0  # seconds that an answer is shown: the slow ones ask a database each time
SECONDS = 2.0
RECORDS = "flywheel_recorder_batches_total"


@dataclass(frozen=True)
class Readings:
    """One look at everything."""

    lines: Reading[list[SystemLine]]
    gateway: Reading[Exposition]
    recorder: Reading[Exposition]
    champions: Reading[Mapping[str, Champion]]
    models: Reading[Mapping[str, Models]]
    runs: Reading[Mapping[str, Runs]]
    verdicts: Reading[Mapping[str, list[Verdict]]]
    findings: Reading[Mapping[str, Findings]]
    projects: Reading[Mapping[str, str]]  # Evidently's, by system
    names: tuple[str, ...]


@dataclass(frozen=True)
class Detail:
    """One look at what only a system's own page shows."""

    versions: Reading[Sequence[ModelVersion]]
    margin: Reading[float]
    verdicts: Reading[list[Verdict]]


class Sources:
    """Reads the loop for everybody who looks; use it as a context manager."""

    def __init__(self, settings: Settings, gateway: Gateway, serving: Serving, stores: Stores) -> None:
        self.stores = stores
        self.requests, self.records = Scrapes(REQUESTS), Scrapes(RECORDS)
        self._gateway = gateway
        self._recorder = httpx.AsyncClient(base_url=settings.recorder, timeout=SECONDS, trust_env=False)
        self._evidently = httpx.AsyncClient(base_url=settings.evidently, timeout=SECONDS, trust_env=False)
        self._names: tuple[str, ...] = ()
        self._details: dict[str, tuple[Source[Sequence[ModelVersion]], Source[float], Source[list[Verdict]]]] = {}
        self.lines = Source("The gateway", gateway.systems, SLOW)
        self.gateway = Source("The gateway", self._ask_gateway, QUICK)
        self.recorder = Source("The recorder", self._ask_recorder, QUICK)
        self.champions = Source("Serving", serving.champions, QUICK)
        self.models = Source("MLflow", lambda: stores.named(self.names), SLOW)
        self.runs = Source("Prefect", lambda: stores.runs(self.names), SLOW)
        self.verdicts = Source("Monitoring's record", lambda: stores.found(self.names), SLOW)
        self.findings = Source("Monitoring's newest findings", lambda: stores.details(self.names), SLOW)
        self.projects = Source("Evidently", self._ask_projects, RARE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(each.close() for each in self._all()))
        for client in (self._recorder, self._evidently):
            await client.aclose()

    @property
    def names(self) -> tuple[str, ...]:
        """The systems that are ready, as the gateway last listed them; before it ever did, the folders there are."""
        return self._names or tuple(systems.names())

    async def read(self) -> Readings:
        """Everything, at once; none is waited for longer than `PATIENCE`, after the gateway's list of systems."""
        lines = await self.lines.read()
        if lines.value is not None:
            self._names = tuple(each.name for each in lines.value if each.ready)
        async with asyncio.TaskGroup() as group:
            gateway, recorder = group.create_task(self.gateway.read()), group.create_task(self.recorder.read())
            champions, models = group.create_task(self.champions.read()), group.create_task(self.models.read())
            runs, verdicts = group.create_task(self.runs.read()), group.create_task(self.verdicts.read())
            projects, findings = group.create_task(self.projects.read()), group.create_task(self.findings.read())
        return Readings(
            lines=lines,
            gateway=gateway.result(),
            recorder=recorder.result(),
            champions=champions.result(),
            models=models.result(),
            runs=runs.result(),
            verdicts=verdicts.result(),
            findings=findings.result(),
            projects=projects.result(),
            names=self.names,
        )

    async def detail(self, system: str) -> Detail:
        """What only a system's own page shows."""
        stores, gateway = self.stores, self._gateway
        if system not in self._details:
            self._details[system] = (
                Source("MLflow", lambda: stores.versions(system), SLOW),
                Source("The gateway", lambda: gateway.quality_margin(system), RARE),
                Source("Monitoring's record", lambda: stores.judged(system), SLOW),
            )
        versions, margin, verdicts = self._details[system]
        return Detail(*await asyncio.gather(versions.read(), margin.read(), verdicts.read()))

    def forget(self) -> None:
        """Something was done that changes what the sources say: ask all of them anew."""
        for source in self._all():
            source.forget()

    def _all(self) -> tuple[Source[Any], ...]:
        own = (each for each in vars(self).values() if isinstance(each, Source))
        return *own, *(each for sources in self._details.values() for each in sources)

    async def _ask_gateway(self) -> Exposition:
        found = await self._gateway.metrics()
        self.requests.add(monotonic(), found)
        return found

    async def _ask_recorder(self) -> Exposition:
        found = await scrape(self._recorder, "The recorder")
        self.records.add(monotonic(), found)
        return found

    async def _ask_projects(self) -> Mapping[str, str]:
        try:
            answer = await self._evidently.get("/api/projects")
            answer.raise_for_status()
            return {str(each["name"]): str(each["id"]) for each in answer.json()}
        except httpx.HTTPError as error:
            raise Unavailable(f"Evidently does not answer ({type(error).__name__}).") from error
        except (ValueError, KeyError, TypeError) as error:
            raise FlywheelError("Evidently lists no projects; is it Evidently?") from error
