"""The demo: the whole loop for one system on this machine, told as a story that ends well only if the loop closed.

Up → history → features → first model → traffic → outcomes → the world changes → detection → retraining → promotion →
recovery. The clock runs fast, so that label delays of half an hour pass in seconds, and leaps over those of weeks.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from contracts.errors import FlywheelError
from contracts.ports import Archive, Dispatcher, Registry
from contracts.records import ModelVersion
from contracts.system import System
from contracts.world import Drift
from infra.clock import SharedClock
from services.client.maturing import PAUSE, Maturing
from services.client.oracle import Quality, quality
from services.client.plan import Plan
from services.client.retrainings import Retrainings
from services.client.simulation import Simulation
from services.client.story import Step, Story

MARGIN = 0.03  # in normalised cross-entropy: less than that is no drift to speak of, and no recovery either
PREFECTS_OWN = "Finished in state"  # its last line, after the flow's own


@dataclass(frozen=True)
class Parts:
    """What the demo works with, all of it the platform's own."""

    system: System
    clock: SharedClock
    archive: Archive
    registry: Registry
    dispatcher: Dispatcher


@dataclass
class Outcome:
    """What the demo measured, for its closing table."""

    before: Quality | None = None
    under: Quality | None = None
    after: Quality | None = None
    first: ModelVersion | None = None
    second: ModelVersion | None = None
    seconds_to_detection: float = float("nan")
    seconds_to_serving: float = float("nan")
    latency_p50: float = float("nan")
    latency_p99: float = float("nan")
    predictions: int = 0
    outcomes: int = 0
    lost: int = 0  # attempts to predict or report what was not acknowledged in the end either
    faults: list[str] = field(default_factory=list)  # attempts that failed, in words, by what was answered

    @property
    def acknowledged_share(self) -> float:
        """Of all predictions and outcomes; an outcome that was sent again is one."""
        acknowledged = self.predictions + self.outcomes
        return acknowledged / max(1, acknowledged + self.lost)


def build(story: Story, parts: Parts, plan: Plan) -> None:
    """History, features and the first model: from nothing to a champion that serves."""
    name = parts.system.name
    world = {"seed": plan.seed, "days": plan.days, "rows": plan.rows}
    with story.step(f"History: {plan.days} days, {plan.rows:,} events through the ingest flow") as step:
        _flow(parts.dispatcher, step, "ingest", {"system": name, "world": world})
    with story.step("Features: point-in-time states to Feast, the newest of them to Redis") as step:
        _flow(parts.dispatcher, step, "materialize", {"system": name})
    with story.step("First model: trained on the point-in-time join, registered in MLflow") as step:
        _flow(parts.dispatcher, step, "train", {"system": name, "data": "history"})
    with story.step("Gate: the candidate against its baselines") as step:
        _flow(parts.dispatcher, step, "promote", {"system": name})
        champion = parts.registry.resolve(name, "champion")
        if champion is None:
            raise FlywheelError(
                f"The gate refused the first model of {name}; its reasons are in the promote run's log."
            )
        step.result = f"version {champion.version} is champion, {_metrics(champion)}"


def close_the_loop(story: Story, parts: Parts, plan: Plan, clients: Simulation) -> Outcome:
    """Traffic, drift, detection, retraining and recovery, with the measurements of each."""
    outcome = Outcome(first=parts.registry.resolve(parts.system.name, "champion"))
    with story.step("Traffic over HTTP; its outcomes come back late") as step:
        _served_by(step, clients, plan, outcome.first)
        outcome.before = _measure(step, parts, clients, plan, parts.clock.now())
    with story.step("Monitoring judges the calm log") as step:
        _flow(parts.dispatcher, step, "monitor", {"system": parts.system.name})
    changed, wall = parts.clock.now(), time.monotonic()
    runs = Retrainings(parts.dispatcher, parts.system.name, datetime.now(UTC))
    clients.world = parts.system.world(plan.seed, Drift(plan.drift, changed, plan.drift_strength))  # type: ignore[arg-type]  # checked by the CLI
    with story.step(f"The world changes ({plan.drift} drift); monitoring finds out from outcomes") as step:
        retrain = _detected(step, parts, clients, plan, changed, runs)
        outcome.seconds_to_detection = time.monotonic() - wall
        step.result = f"retraining started by itself after {outcome.seconds_to_detection:.0f} s"
    for attempt in range(1 + plan.retries):
        if attempt:
            retrain = _again(story, parts, clients, plan, changed, runs)
        if _retrained(story, parts, retrain, outcome, runs):
            break
    outcome.under = quality(parts.archive, parts.system, clients.world, changed, parts.clock.now())
    with story.step("Promotion: serving swaps to the new champion, no restart") as step:
        _swapped(step, clients, plan, outcome)
        outcome.seconds_to_serving = time.monotonic() - wall
    with story.step("Recovery: the same drifted world, scored by the new version") as step:
        outcome.after = _measure(step, parts, clients, plan, parts.clock.now())
    return _accounts(outcome, clients)


def faults(outcome: Outcome, margin: float, availability: float) -> list[str]:
    """Why the loop did not close; nothing when it did. `margin` is in normalised cross-entropy, `availability` the
    share of requests that the system's requirements want acknowledged."""
    before, under, after = outcome.before, outcome.under, outcome.after
    if not (before and under and after and outcome.first and outcome.second):
        return ["a measurement is missing"]
    checks = {
        "the drift did not harm the first version": under.gap > before.gap + margin,
        "no new version serves": outcome.second.version != outcome.first.version,
        "the new version is no better than the first under drift": after.gap < under.gap - margin,
        f"fewer than {availability:.1%} of predictions and outcomes were acknowledged": (
            outcome.acknowledged_share >= availability
        ),
    }
    return [fault for fault, held in checks.items() if not held]


def _flow(dispatcher: Dispatcher, step: Step, deployment: str, parameters: dict[str, object]) -> None:
    _follow(dispatcher, step, dispatcher.run(deployment, parameters))


def _follow(dispatcher: Dispatcher, step: Step, run_id: str) -> None:
    """Show what a run logs until it has finished; raises when it did not complete."""
    last = ""
    for line in dispatcher.follow(run_id):
        last = last if line.startswith(PREFECTS_OWN) else line
        step.say(line)
    state = dispatcher.state(run_id)
    if state.state != "completed":
        raise FlywheelError(f"The run {state.name} ended as {state.state}: {state.message or last}")
    step.result = last


def _until(step: Step, seconds: float, what: str, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise FlywheelError(f"{what} did not come about within {seconds:.0f} s.")
        time.sleep(0.25)
        step.say(f"{step.seconds:.0f} s")


def _served_by(step: Step, clients: Simulation, plan: Plan, version: ModelVersion | None) -> None:
    name = version.version if version else ""

    def reached() -> bool:
        clients.check()
        return clients.ledger.versions[name] > 0

    _until(step, plan.patience, f"An answer of version {name}", reached)


def _measure(step: Step, parts: Parts, clients: Simulation, plan: Plan, since: datetime) -> Quality:
    """Quality of what is served from `since` on, once enough of it has matured."""
    _maturing(parts, clients, plan).pass_delay(step, since, plan.settled_rows)
    deadline, mature = time.monotonic() + plan.patience, since + parts.system.requirements.label_delay
    while time.monotonic() < deadline:
        time.sleep(PAUSE)
        clients.check()
        if parts.clock.now() < mature:
            step.say(f"the first outcomes are final at {mature:%H:%M} of the platform's time")
            continue
        found = quality(parts.archive, parts.system, clients.world, since, parts.clock.now())
        step.say(f"{found.rows if found else 0:,} of {plan.settled_rows:,} labelled rows")
        if found and found.rows >= plan.settled_rows:
            step.result = (
                f"normalised cross-entropy {found.served:.3f}, the oracle's {found.oracle:.3f}, "
                f"{found.rows:,} rows, p99 {clients.ledger.percentile(99):.0f} ms"
            )
            return found
    raise FlywheelError(f"{plan.settled_rows:,} labelled rows did not come together within {plan.patience:.0f} s.")


def _maturing(parts: Parts, clients: Simulation, plan: Plan) -> Maturing:
    return Maturing(parts.system, parts.archive, parts.clock, clients, plan)


def _detected(step: Step, parts: Parts, clients: Simulation, plan: Plan, since: datetime, runs: Retrainings) -> str:
    """Run the monitor again and again, as its schedule would over these hours, until its alarm started a retraining."""
    deadline = time.monotonic() + plan.patience
    while time.monotonic() < deadline:
        clients.check()
        _maturing(parts, clients, plan).pass_delay(step, since, plan.drifted_rows)
        run_id = parts.dispatcher.run("monitor", {"system": parts.system.name})
        while not parts.dispatcher.state(run_id).finished:
            step.say(f"a monitor run judges the latest window, {step.seconds:.0f} s")
            if started := runs.next():
                return started
            time.sleep(0.5)
    raise FlywheelError(f"No drift was detected within {plan.patience:.0f} s; see the monitor runs in Prefect.")


def _retrained(story: Story, parts: Parts, run_id: str, outcome: Outcome, runs: Retrainings) -> bool:
    """Follow a retraining to its end: whether the gate let its model become champion."""
    with story.step("Retraining on the logged features, joined with matured outcomes") as step:
        following: str | None = run_id
        while following:
            _follow(parts.dispatcher, step, following)
            following = runs.next() if runs.skipped(following) else None  # another was under way
        outcome.second = parts.registry.resolve(parts.system.name, "champion")
        return _version(outcome.second) != _version(outcome.first)


def _again(story: Story, parts: Parts, clients: Simulation, plan: Plan, changed: datetime, runs: Retrainings) -> str:
    """The next retraining: no sooner than the cooldown, from the end of the last one, allows. Harm waits for no more
    than that, however often the gate refused, and the flow runner's poll may have started a run by then."""
    with story.step("Refused; the next alarm after the cooldown tries again with more rows") as step:
        cooldown = parts.system.monitoring.cooldown
        if plan.leaps:
            parts.clock.leap(cooldown)
        else:
            over = parts.clock.now() + cooldown
            _until(step, plan.patience, "The end of the cooldown", lambda: parts.clock.now() >= over)
        return runs.next() or _detected(step, parts, clients, plan, changed, runs)


def _version(model: ModelVersion | None) -> str:
    return model.version if model else ""


def _swapped(step: Step, clients: Simulation, plan: Plan, outcome: Outcome) -> None:
    _served_by(step, clients, plan, outcome.second)
    if outcome.second is not None:
        step.result = f"version {outcome.second.version} answers, {_metrics(outcome.second)}"


def _accounts(outcome: Outcome, clients: Simulation) -> Outcome:
    ledger = clients.ledger
    outcome.predictions, outcome.outcomes = len(ledger.predictions), len(ledger.outcomes)
    outcome.latency_p50, outcome.latency_p99 = ledger.percentile(50), ledger.percentile(99)
    outcome.lost = ledger.lost
    outcome.faults = [f"{number} × {message.rstrip('.')}" for message, number in ledger.failures.most_common()]
    return outcome


def _metrics(version: ModelVersion) -> str:
    shown = {"normalised_cross_entropy": "hold-out normalised cross-entropy", "roc_auc": "ROC-AUC"}
    return ", ".join(f"{label} {version.metrics[key]:.3f}" for key, label in shown.items() if key in version.metrics)
