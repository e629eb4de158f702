"""What the console has read of a source: its latest answer, or why there is none, shared by everybody who looks.

However many pages are open, a source is asked once at a time and not again before its answer is `lasts` seconds old.
One that hangs makes nobody wait longer than `PATIENCE`, and the others are shown meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from contracts.errors import FlywheelError

PATIENCE = 1.5  # seconds
LOG = logging.getLogger("flywheel.console")
T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """An answer, or in `fault` one sentence on why there is none."""

    value: T | None
    fault: str = ""


class Source(Generic[T]):
    """One source, by what people call it; `ask` is bounded in time and raises a FlywheelError in one sentence."""

    def __init__(
        self, name: str, ask: Callable[[], Awaitable[T]], lasts: float, time: Callable[[], float] = monotonic
    ) -> None:
        self.name, self.lasts = name, lasts
        self._ask, self._time = ask, time
        self._reading: Reading[T] | None = None
        self._read_at = 0.0
        self._asking: asyncio.Task[Reading[T]] | None = None
        self._asked_at = 0.0

    async def read(self) -> Reading[T]:
        """The latest answer; a new one where that is too old, as far as it comes in time."""
        if self._reading is not None and self._time() - self._read_at < self.lasts:
            return self._reading
        if self._asking is None or self._asking.done():
            self._asking, self._asked_at = asyncio.create_task(self._answer()), self._time()
        left = max(0.0, self._asked_at + PATIENCE - self._time())
        done, _ = await asyncio.wait({self._asking}, timeout=left)
        if done:
            return self._asking.result()
        return Reading(None, f"{self.name} has not answered for {self._time() - self._asked_at:.0f} s.")

    def forget(self) -> None:
        """Ask anew next time, for what it would answer was just changed."""
        self._read_at = -self.lasts

    async def close(self) -> None:
        """Give up what is being asked."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _answer(self) -> Reading[T]:
        try:
            reading = Reading(await self._ask())
        except FlywheelError as error:
            reading = Reading(None, str(error))
        except Exception as error:  # shown on the page, and in the log with its trace: one source takes no other down
            LOG.exception("%s could not be read", self.name)
            reading = Reading(
                None, f"{self.name} gave an answer that the console cannot read ({type(error).__name__})."
            )
        self._reading, self._read_at = reading, self._time()
        return reading
