"""How a stage is shown while it runs: a live bar on a terminal, a plain line now and then without one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from services.client.loadtest.measure import Tally
from services.client.loadtest.summary import pulse

EVERY = 5.0  # seconds between two plain lines


@contextmanager
def watching(console: Console, title: str, seconds: float) -> Iterator[Callable[[Tally], None]]:
    """What to call with each look at a stage of `seconds`."""
    began = time.monotonic()
    if not console.is_terminal:
        console.print(f"{title} …")
        yield _lines(console, began)
        return
    columns = (TextColumn(title), BarColumn(bar_width=24), TextColumn("{task.fields[pulse]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=seconds, pulse="")
        yield lambda tally: progress.update(task, completed=min(seconds, time.monotonic() - began), pulse=pulse(tally))


def _lines(console: Console, began: float) -> Callable[[Tally], None]:
    last = began

    def show(tally: Tally) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= EVERY:
            last = now
            console.print(f"{now - began:5.0f} s  {pulse(tally)}", soft_wrap=True)

    return show
