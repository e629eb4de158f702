"""Simulated clients as one watches them: live on a terminal, by a line now and then in a log, by an account at last."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from contracts.ports import Clock
from services.client.ledger import Ledger
from services.client.seasons import ChangingWorld
from services.client.simulation import Simulation

LOOK = 0.25  # seconds between two looks at the clients and at their world
LINE = 10.0  # seconds between two lines where there is no terminal


@dataclass(frozen=True)
class Played:
    """One system's clients and the world they live in."""

    system: str
    clients: Simulation
    world: ChangingWorld


def watch(console: Console, played: Sequence[Played], clock: Clock, seconds: float | None) -> None:
    """Run the clients for so long (None: without end) in worlds that change; raises what ends any of them before."""
    columns = (TextColumn("[bold]{task.fields[system]}"), BarColumn(), TextColumn("{task.description}"))
    progress = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
    started = time.monotonic()
    with ExitStack() as running:
        for one in played:
            running.enter_context(one.clients)
        running.enter_context(progress)
        screens = [Screen(console, progress, one, seconds) for one in played]
        while seconds is None or time.monotonic() - started < seconds:
            for screen in screens:
                screen.look(time.monotonic() - started, clock)
            time.sleep(LOOK)


class Screen:
    """What is shown of one system's clients."""

    def __init__(self, console: Console, progress: Progress, played: Played, seconds: float | None) -> None:
        self.console, self.progress, self.played = console, progress, played
        self.pulse = Pulse(played.clients.ledger)
        self.task = progress.add_task("", total=seconds, system=played.system)

    def look(self, passed: float, clock: Clock) -> None:
        """Check, turn the world if it is time, and show how it goes."""
        name, clients, world = self.played.system, self.played.clients, self.played.world
        clients.check()
        if world.turn(passed, clock.now()):
            clients.world = world.now
            self.console.print(f"{name}: the world changed: it is {world.words}.", highlight=False)
        if self.console.is_terminal:
            said = f"{self.pulse.so_far()}; the world is {world.words}"
            self.progress.update(self.task, completed=passed, description=said)
        elif self.pulse.due():
            said = f"{name}: {self.pulse.line()}; the world is {world.words}"
            self.console.print(said, soft_wrap=True, highlight=False)


@dataclass
class Pulse:
    """How the clients do, and what happened since it was last told."""

    ledger: Ledger
    told_at: float = field(default_factory=time.monotonic)
    told: Counter[str] = field(default_factory=Counter)  # answers by version until then

    def due(self) -> bool:
        return time.monotonic() - self.told_at >= LINE

    def line(self) -> str:
        """So far, and which versions answered since the last line."""
        lately = self.ledger.versions - self.told
        self.told_at, self.told = time.monotonic(), self.ledger.versions.copy()
        versions = ", ".join(f"{number:,} by version {version}" for version, number in lately.most_common())
        return f"{self.so_far()}; lately {versions or 'no answer'}"

    def so_far(self) -> str:
        ledger = self.ledger
        return (
            f"{ledger.answered:,} answered, {ledger.failed + ledger.unsent:,} failed, {ledger.reported:,} outcomes, "
            f"p50 {ledger.percentile(50):.0f} ms, p99 {ledger.percentile(99):.0f} ms"
        )


def account(system: str, clients: Simulation) -> Table:
    """What was acknowledged, and what was not."""
    ledger = clients.ledger
    table = Table(title=system, title_justify="left", show_header=False)
    table.add_row("predictions acknowledged", f"{ledger.answered:,}")
    table.add_row("outcomes acknowledged", f"{ledger.reported:,} ({clients.waiting:,} had not come about yet)")
    table.add_row("latency", f"p50 {ledger.percentile(50):.1f} ms, p99 {ledger.percentile(99):.1f} ms")
    table.add_row("answered by version", ", ".join(f"{v}: {n:,}" for v, n in ledger.versions.most_common()) or "none")
    if ledger.unsent:
        table.add_row("not sent", f"{ledger.unsent:,}, for too many waited for an answer")
    for label, counted in (("degraded", ledger.degraded), ("failed", ledger.failures)):
        table.add_row(label, "\n".join(f"{n:,} × {what}" for what, n in counted.most_common(5)) or "none")
    return table


def worst(ledger: Ledger) -> str:
    """The most frequent failure."""
    return ledger.failures.most_common(1)[0][0] if ledger.failures else "nothing was sent."
