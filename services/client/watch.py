"""Simulated clients as one watches them: live on a terminal, by a line now and then in a log, by an account at last."""

import time
from collections import Counter
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


def watch(console: Console, clients: Simulation, world: ChangingWorld, clock: Clock, seconds: float | None) -> None:
    """Run the clients for so long (None: without end) in a world that changes; raises what ends them before."""
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    started, pulse = time.monotonic(), Pulse(clients.ledger)
    with clients, Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=seconds)
        while seconds is None or time.monotonic() - started < seconds:
            clients.check()
            passed = time.monotonic() - started
            if world.turn(passed, clock.now()):
                clients.world = world.now
                console.print(f"The world changed: it is {world.words}.", highlight=False)
            if console.is_terminal:
                progress.update(task, completed=passed, description=f"{pulse.so_far()}; the world is {world.words}")
            elif pulse.due():
                console.print(f"{pulse.line()}; the world is {world.words}", soft_wrap=True, highlight=False)
            time.sleep(LOOK)


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


def account(clients: Simulation) -> Table:
    """What was acknowledged, and what was not."""
    ledger = clients.ledger
    table = Table(show_header=False)
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
