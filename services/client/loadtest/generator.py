"""`python -m services.client.loadtest.generator`: one process that sends, or that leads those which do.

Its standard input says what to do, a line each, and its end means the end; its standard output tells how it goes.
Locust is used as a library: none of its files, environment variables or plugins (its cloud's among them) are looked
for, and nobody is told that it runs.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any, TextIO

# Locust patches the standard library when it is imported: before anything else of this process.
import locust.stats
from locust.env import Environment
from locust.runners import STATE_RUNNING, WORKER_REPORT_INTERVAL, MasterRunner

import gc  # isort: skip

import gevent
from gevent.fileobject import FileObject

from services.client.loadtest import report, web
from services.client.loadtest.arrivals import Arrivals
from services.client.loadtest.measure import Tally, merged
from services.client.loadtest.plan import Duty, Stage
from services.client.loadtest.user import client_class

LEAD = 0.3  # seconds from a stage's announcement to its start, for every process to hear of it
TICK = 0.5  # seconds between two looks at how it goes
HISTORY = 1.0  # seconds between two points of the report's charts
JOINING = 30.0  # seconds in which all workers must have come
Message = dict[str, Any]


def main() -> None:
    """Do one duty; ends with its standard input."""
    commands, tell = FileObject(sys.stdin.buffer, "rb"), telling()
    duty = Duty.of(commands.readline().decode())
    report.configure()
    arrivals = Arrivals(duty.target.timeout)
    leading = duty.role == "master"
    clients = client_class(duty.target, arrivals, first=os.getpid() * 997)
    environment = Environment(user_classes=[clients], host=duty.target.url, locustfile="flywheel loadtest")
    runner = _runner(environment, duty)
    gc.collect()
    gc.freeze()  # thousands of bodies need not be looked through again
    if not leading:
        follow(runner, arrivals, duty.workers)
    if duty.role != "worker":
        Leader(runner, duty, tell).obey(commands)
    else:
        commands.read()
    sys.stderr.flush()
    os._exit(0)  # whatever is still under way is not waited for


def telling() -> Callable[..., None]:
    """What writes a line of JSON to the standard output, which nothing else in this process then can."""
    out: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(kind: str, **what: Any) -> None:
        out.write(json.dumps({"kind": kind, **what}) + "\n")

    return tell


def _runner(environment: Environment, duty: Duty) -> Any:
    """Locust's runner for the role; typed loosely, for the three share their methods by name only."""
    if duty.role == "alone":
        return environment.create_local_runner()
    if duty.role == "master":
        return environment.create_master_runner(web.LOOPBACK, 0)
    return environment.create_worker_runner(web.LOOPBACK, duty.master_port)


def follow(runner: Any, arrivals: Arrivals, workers: int) -> None:
    """Run the stages that are announced, and report each second and at the end of each."""

    def announced(environment: Environment, msg: Any) -> None:
        gevent.spawn(run, Stage(**msg.data["stage"]), msg.data["begin"], msg.data["number"])

    def run(stage: Stage, begin: float, number: int) -> None:
        if stage.fresh:
            runner.stats.clear_all()
        ticks = gevent.spawn(tick, number)
        tally = arrivals.run(stage, begin, runner.worker_index, workers)
        ticks.kill()
        send(number, tally, True)

    def tick(number: int) -> None:
        while True:
            gevent.sleep(TICK)
            send(number, arrivals.snapshot(), False)

    def send(number: int, tally: Tally, over: bool) -> None:
        packed = {"worker": runner.worker_index, "number": number, "over": over, "tally": tally.packed()}
        runner.send_message("tally", packed)

    runner.register_message("stage", announced)
    runner.environment.events.test_stop.add_listener(lambda **_: arrivals.stop())


class Leader:
    """The process that the command line talks to: announces stages, adds up what the workers measured, reports."""

    def __init__(self, runner: Any, duty: Duty, tell: Callable[..., None]) -> None:
        self._runner, self._duty, self._tell = runner, duty, tell
        self._environment: Environment = runner.environment
        self._number = 0
        self._tallies: dict[int, Tally] = {}
        self._over: set[int] = set()
        self._runner.register_message("tally", self._heard)

    def obey(self, commands: FileObject) -> None:
        """Until the standard input ends."""
        if isinstance(self._runner, MasterRunner):
            self._tell("listening", port=self._runner.server.port)
        self._spawn_users()
        page = "" if self._duty.web_port is None else web.serve(self._environment, self._duty.web_port)
        gevent.spawn(self._chart)
        self._tell("ready", page=page)
        for line in commands:
            given: Message = json.loads(line)
            act = self._announce if given.pop("do") == "stage" else self._report
            act(**given)

    def _spawn_users(self) -> None:
        """All users of all processes; without a stage they wait."""
        if isinstance(self._runner, MasterRunner):
            with gevent.Timeout(JOINING):
                while len(self._runner.clients.ready) < self._duty.workers:
                    gevent.sleep(0.05)
        users = self._duty.target.connections * self._duty.workers
        self._runner.start(users, spawn_rate=users)
        with gevent.Timeout(JOINING):
            while self._runner.user_count < users or self._runner.state != STATE_RUNNING:
                gevent.sleep(0.05)

    def _announce(self, **stage: Any) -> None:
        self._number += 1
        self._tallies, self._over = {}, set()
        if stage.get("fresh"):
            self._runner.stats.clear_all()
        message = {"stage": stage, "begin": time() + LEAD, "number": self._number}
        self._runner.send_message("stage", message)

    def _heard(self, environment: Environment, msg: Any, **_: Any) -> None:
        """A worker's tally of the stage under way, so far or whole."""
        worker, over = msg.data["worker"], msg.data["over"]
        if msg.data["number"] != self._number:
            return
        self._tallies[worker] = Tally.unpacked(msg.data["tally"])
        if over:
            self._over.add(worker)
        if len(self._over) == self._duty.workers:
            self._tell("over", tally=merged(list(self._tallies.values())).packed())
        elif worker == max(self._tallies):
            self._tell("tick", tally=merged(list(self._tallies.values())).packed())

    def _report(self, path: str, findings: list[Message]) -> None:
        if isinstance(self._runner, MasterRunner):
            gevent.sleep(WORKER_REPORT_INTERVAL + TICK)  # until then workers keep what Locust counted last
        report.write(Path(path), self._environment, findings)
        self._tell("reported")

    def _chart(self) -> None:
        while True:
            gevent.sleep(HISTORY)
            if len(self._over) < self._duty.workers:
                locust.stats.update_stats_history(self._runner)


if __name__ == "__main__":
    main()
