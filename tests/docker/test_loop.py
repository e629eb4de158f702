"""Once round the loop through the published ports: predict, outcome, drift, detection, retraining, a new version."""

import asyncio
import time
from collections.abc import Callable

import httpx

from contracts.records import RunState
from contracts.world import Drift, SimulatedOutcome
from infra import wiring
from services.client.simulation import Simulation
from tests.conftest import poll
from tests.docker.conftest import MEASURED, SEED, Stack

RATE = 100.0  # requests a second
CALM_ROWS, PATIENCE = 1_500, 240.0
TRIES = 3  # a retraining may be refused for want of rows, as in the loop itself


def test_a_prediction_is_answered_and_its_outcome_taken(stack: Stack) -> None:
    async def once() -> dict[str, object]:
        async with stack.client() as client:
            answer = await client.predict("ad_click", stack.system.task.example)
            item = answer["result"]["ads"][0]["ad_id"]
            await client.outcome("ad_click", answer["prediction_id"], SimulatedOutcome(item, 1.0, stack.clock.now()))
            return answer

    answer = asyncio.run(once())
    assert answer["variant"] == "champion"
    assert answer["model_version"] == stack.champion()
    explained = poll(
        lambda: _explained(stack, str(answer["prediction_id"])), 30.0, "the record of the prediction in the archive"
    )
    assert "champion" in explained


def test_drift_is_found_and_a_new_version_serves(stack: Stack) -> None:
    first = stack.champion()
    with stack.clients(RATE) as clients:
        _until(lambda: clients.ledger.answered >= CALM_ROWS, clients, "calm traffic")
        clients.world = stack.system.world(SEED, Drift("concept", stack.clock.now(), 1.0))
        changed = time.monotonic()
        for _ in range(TRIES):
            retraining = _detected(stack, clients)
            MEASURED.setdefault("drift to detection", f"{time.monotonic() - changed:.0f} s")
            _finished(stack, retraining, clients)
            if stack.champion() != first:
                break
        second = stack.champion()
        assert second != first, "no retraining was let through by the gate"
        _until(lambda: clients.ledger.versions[second] > 0, clients, f"an answer of version {second}")
        MEASURED["drift to the new version serving"] = f"{time.monotonic() - changed:.0f} s"
    assert clients.ledger.versions[first] > 0
    assert clients.ledger.failed <= 0.01 * clients.ledger.answered, clients.ledger.failures


def test_the_pages_for_people_answer(stack: Stack) -> None:
    ports = stack.containers.ports
    for name, path in (("gateway", "/docs"), ("mlflow", "/"), ("prefect", "/"), ("evidently", "/")):
        answer = httpx.get(f"http://127.0.0.1:{ports[name]}{path}", timeout=10, follow_redirects=True)
        assert answer.status_code == 200, name
        assert "<html" in answer.text.lower(), name


def test_reports_of_the_windows_that_were_judged_are_in_evidently(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.containers.ports['evidently']}/api/projects"
    projects = poll(lambda: httpx.get(url, timeout=10).json(), 60.0, "a project in Evidently")
    assert "ad_click" in [each["name"] for each in projects]


def _explained(stack: Stack, prediction_id: str) -> str:
    done = stack.containers.execute("worker", "flywheel", "explain", prediction_id)
    return done.stdout if done.returncode == 0 else ""


def _detected(stack: Stack, clients: Simulation) -> str:
    """The id of the retraining that a monitor's event started. Monitors run one after the other, as on a schedule that
    kept up with this clock; the scheduled ones come each other minute, so that two cores have time for the rest."""
    dispatcher, since = wiring.dispatcher(stack.containers.settings), stack.started
    known = {run.run_id for run in dispatcher.runs("retrain", "ad_click", since)}
    found: list[RunState] = []

    def judged() -> bool:
        run = dispatcher.run("monitor", {"system": "ad_click"})
        poll(lambda: dispatcher.state(run).finished, 120.0, "the end of a monitor's run")
        found[:] = [one for one in dispatcher.runs("retrain", "ad_click", since) if one.run_id not in known]
        return bool(found)

    _until(judged, clients, "a retraining started by the event")
    return found[-1].run_id  # the first: of two alarms at once, the second's is skipped


def _finished(stack: Stack, run_id: str, clients: Simulation) -> None:
    dispatcher = wiring.dispatcher(stack.containers.settings)
    _until(lambda: dispatcher.state(run_id).finished, clients, "the end of the retraining")
    state = dispatcher.state(run_id)
    assert state.state == "completed", state.message


def _until(reached: Callable[[], bool], clients: Simulation, what: str) -> None:
    def looked() -> bool:
        clients.check()
        return reached()

    poll(looked, PATIENCE, what)
