"""The command line: `flywheel COMMAND`. Every command is one line here, and only the one that is run is imported."""

import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

import typer
from rich.console import Console
from rich.text import Text

from contracts.errors import FlywheelError, SetupError

PANELS: dict[str, dict[str, tuple[str, str]]] = {  # panel → command → (module:function, what it does)
    "The stack": {
        "up": ("infra.commands:up", "Start the local stack, show it until Ctrl-C, and stop it then."),
        "down": ("infra.commands:down", "Stop the local stack and everything it started."),
        "status": ("infra.commands:status", "Show health, memory, restarts and addresses of the stack."),
        "run": ("infra.commands:run", "Be one part of the stack, as a container is."),
        "doctor": ("infra.commands:doctor", "Check what the stack needs of this machine, and say what to do."),
        "key": ("infra.commands:key", "Print the gateway's API key."),
        "console": ("services.console.commands:console", "Print a link that opens the console."),
    },
    "Systems": {
        "new": ("infra.new_system:new", "Make a system that runs, from a template, for you to change."),
    },
    "The loop": {
        "demo": ("services.client.commands:demo", "Run the whole loop on this machine and tell it as a story."),
        "bootstrap": ("pipelines.bootstrap:bootstrap", "Give every system that has none its first model."),
        "simulate": ("services.client.commands:simulate", "Send a system simulated clients' requests and outcomes."),
        "ingest": ("pipelines.commands:ingest", "Bring a log of your own events into a system's history."),
        "materialize": ("pipelines.commands:materialize", "Bring a system's online features up to date."),
        "train": ("pipelines.commands:train", "Train a candidate model for a system."),
        "retrain": ("pipelines.commands:retrain", "Train on the logged features, and promote if the gate lets it."),
        "promote": ("pipelines.commands:promote", "Make a candidate the champion, if the gate lets it."),
        "rollback": ("pipelines.commands:rollback", "Bring a system's previous champion back."),
        "monitor": ("monitoring.commands:monitor", "Judge the latest window of a system's log for drift and quality."),
        "metrics": ("monitoring.commands:metrics", "Show what each version of a system earned, by outcomes."),
        "parity": ("monitoring.commands:parity", "Show whether features are served as they are recomputed."),
        "loadtest": ("services.client.loadtest.commands:loadtest", "Hold a system's requirements against real load."),
        "review": ("services.console.commands:review", "List what waits for a person's label, or give one its label."),
        "explain": ("services.client.commands:explain", "Show the record of one prediction, by its id."),
    },
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a refusal is one red sentence and status 1, Ctrl-C a quiet 130."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: what was started is stopped
    try:
        application(given)(args=given, prog_name="flywheel")
    except FlywheelError as error:
        Console(stderr=True, soft_wrap=True).print(Text(str(error), style="red"))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def application(given: Sequence[str]) -> typer.Typer:
    """All commands by name and help, and behind the one that is given its function."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,  # they may hold secrets
        help="An MLOps platform that closes its loop on one machine. Begin with: flywheel demo",
    )
    chosen = next((word for word in given if not word.startswith("-")), None)
    for panel, commands in PANELS.items():
        for name, (target, summary) in commands.items():
            function = _load(name, target) if name == chosen else _unchosen
            shown = None if name == chosen else summary  # its own docstring is longer
            app.command(name, help=shown, rich_help_panel=panel)(function)
    return app


def _load(name: str, target: str) -> Callable[..., object]:
    module, _, function = target.partition(":")
    try:
        loaded: Callable[..., object] = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        raise SetupError(
            f"`flywheel {name}` needs the Python module {error.name}, which is missing; run `make setup`."
        ) from error
    return loaded


def _unchosen() -> None:
    """Stands for a command that this run only lists."""


if __name__ == "__main__":
    main()
