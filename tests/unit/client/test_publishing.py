"""Simulated publishing: what a world brings out reaches the gateway once and in order, whatever the gateway does."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from contracts.errors import InvalidInput, SetupError, Unavailable
from contracts.system import AT
from infra.clock import ManualClock, SystemClock
from services.client import publishing
from services.client.ledger import Ledger
from services.client.publishing import BEHIND, Publisher
from services.client.simulation import Simulation
from tests.conftest import poll
from tests.two_stages import NOON, KioskWorld
from tests.unit.client.test_simulation import Gateway, World

WORLD = KioskWorld()
HOUR = timedelta(hours=1)


@dataclass
class Items(Gateway):
    """A gateway that takes items, or fails with what it is told to, after `good` of them."""

    fault_of_items: Exception | None = None
    good: int = 1_000_000
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def predict(self, system: str, request: Mapping[str, Any]) -> dict[str, Any]:
        return {**await super().predict(system, request), "result": {"films": ["f1"]}}

    async def publish(self, system: str, item: dict[str, Any]) -> None:
        if self.fault_of_items and len(self.bodies) >= self.good:
            raise self.fault_of_items
        self.bodies.append(item)

    @property
    def films(self) -> list[str]:
        return [body["film_id"] for body in self.bodies]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time by which looks are spaced."""
    at = [0.0]
    monkeypatch.setattr(publishing.time, "monotonic", lambda: at[0])
    return lambda seconds: at.__setitem__(0, seconds)


def films(start: datetime, end: datetime) -> list[str]:
    return [str(name) for name in WORLD.items(start, end)["film_id"]]


def test_each_item_is_published_once_with_its_time(now: Callable[[float], None]) -> None:
    gateway, clock = Items(), ManualClock(NOON)
    publisher = Publisher(gateway, "kiosk", Ledger())
    for second in range(4):
        now(10.0 * second)
        assert publisher.due(WORLD)
        asyncio.run(publisher.publish(WORLD, clock.now()))
        assert not publisher.due(WORLD)
        clock.advance(HOUR)
    assert gateway.films == films(NOON - BEHIND, NOON + 3 * HOUR)
    assert publisher.published == len(gateway.films) > 90
    expected = WORLD.items(NOON - BEHIND, NOON).iloc[0]
    assert gateway.bodies[0] == {
        "film_id": expected["film_id"],
        "genre": expected["genre"],
        "minutes": expected["minutes"],
        "published_at": datetime.fromtimestamp(expected[AT], NOON.tzinfo).isoformat(),
    }


def test_what_the_gateway_does_not_take_waits_and_comes_in_order(now: Callable[[float], None]) -> None:
    gateway, ledger = Items(fault_of_items=Unavailable("gone"), good=5), Ledger()
    publisher = Publisher(gateway, "kiosk", ledger)
    asyncio.run(publisher.publish(WORLD, NOON))
    assert (publisher.published, ledger.failures["gone"]) == (5, 1)
    assert not publisher.due(WORLD)
    gateway.fault_of_items = None
    now(10.0)
    asyncio.run(publisher.publish(WORLD, NOON + HOUR))
    assert gateway.films == films(NOON - BEHIND, NOON + HOUR)


def test_an_item_that_is_refused_keeps_no_other_back() -> None:
    class Picky(Items):
        async def publish(self, system: str, item: dict[str, Any]) -> None:
            if item["genre"] == "sport":
                raise InvalidInput("no sport")
            await super().publish(system, item)

    gateway, ledger = Picky(), Ledger()
    publisher = Publisher(gateway, "kiosk", ledger)
    asyncio.run(publisher.publish(WORLD, NOON))
    published = WORLD.items(NOON - BEHIND, NOON)
    assert gateway.films == published["film_id"][published["genre"] != "sport"].tolist()
    assert ledger.failures["no sport"] == (published["genre"] == "sport").sum()


def test_many_items_go_in_several_turns(now: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MOST", 40)
    gateway = Items()
    publisher = Publisher(gateway, "kiosk", Ledger())
    turns = 0
    while publisher.due(WORLD):
        asyncio.run(publisher.publish(WORLD, NOON))
        turns += 1
    assert (turns, gateway.films) == (3, films(NOON - BEHIND, NOON))


def test_a_refused_key_is_said() -> None:
    with pytest.raises(SetupError):
        asyncio.run(
            Publisher(Items(fault_of_items=SetupError("the key"), good=0), "kiosk", Ledger()).publish(WORLD, NOON)
        )


def test_a_world_without_a_catalogue_publishes_nothing() -> None:
    gateway = Items()
    publisher = Publisher(gateway, "shop", Ledger())
    assert not publisher.due(World())  # type: ignore[arg-type]  # what is asked of it


def test_simulated_clients_publish_beside_their_requests() -> None:
    gateway = Items()
    clients = Simulation(gateway, "kiosk", WORLD, SystemClock(), 50.0)  # type: ignore[arg-type]  # what is asked of it
    with clients:
        poll(lambda: clients.published > 50 and clients.ledger.answered > 10, what="items and answers")
        clients.check()
    assert clients.published == len(gateway.bodies)
