"""What a simulated world publishes, on its way to the gateway: in order, each until it is acknowledged or refused."""

import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from contracts.errors import Conflict, FlywheelError, InvalidInput, NotFound, SetupError
from contracts.system import AT
from contracts.world import PublishingWorld, World
from services.client.ledger import Ledger

LOOK = 1.0  # seconds between two looks at what came out
MOST = 100  # items sent in one go, so that clients which are told to end do so soon
RETRY = 1.0  # seconds until an item is sent again that was not acknowledged
BEHIND = timedelta(days=1)  # what came out before the first look is published, too: history may have ended then
REFUSED = (InvalidInput, NotFound, Conflict)  # the gateway has judged what was sent, and would again


class Publishes(Protocol):
    """The gateway, as far as items go."""

    async def publish(self, system: str, item: dict[str, Any]) -> None: ...


class Publisher:
    """Publishes what a world brings out. Of a world without a catalogue it publishes nothing."""

    def __init__(self, client: Publishes, system: str, ledger: Ledger) -> None:
        self.published = 0
        self._client, self._system, self._ledger = client, system, ledger
        self._waiting: deque[dict[str, Any]] = deque()
        self._until: datetime | None = None
        self._next = 0.0  # monotonic
        self._sending = False

    def due(self, world: World) -> bool:
        """Whether it is time for `publish`."""
        return isinstance(world, PublishingWorld) and not self._sending and time.monotonic() >= self._next

    async def publish(self, world: World, now: datetime) -> None:
        """Look at what came out since the last look, and send what waits; what is not acknowledged waits on."""
        self._sending = True
        try:
            self._look(world, now)
            for _ in range(min(MOST, len(self._waiting))):
                await self._send(self._waiting[0])
                self._waiting.popleft()
            self._next = time.monotonic() + (0 if self._waiting else LOOK)
        except SetupError:
            raise
        except FlywheelError as error:
            self._ledger.fail(str(error))
            self._next = time.monotonic() + RETRY
        finally:
            self._sending = False

    def _look(self, world: World, now: datetime) -> None:
        since = self._until or now - BEHIND
        if not isinstance(world, PublishingWorld) or now <= since:
            return
        items = world.items(since, now)
        moments = [datetime.fromtimestamp(at, UTC).isoformat() for at in items[AT]]
        for item, at in zip(items.drop(columns=AT).to_dict("records"), moments, strict=True):
            self._waiting.append({**item, "published_at": at})  # type: ignore[dict-item]  # names are strings
        self._until = now

    async def _send(self, item: dict[str, Any]) -> None:
        try:
            await self._client.publish(self._system, item)
            self.published += 1
        except REFUSED as error:
            self._ledger.fail(str(error))
