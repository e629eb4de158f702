"""The stack on the screen: a live table on a terminal, a line for each change elsewhere."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.stack_state import ComponentStatus

STYLES = {
    "healthy": "green",
    "starting": "yellow",
    "waiting": "dim",
    "backoff": "red",
    "unhealthy": "red",
    "stopped": "dim",
}


class StackTable:
    """Components as they stood when last told; drawn again and again, so that the seconds run."""

    def __init__(self, states: Sequence[ComponentStatus] = (), memory: bool = False) -> None:
        self.states = tuple(states)
        self._memory = memory

    def tell(self, states: tuple[ComponentStatus, ...]) -> None:
        self.states = states

    def __rich__(self) -> Table:
        headings = ("component", "state", "for", "pid", *(("memory", "restarts") if self._memory else ()), "where", "")
        table = Table(*headings, box=None, pad_edge=False, header_style="bold")
        for one in self.states:
            table.add_row(*self._cells(one))
        if self._memory:
            table.caption = f"{sum(one.memory for one in self.states) / 1e9:.2f} GB in all"
            table.caption_justify = "left"
        return table

    def _cells(self, one: ComponentStatus) -> list[Text]:
        figures = (f"{one.memory / 1e6:.0f} MB", str(one.restarts)) if self._memory else ()
        where = Text(one.url, style=f"link {one.url}" if one.url.startswith("http") else "")
        return [
            Text(one.name),
            Text(one.state, style=STYLES[one.state]),
            Text(duration(time.time() - one.since)),
            Text(str(one.pid or "")),
            *map(Text, figures),
            where,
            Text("" if one.state == "healthy" else one.error, style="dim", overflow="ellipsis"),
        ]


class StackLines:
    """The same for a log file: one line whenever a component comes to another state."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, str] = {}
        self._began = time.monotonic()

    def tell(self, states: tuple[ComponentStatus, ...]) -> None:
        for one in states:
            if self._told.get(one.name) == one.state:
                continue
            self._told[one.name] = one.state
            why = f": {one.error}" if one.error and one.state in ("backoff", "unhealthy") else ""
            where = f", {one.url}" if one.url and one.state == "healthy" else ""
            line = f"{time.monotonic() - self._began:6.1f} s  {one.name} {one.state}{where}{why}"
            self._console.print(Text(line), soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
