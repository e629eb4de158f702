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
from contracts.system import System
from infra import wiring
from infra.settings import Settings
from services.client import demo as story_of
from services.client.closing import closing_table, closing_words
from services.client.demo import Parts
from services.client.explain import explanation
from services.client.gateway import GatewayClient
from services.client.ledger import Ledger
from services.client.plan import plan_for
from services.client.seasons import ChangingWorld, DriftKind, Seasons
from services.client.simulation import Simulation
from services.client.story import Story
from services.client.watch import Played, account, watch, worst

DEMO_MARK = "demo"  # a file in the state folder: what lies there came from a demo and may be thrown away


def client(settings: Settings) -> GatewayClient:
    return GatewayClient(settings.gateway, settings.secret("api_key"))


def simulate(
    names: Annotated[
        list[str] | None, typer.Argument(help="Folders in systems/; without any, all.", metavar="[SYSTEM]...")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=5000, help="Requests a second of each, open loop.")] = 20.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long, in real time.")] = 60.0,
    forever: Annotated[bool, typer.Option("--forever", help="Until Ctrl-C or SIGTERM.")] = False,
    seed: Annotated[int, typer.Option(help="The worlds repeat from it.")] = 7,
    drift: Annotated[DriftKind, typer.Option(help="What changes in the worlds.")] = "none",
    drift_after: Annotated[float, typer.Option(min=0, help="Seconds until it changes, in real time.")] = 0.0,
    drift_every: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes, in real time, from one change to the next, there and back.")
    ] = None,
    strength: Annotated[float, typer.Option(min=0, max=2, help="How strongly it changes.")] = 1.0,
) -> None:
    """Simulated clients of systems send requests to the gateway, and outcomes as they come about."""
    settings, console = Settings.load(), Console()
    clock, seasons = wiring.clock(settings), Seasons(drift, strength, drift_after, (drift_every or 0) * 60 or None)
    chosen = [systems.load(name) for name in names] if names else sound(console)
    worlds = {system.name: ChangingWorld(system.world, seed, seasons) for system in chosen}
    played = [
        Played(name, Simulation(client(settings), name, world.now, clock, rate, Ledger(not forever)), world)
        for name, world in worlds.items()
    ]
    try:
        watch(console, played, clock, None if forever else seconds)
    except KeyboardInterrupt:
        if not forever:
            raise
    for one in played:
        console.print(account(one.system, one.clients))
        if not (one.clients.ledger.answered or forever):
            raise FlywheelError(f"No prediction of {one.system} was answered: {worst(one.clients.ledger)}")


def sound(console: Console) -> list[System]:
    """All systems that load; of the others it is said what to mend."""
    loaded, broken = systems.load_all()
    for error in broken:
        console.print(str(error), style="red")
    if not loaded:
        raise SetupError("No system in systems/ can be loaded, so there is nobody to simulate; see `flywheel doctor`.")
    return loaded


def demo(
    system: Annotated[str, typer.Argument(help="A folder in systems/.")] = "ad_click",
    rows: Annotated[int, typer.Option(min=50_000, help="Events of history.")] = 400_000,
    rate: Annotated[
        float | None, typer.Option(min=1, help="Requests a second; without it, what suits the system.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The world repeats from it.")] = 7,
    keep: Annotated[
        bool | None,
        typer.Option("--keep/--stop", help="Leave the stack up afterwards; without it, on a terminal only."),
    ] = None,
) -> None:
    """Run the whole loop on this machine and tell it as a story; exit status 0 only when the loop closed."""
    settings, console = Settings.load(), Console(highlight=False)
    chosen = systems.load(system)
    plan = plan_for(chosen, seed, rows, rate)
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
        found = story_of.faults(outcome, story_of.MARGIN, chosen.requirements.availability)
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
        ("The systems and the review queue (flywheel console opens it)", settings.console),
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
