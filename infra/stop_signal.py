"""How a process is told to end: SIGTERM or SIGINT, for which its main thread waits between two things it does.

No `threading.Event`: the handler runs in the main thread, in the middle of whatever that does. While that is just going
to wait it holds the event's lock, for which `set` then waits for ever. `SimpleQueue.put` may be called from a handler.
"""

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue


class StopSignal:
    """An event that is set once, from a signal handler too, and waited for by one thread."""

    def __init__(self) -> None:
        self._told: SimpleQueue[None] = SimpleQueue()
        self._set = False

    @classmethod
    def of_process(cls) -> "StopSignal":
        """Set by SIGTERM and SIGINT; for the main thread."""
        stop = cls()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        return stop

    def set(self) -> None:
        self._set = True
        self._told.put(None)

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, or for so long: whether it is."""
        if not self._set:
            with suppress(Empty):
                self._told.get(timeout=seconds)
        return self._set
