"""The probe: looks after the parts of the stack that have no metrics of their own, for Prometheus.

`python -m infra.probe`. Each look at GET /metrics asks all of `settings.probe_targets` at once and waits two seconds
at most. No target's password is needed: a server that asks for one has answered.
"""

import logging
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from contracts.errors import FlywheelError, SetupError
from infra import endpoint, health
from infra.endpoint import METRICS, TEXT, Answer
from infra.settings import Settings
from infra.stop_signal import StopSignal

SECONDS = 2.0  # for all targets together; Prometheus asks every five
SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL's protocol, "SSLRequest": answered by one byte, S or N
LOG = logging.getLogger("flywheel.probe")


@dataclass(frozen=True)
class Target:
    """A part of the stack by its name, and where it answers."""

    name: str
    url: str


@dataclass(frozen=True)
class Finding:
    """Why a target is down (empty: it is up), and after how many seconds that was known."""

    fault: str
    seconds: float


class Probe:
    """Asks every target at once; one that hangs holds a thread of its own and nobody else.

    A collector of prometheus_client: an exposition of the registry it is in asks the targets.
    """

    def __init__(self, targets: Iterable[Target], timeout: float = SECONDS) -> None:
        self.targets, self.timeout = tuple(targets), timeout
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Finding]] = {}
        self._last: dict[str, str] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What Prometheus is told: two gauges, by component."""
        up = GaugeMetricFamily("flywheel_component_up", "1 while the component answers", labels=["component"])
        seconds = GaugeMetricFamily(
            "flywheel_component_probe_seconds", "Seconds until that was known", labels=["component"]
        )
        for name, finding in self.check().items():
            up.add_metric([name], 0.0 if finding.fault else 1.0)
            seconds.add_metric([name], finding.seconds)
        yield up
        yield seconds

    def check(self) -> Mapping[str, Finding]:
        """How every target is, within the timeout; one that has not answered by then is down."""
        with self._lock:
            asked = {target.name: self._ask(target) for target in self.targets}
        wait(asked.values(), self.timeout)
        found = {name: self._finding(future) for name, future in asked.items()}
        self._tell(found)
        return found

    def _ask(self, target: Target) -> Future[Finding]:
        """The question that is still under way from an earlier look (its name's lookup may hang), or a new one."""
        before = self._asked.get(target.name)
        if before is None or before.done():
            self._asked[target.name] = before = _in_background(target, self.timeout)
        return before

    def _finding(self, future: Future[Finding]) -> Finding:
        late = Finding(f"did not answer within {self.timeout:g} s", self.timeout)
        if not future.done():
            return late
        found = future.result()
        return found if found.seconds <= self.timeout or found.fault else late

    def _tell(self, found: Mapping[str, Finding]) -> None:
        """A line in the log for each change; Prometheus has only the number."""
        for name, finding in found.items():
            if finding.fault != self._last.get(name, ""):
                LOG.warning("%s: %s", name, finding.fault or "up again")
            self._last[name] = finding.fault


def targets_of(written: str) -> tuple[Target, ...]:
    """The targets in "NAME=URL,NAME=URL"; SetupError says in one sentence what cannot be used."""
    targets: dict[str, Target] = {}
    for part in filter(None, (each.strip() for each in written.split(","))):
        name, equals, url = (each.strip() for each in part.partition("="))
        if not (name and equals and url):
            raise SetupError(f"FLYWHEEL_PROBE_TARGETS holds {part!r}; each target is NAME=URL, with commas between.")
        if name in targets:
            raise SetupError(f"FLYWHEEL_PROBE_TARGETS names {name!r} twice; give each target a name of its own.")
        _check_url(name, url)
        targets[name] = Target(name, url)
    return tuple(targets.values())


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in QUESTIONS and parts.hostname and (parts.port or parts.scheme == "http")
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        known = ", ".join(f"{scheme}://HOST:PORT" for scheme in QUESTIONS)
        raise SetupError(f"FLYWHEEL_PROBE_TARGETS places {name!r} at {url!r}; what the probe can ask is {known}.")


def _in_background(target: Target, timeout: float) -> Future[Finding]:
    """No pool: its threads would hold up the end of the process for as long as one hangs."""
    future: Future[Finding] = Future()
    threading.Thread(target=lambda: future.set_result(ask(target, timeout)), name=target.name, daemon=True).start()
    return future


def ask(target: Target, timeout: float) -> Finding:
    """How one target is. Whatever goes wrong is a finding: a probe that fails would hide what it looks for."""
    started = monotonic()
    try:
        fault = QUESTIONS[urlsplit(target.url).scheme](target.url, timeout)
    except TimeoutError:
        fault = f"did not answer within {timeout:g} s"
    except Exception as error:
        fault = str(error) or type(error).__name__
    return Finding(fault, monotonic() - started)


def _redis_fault(url: str, timeout: float) -> str:
    """A server that wants a password says so; one that loads its data, or hangs, is not up."""
    answer = _said(url, b"PING\r\n", timeout)
    return "" if answer.startswith((b"+PONG", b"-NOAUTH")) else f"answered PING with {_readable(answer)}"


def _postgresql_fault(url: str, timeout: float) -> str:
    answer = _said(url, SSL_REQUEST, timeout)
    return "" if answer in (b"S", b"N") else f"answered an SSLRequest with {_readable(answer)}"


def _said(url: str, question: bytes, timeout: float) -> bytes:
    """The first bytes of the answer; both protocols' answers fit in one packet."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout) as connection:
        connection.sendall(question)
        return connection.recv(64)


def _readable(answer: bytes) -> str:
    return repr(answer.decode("ascii", "replace").strip()) if answer else "nothing"


QUESTIONS: Mapping[str, Callable[[str, float], str]] = {
    "http": health.fault,
    "redis": _redis_fault,
    "postgresql": _postgresql_fault,
}


def serving(host: str, port: int, collector: Collector) -> AbstractContextManager[int]:
    """GET /healthz (this process serves) and GET /metrics (what it looks after is asked now) while the block runs."""
    registry = CollectorRegistry()
    registry.register(collector)
    routes = {
        "/healthz": lambda: Answer(200, TEXT, b"ok\n"),
        "/metrics": lambda: Answer(200, METRICS, generate_latest(registry)),
    }
    return endpoint.serving("probe", host, port, routes)


def main() -> int:
    """Serve until SIGTERM or SIGINT; what keeps it from that is said in one sentence."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    try:
        settings = Settings.load()
        targets = targets_of(settings.probe_targets)
        with serving(settings.host, settings.probe_port, Probe(targets)) as port:
            names = ", ".join(each.name for each in targets) or "nothing"
            LOG.info("looking after %s; metrics on port %d", names, port)
            StopSignal.of_process().wait()
    except FlywheelError as error:
        LOG.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
