"""The command line's client side: `flywheel demo`, `simulate` and `explain`."""

import shutil
import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

import systems
from contracts.errors import FlywheelError, NotFound, SetupError
from infra import wiring
from infra.settings import Settings
from services.client import demo as story_of
from services.client.closing import closing_table, closing_words
from services.client.demo import Parts, Plan
from services.client.explain import explanation
from services.client.gateway import GatewayClient
from services.client.ledger import Ledger
from services.client.seasons import ChangingWorld, DriftKind, Seasons
from services.client.simulation import Simulation
from services.client.story import Story
from services.client.watch import account, watch, worst

DEMO_MARK = "demo"  # a file in the state folder: what lies there came from a demo and may be thrown away


def client(settings: Settings) -> GatewayClient:
    return GatewayClient(settings.gateway, settings.secret("api_key"))


def simulate(
    system: Annotated[str, typer.Argument(help="A folder in systems/.")],
    rate: Annotated[float, typer.Option(min=0.1, max=5000, help="Requests a second, open loop.")] = 20.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long, in real time.")] = 60.0,
    forever: Annotated[bool, typer.Option("--forever", help="Until Ctrl-C or SIGTERM.")] = False,
    seed: Annotated[int, typer.Option(help="The world repeats from it.")] = 7,
    drift: Annotated[DriftKind, typer.Option(help="What changes in the world.")] = "none",
    drift_after: Annotated[float, typer.Option(min=0, help="Seconds until it changes, in real time.")] = 0.0,
    drift_every: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes, in real time, from one change to the next, there and back.")
    ] = None,
    strength: Annotated[float, typer.Option(min=0, max=2, help="How strongly it changes.")] = 1.0,
) -> None:
    """Simulated clients of a system send requests to the gateway, and outcomes as they come about."""
    settings, console = Settings.load(), Console()
    chosen, clock = systems.load(system), wiring.clock(settings)
    seasons = Seasons(drift, strength, drift_after, drift_every * 60 if drift_every else None)
    world = ChangingWorld(chosen.world, seed, seasons)
    clients = Simulation(client(settings), system, world.now, clock, rate, Ledger(complete=not forever))
    try:
        watch(console, clients, world, clock, None if forever else seconds)
    except KeyboardInterrupt:
        if not forever:
            raise
    console.print(account(clients))
    if not (clients.ledger.answered or forever):
        raise FlywheelError(f"No prediction was answered: {worst(clients.ledger)}")


def demo(
    system: Annotated[str, typer.Argument(help="A folder in systems/.")] = "ad_click",
    rows: Annotated[int, typer.Option(min=50_000, help="Events of history.")] = Plan.rows,
    rate: Annotated[float, typer.Option(min=10, help="Requests a second.")] = Plan.rate,
    seed: Annotated[int, typer.Option(help="The world repeats from it.")] = Plan.seed,
    keep: Annotated[
        bool | None,
        typer.Option("--keep/--stop", help="Leave the stack up afterwards; without it, on a terminal only."),
    ] = None,
) -> None:
    """Run the whole loop on this machine and tell it as a story; exit status 0 only when the loop closed."""
    settings, console = Settings.load(), Console(highlight=False)
    chosen, plan = systems.load(system), Plan(seed=seed, rows=rows, rate=rate)
    clear_stage(settings)
    console.print(Panel.fit(chosen.requirements.goal, title=f"Flywheel: {system}", border_style="blue"))
    started, story, stack = time.monotonic(), Story(console), wiring.stack(settings)
    clock = wiring.start_clock(settings, wiring.clock(settings).now() - plan.lead, plan.speed)
    try:
        with story.step("The stack: Redis, MLflow, Prefect, serving, gateway, recorder, Evidently") as step:
            stack.start()
            stack.wait_healthy(180.0, on_change=lambda states: step.say(_waiting_for(states)))
        parts = Parts(chosen, clock, wiring.archive(settings), wiring.registry(settings), wiring.dispatcher(settings))
        story_of.build(story, parts, plan)
        clients = Simulation(client(settings), system, chosen.world(seed), clock, plan.rate)
        with clients:
            outcome = story_of.close_the_loop(story, parts, plan, clients)
        found = story_of.faults(outcome, chosen.monitoring.quality_margin, chosen.requirements.availability)
        console.print(closing_table(outcome), closing_words(outcome, found, time.monotonic() - started))
        if not found and (keep if keep is not None else sys.stdout.isatty()):
            _look_around(console, settings)
    finally:
        stack.stop()
    if found:
        raise FlywheelError("The loop did not close: " + "; ".join(found) + ".")


def explain(
    prediction_id: Annotated[str, typer.Argument(help="As the gateway answered it.")],
    system: Annotated[str | None, typer.Option(help="Where to look; without it, everywhere.")] = None,
) -> None:
    """Show the record of one prediction: the version, the feature values it saw, scores, and what came of it."""
    record = wiring.archive(Settings.load()).prediction(prediction_id, system)
    if record is None:
        raise NotFound(
            f"No prediction {prediction_id!r} in the log; it is there about two seconds after the answer, "
            "if the recorder runs (`flywheel status`)."
        )
    Console().print(*explanation(systems.load(record.system), record))


def clear_stage(settings: Settings) -> None:
    """Leave nothing of an earlier demo; refuse to touch anything else."""
    mark, state = settings.state_dir / DEMO_MARK, settings.state_dir
    ours = mark.exists() or not any((state / name).exists() for name in ("events", "log", "mlflow"))
    if not ours:
        raise SetupError(
            f"{state} holds a stack of your own, which the demo would mix with its history: run it elsewhere with "
            "FLYWHEEL_STATE_DIR=/some/other/folder flywheel demo."
        )
    wiring.stack(settings).stop()
    for name in list(state.iterdir()) if state.exists() else []:
        if name.name == "secrets":
            continue
        shutil.rmtree(name) if name.is_dir() else name.unlink()
    settings.path(DEMO_MARK).write_text(
        "This state was made by `flywheel demo`, which deletes it when it starts again.\n"
    )


def _waiting_for(states: object) -> str:
    return "waiting for " + ", ".join(s.name for s in states if s.state != "healthy")  # type: ignore[attr-defined]


def _look_around(console: Console, settings: Settings) -> None:
    """Leave the stack up until Ctrl-C."""
    table = Table(title="The stack is still up; look around", title_justify="left", show_header=False)
    for what, url in (
        ("The API, to try in the browser (flywheel key prints the key)", f"{settings.gateway}/docs"),
        ("Runs and models in MLflow", settings.mlflow),
        ("Flow runs and the automation in Prefect", settings.prefect),
        ("Drift reports in Evidently", settings.evidently),
    ):
        table.add_row(what, f"[link={url}]{url}[/link]")
    console.print(table, "Press Ctrl-C to stop everything.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping.")
