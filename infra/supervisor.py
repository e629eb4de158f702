"""The supervisor of the local stack: a process of its own that starts the components, and ends them when it ends.

`python -m infra.supervisor` returns once the supervisor runs in the background, or says in one sentence why it cannot.
Beside it stands its warden, a fork that does nothing but wait for the supervisor's end: when that comes without a
farewell (kill -9), the warden ends whatever is left. Were both killed, the kernel tells each component (launch.py),
and the next supervisor begins by ending what the last one left.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from contracts.errors import FlywheelError
from infra import log_files, preflight, processes, stack_state
from infra.components import Component, components, environ_of
from infra.settings import Settings
from infra.stack_state import Lock, mark
from infra.stop_signal import StopSignal
from infra.supervised import Supervised

TICK = 0.1  # seconds
EVERY = 1.0  # seconds between two writings of the state when nothing changed
LEFTOVER_GRACE = 5.0  # seconds from SIGTERM to SIGKILL for what a killed supervisor left
HANDOVER = 30.0  # seconds that a killed supervisor's warden may take before the next supervisor gives up
READY, FAREWELL = b"ready", b"."

Choose = Callable[[Settings], tuple[Component, ...]]


def main(choose: Choose = components) -> int:
    """Start the supervisor in the background; 0 once it runs, else 1 after a sentence on standard error."""
    told, tell = os.pipe()
    if os.fork() == 0:
        os.close(told)
        _in_background(choose, tell)
        os._exit(0)  # what the parent would do at its exit is the parent's to do
    os.close(tell)
    with os.fdopen(told, "rb") as ready:
        word = ready.read()
    if word == READY:
        return 0
    sys.stderr.write(word.decode() or "The supervisor died at its start; see logs/supervisor.log in the state folder.")
    return 1


def _in_background(choose: Choose, tell: int) -> None:
    os.setsid()
    try:
        settings = Settings.load()
        _take_lock(settings)
        _to_log(settings)
        processes.end(stack_state.leftovers(settings), LEFTOVER_GRACE)
        chosen = choose(settings)
        preflight.check(chosen, settings.host)
    except FlywheelError as error:
        os.write(tell, str(error).encode())
        return
    with _warden(settings, tell):
        Supervisor(settings, chosen).run(lambda: _announce(tell))


def _announce(tell: int) -> None:
    """Raises when whoever started us has been killed meanwhile, by Ctrl-C for one: then the stack shall not be."""
    os.write(tell, READY)
    os.close(tell)


def _take_lock(settings: Settings) -> None:
    lock, deadline = Lock(settings), time.monotonic() + HANDOVER
    while not lock.acquire():
        if (holder := lock.holder()) or time.monotonic() > deadline:
            raise stack_state.already_runs(settings, holder)
        time.sleep(0.05)


def _to_log(settings: Settings) -> None:
    """From here on nobody listens: standard output and error go to the supervisor's own log."""
    log = settings.path("logs", "supervisor.log")
    log_files.rotate(log)
    with log.open("ab") as file, open(os.devnull, "rb") as nothing:  # noqa: PTH123  # no path worth an object
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


@contextmanager
def _warden(settings: Settings, tell: int) -> Iterator[None]:
    """A fork, made before there are threads, that ends the stack should this process end within the block."""
    watched, life = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.close(life)
        os.close(tell)
        if os.read(watched, 1) != FAREWELL:
            processes.end(stack_state.leftovers(settings), LEFTOVER_GRACE)
        os._exit(0)
    os.close(watched)
    os.set_inheritable(life, False)
    try:
        yield
        os.write(life, FAREWELL)
    finally:
        os.close(life)


class Supervisor:
    """The components and the one loop over them."""

    def __init__(self, settings: Settings, chosen: tuple[Component, ...]) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(2 * len(chosen) + 1, thread_name_prefix="health")
        self._all = [self._supervised(component) for component in chosen]
        self._written: object = None
        self._written_at = 0.0

    def run(self, on_ready: Callable[[], None]) -> None:
        """Supervise until SIGTERM or SIGINT, then end the components in the reverse order of their needs."""
        ended = StopSignal.of_process()
        self._write()
        on_ready()
        while not ended.wait(TICK):
            self._restart_requested()
            healthy = {one.component.name for one in self._all if one.state == "healthy"}
            for one in self._all:
                one.step(healthy)
            self._write()
        self._stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _supervised(self, component: Component) -> Supervised:
        log = self._settings.path("logs", f"{component.name}.log")
        log_files.rotate(log)
        own = mark(self._settings, component.name)
        environ = environ_of(component, self._settings) | {processes.MARK: own}
        return Supervised(component, own, environ, log, self._pool)

    def _restart_requested(self) -> None:
        for one in self._all:
            request = self._settings.path("run", f"restart.{one.component.name}")
            if request.exists():
                request.unlink()
                one.restart("restarted on request")

    def _write(self) -> None:
        """On each change, and each second as a sign of life."""
        now, statuses = time.monotonic(), [one.status for one in self._all]
        if statuses == self._written and now - self._written_at < EVERY:
            return
        with suppress(OSError):  # a full disk is no reason to end the stack; it is tried again with the next tick
            stack_state.write(self._settings, statuses)
            self._written, self._written_at = statuses, now
            for one in self._all:
                log_files.bound(one.log)

    def _stop(self) -> None:
        left = list(self._all)
        while left:
            needed = {name for one in left for name in one.component.needs}
            free = [one for one in left if one.component.name not in needed] or left
            processes.end([one.family for one in free], max(one.component.stop_grace for one in free))
            for one in free:
                one.stopped()
            left = [one for one in left if one not in free]
            self._write()


if __name__ == "__main__":
    sys.exit(main())
