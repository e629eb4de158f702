"""How the demo talks: one line a step, with what it is doing while it does it, and what came of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.spinner import Spinner


@dataclass
class Step:
    """A step under way: `say` what it is doing, set `result` to what it found."""

    title: str
    result: str = ""
    _spinner: Spinner | None = None
    _started: float = field(default_factory=time.monotonic)

    def say(self, doing: str) -> None:
        if self._spinner is not None:
            self._spinner.update(text=f"{self.title} [dim]{escape(doing.strip()[:100])}[/dim]")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started


@dataclass(frozen=True)
class Story:
    """Prints steps to a console; on a terminal the step under way is live."""

    console: Console

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step of the story; its line stays, ticked when it ends well and crossed when it does not."""
        spinner = Spinner("dots", text=title)
        step = Step(title, _spinner=spinner)
        try:
            if self.console.is_terminal:
                with Live(spinner, console=self.console, transient=True, refresh_per_second=8):
                    yield step
            else:
                self.console.print(f"  … {title}")
                yield step
        except BaseException:
            self.console.print(f"[red]  ✗ {title}[/red] [dim]({step.seconds:.0f} s)[/dim]")
            raise
        self.console.print(f"[green]  ✓[/green] [bold]{title}[/bold] [dim]({step.seconds:.0f} s)[/dim]", soft_wrap=True)
        if step.result:
            self.console.print(Padding(escape(step.result), (0, 0, 0, 4)))
