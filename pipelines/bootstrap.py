"""Where a stack's loop begins: history, features and a first champion for every system that has none.

`flywheel bootstrap` does nothing itself. It asks the registry who has a champion and has runs made of what is missing,
over the HTTP of MLflow and Prefect alone: it may stand anywhere, and shares no disk with the runs. Ended half way it
starts again at the first step, whose work is there already.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

import systems
from contracts.errors import FlywheelError, NotFound, RefusedCandidate, SetupError, Unavailable
from contracts.ports import Dispatcher, ModelSource
from contracts.records import RunState
from infra import wiring
from infra.settings import Settings
from pipelines.deployments import REFUSED

PAUSE = 1.0  # seconds before a part that is coming up is asked again
Answer = TypeVar("Answer")


def bootstrap(
    names: Annotated[
        list[str] | None, typer.Argument(help="systems; without any, all there are", metavar="SYSTEM")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="events of the simulated history")] = 300_000,
    days: Annotated[
        float | None, typer.Option(min=0.1, help="of simulated history; without it, what the label delay asks for")
    ] = None,
    seed: Annotated[int, typer.Option(help="the world repeats from it")] = 7,
) -> None:
    """Give every system without a champion its history, its features and a first model; the others are left alone."""
    settings, console, errors = Settings.load(), _console(), _console(stderr=True)
    parts = Parts(wiring.model_source(settings), wiring.dispatcher(settings), console.print)
    failed = []
    for name in names or systems.names():
        try:
            begin(parts, name, {"seed": seed, "days": days, "rows": rows})
        except Unavailable as error:
            raise SetupError(f"`bootstrap` runs on the stack; see `flywheel status` ({error})") from error
        except FlywheelError as error:
            errors.print(str(error), style="red")
            failed.append(name)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Parts:
    """What the bootstrap works with."""

    models: ModelSource
    dispatcher: Dispatcher
    say: Callable[[str], None]
    patience: float = 180.0  # seconds that a part of the stack may take to come up


def begin(parts: Parts, name: str, world: Mapping[str, Any]) -> None:
    """See to it that a system has a champion; RefusedCandidate when the gate lets no first model pass."""
    if name not in systems.names():
        systems.load(name)  # says which there are
    champion = patiently(parts, lambda: parts.models.resolve(name, "champion"))
    if champion is not None:
        parts.say(f"{name} has a champion, version {champion.version}: nothing to do.")
        return
    systems.load(name)  # after the question, for it takes seconds: a broken system is told from here, not by a run
    parts.say(f"{name} has no champion yet.")
    followed(parts, "ingest", {"system": name, "world": world})
    followed(parts, "materialize", {"system": name})
    followed(parts, "train", {"system": name, "data": "history", "reason": "the first model"})
    ended = followed(parts, "promote", {"system": name})
    if ended.message.startswith(REFUSED):
        raise RefusedCandidate(f"{name} has no champion: {ended.message.removeprefix(f'{REFUSED}: ')}")
    parts.say(ended.message)


def followed(parts: Parts, deployment: str, parameters: Mapping[str, Any]) -> RunState:
    """Run a deployment, once there is one, and say what it logs until it has ended well: what it ended with."""
    run_id = patiently(parts, lambda: parts.dispatcher.run(deployment, parameters), NotFound)
    said = 0
    while True:
        try:
            for line in islice(parts.dispatcher.follow(run_id), said, None):
                parts.say(f"{deployment}: {line}")
                said += 1
            break
        except Unavailable:
            if patiently(parts, lambda: parts.dispatcher.state(run_id)).state == "scheduled":
                raise  # Prefect answers, and nobody takes the run up
    ended = patiently(parts, lambda: parts.dispatcher.state(run_id))
    if ended.state != "completed":
        raise FlywheelError(f"The run {ended.name} of {deployment} {ended.state}: {ended.message}")
    return ended


def patiently(parts: Parts, ask: Callable[[], Answer], *also: type[FlywheelError]) -> Answer:
    """What `ask` answers, once the part that it asks has come up; its last refusal when that takes too long."""
    deadline, told = time.monotonic() + parts.patience, False
    while True:
        try:
            return ask()
        except FlywheelError as error:
            if not isinstance(error, (Unavailable, *also)):
                raise
            if time.monotonic() > deadline:
                raise Unavailable(f"waited {parts.patience:.0f} s: {error}") from error
            if not told:
                parts.say(f"Waiting for the stack: {error}")
                told = True
        time.sleep(PAUSE)


def _console(stderr: bool = False) -> Console:
    return Console(stderr=stderr, soft_wrap=True, markup=False, highlight=False)
