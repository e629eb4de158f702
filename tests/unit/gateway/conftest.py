"""A gateway in this process, with the twins in memory behind it, spoken to as a client speaks to it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import httpx
import numpy as np
import pytest

import systems
from contracts.errors import Unavailable
from contracts.records import ItemRecord, OutcomeRecord, PredictionRecord
from contracts.system import Columns, Matrix, System
from infra.clock import ManualClock
from infra.log_codec import decode
from infra.memory import MemoryFeatureReader, MemoryScorer
from infra.memory_log import MemoryLog
from services.gateway.app import Limits, build
from services.gateway.catalogue import Catalogue
from services.gateway.stages import Platform

KEY = "the-key-of-this-test"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Hanging:
    """A part that takes every call and answers none."""

    async def hang(self) -> NoReturn:
        self.calls = getattr(self, "calls", 0) + 1
        await asyncio.Event().wait()
        raise AssertionError

    async def online(self, system: System, rows: Columns, now: datetime) -> NoReturn:
        await self.hang()

    async def score(self, system: str, features: Matrix, *_: object) -> NoReturn:
        await self.hang()

    async def recall(self, system: str, key: str) -> NoReturn:
        await self.hang()

    async def append(self, record: PredictionRecord, keep: object = None) -> NoReturn:
        await self.hang()

    async def append_outcome(self, outcome: OutcomeRecord) -> NoReturn:
        await self.hang()


class Down:
    """A part that refuses every call at once."""

    def refuse(self, *_: object) -> NoReturn:
        raise Unavailable("It is down.")

    async def online(self, system: System, rows: Columns, now: datetime) -> NoReturn:
        self.refuse()

    async def score(self, system: str, features: Matrix, *_: object) -> NoReturn:
        self.refuse()

    async def recall(self, system: str, key: str) -> NoReturn:
        self.refuse()

    async def append(self, record: PredictionRecord, keep: object = None) -> NoReturn:
        self.refuse()

    async def append_outcome(self, outcome: OutcomeRecord) -> NoReturn:
        self.refuse()

    async def append_item(self, item: ItemRecord) -> NoReturn:
        self.refuse()


@dataclass
class World:
    """The parts behind a gateway; a test replaces those it is about."""

    catalogue: Catalogue
    reader: Any = field(default_factory=MemoryFeatureReader)
    scorer: Any = field(default_factory=MemoryScorer)
    log: Any = field(default_factory=MemoryLog)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    limits: Limits = field(default_factory=lambda: Limits(key=KEY, rate=100_000, body=65_536))

    def platform(self) -> Platform:
        return Platform(self.reader, self.scorer, self.log, self.clock)

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client of a gateway made of the parts as they are now."""
        transport = httpx.ASGITransport(build(self.platform(), self.catalogue, self.limits).app)
        sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers}
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=sent)

    @property
    def system(self) -> System:
        return self.catalogue.ready["ad_click"]

    def request(self, **changed: Any) -> dict[str, Any]:
        return {**self.system.task.example, **changed}

    def logged(self) -> list[Any]:
        """The log's records, as the recorder would read them."""
        entries = self.log.entries.values()
        return [decode({name.encode(): value for name, value in fields.items()}) for fields in entries]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world() -> World:
    """`ad_click` with a champion that knows how often an ad was clicked, a system without items, and a broken one."""
    system = systems.load("ad_click")
    single = replace(system, name="single", task=replace(system.task, item=None))
    column = system.features.names.index("ad_click_rate_7d")
    made = World(Catalogue({"ad_click": system, "single": single}, {"wreck": "System 'wreck' has no task.py; add it."}))
    for name in ("ad_click", "single"):
        made.scorer.champions[name] = ("7", lambda X: np.asarray(X[:, column], dtype=np.float64))
    return made


@pytest.fixture
def quick(world: World) -> World:
    """The same with a deadline of 300 ms."""
    return with_deadline(world, 0.3)


def with_deadline(world: World, seconds: float) -> World:
    requirements = replace(world.system.requirements, deadline=timedelta(seconds=seconds))
    hurried = {name: replace(each, requirements=requirements) for name, each in world.catalogue.ready.items()}
    return replace(world, catalogue=replace(world.catalogue, ready=hurried))


def outcome(prediction_id: str, **changed: Any) -> Mapping[str, Any]:
    made = {"prediction_id": prediction_id, "item_id": "a0007", "label": 1, "occurred_at": NOW.isoformat()}
    return {name: value for name, value in {**made, **changed}.items() if value is not None}
