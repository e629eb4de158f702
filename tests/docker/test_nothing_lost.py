"""Each part is killed under traffic: it comes back, the others stay up, no acknowledged record is lost or doubled."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from infra.archive import ParquetArchive
from services.client.simulation import Simulation
from tests.conftest import poll
from tests.docker.conftest import MEASURED, Stack

RATE = 20.0  # requests a second, all the while
BACK = 120.0  # seconds within which what was killed is healthy again
ON_THE_PATH = {"gateway", "features-redis", "log-redis", "serving"}  # without these a request may fail meanwhile
KILL_ALL = "kill -9 -1"  # every process of the container but its init, which then ends
SERVICES = [
    *("gateway", "serving", "features-redis", "log-redis", "recorder", "worker"),
    *("postgres", "mlflow", "prefect", "evidently", "console", "prometheus", "probe"),
]


@pytest.fixture(scope="module")
def clients(stack: Stack) -> Iterator[Simulation]:
    """Traffic throughout; at its end the client's ledger is held against the log."""
    with stack.clients(RATE) as simulation:
        poll(lambda: simulation.ledger.answered > 20, 60.0, "the first answers")
        yield simulation


def test_every_service_is_killed_here(stack: Stack) -> None:
    assert set(SERVICES) == set(stack.containers.services())


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_comes_back_and_the_others_stay_up(stack: Stack, clients: Simulation, service: str) -> None:
    """Twice: its processes die, and the engine starts it again; `docker kill`, which the engine takes for its user's
    wish, and `docker compose up` starts it again."""
    others = {name: _restarts(stack, name) for name in SERVICES if name != service}
    answered, failed, died = clients.ledger.answered, clients.ledger.failed, _restarts(stack, service)
    stack.containers.execute(service, "sh", "-c", KILL_ALL)
    poll(lambda: _restarts(stack, service) != died, BACK, f"the restart of {service}")
    stack.containers.compose("kill", service)
    stack.containers.compose("up", "--detach", "--no-deps", service)
    _back(stack, service)
    clients.check()
    assert {name: _restarts(stack, name) for name in others} == others
    if service not in ON_THE_PATH:
        assert clients.ledger.failed - failed <= 0.01 * (clients.ledger.answered - answered), clients.ledger.failures


def test_the_champion_answers_again(clients: Simulation) -> None:
    fallbacks, answered = clients.ledger.versions["fallback"], clients.ledger.answered
    looked_at = time.monotonic()

    def well() -> bool:
        """Whether a second's answers all came from a model."""
        nonlocal fallbacks, answered, looked_at
        if time.monotonic() < looked_at + 1:
            return False
        none = clients.ledger.versions["fallback"] == fallbacks and clients.ledger.answered > answered
        fallbacks, answered, looked_at = clients.ledger.versions["fallback"], clients.ledger.answered, time.monotonic()
        return none

    poll(well, 60.0, "a second in which every answer came from the champion")


def test_no_acknowledged_record_was_lost_or_doubled(stack: Stack, clients: Simulation, tmp_path: Path) -> None:
    clients.__exit__()
    ledger = clients.ledger
    assert len(ledger.predictions) > 500
    assert ledger.outcomes
    found = poll(lambda: _complete(stack, clients, tmp_path), 90.0, "the whole ledger in the archive")
    predictions, outcomes = found
    doubled = [
        key
        for key, count in Counter(zip(predictions.prediction_id, predictions.position, strict=True)).items()
        if count > 1
    ]
    assert doubled == []
    reported = Counter((row.prediction_id, row.item, row.label) for row in outcomes.itertuples())
    assert {key: reported[key] for key in ledger.outcomes if reported[key] != 1} == {}
    versions = predictions.drop_duplicates("prediction_id").set_index("prediction_id").model_version
    assert all(versions[one] == version for one, version in ledger.predictions.items())
    MEASURED["killed twice each, under traffic"] = (
        f"{len(SERVICES)} services; {len(ledger.predictions):,} predictions and {len(ledger.outcomes):,} outcomes "
        "acknowledged, none lost, none doubled"
    )


def _restarts(stack: Stack, service: str) -> tuple[int, str]:
    found = stack.containers.inspect(service)
    return int(found["RestartCount"]), str(found["State"]["StartedAt"])


def _back(stack: Stack, service: str) -> None:
    poll(lambda: stack.containers.health(service) == "healthy", BACK, f"the health of {service}")


def _complete(stack: Stack, clients: Simulation, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The archive's predictions and outcomes once they hold all of the ledger."""
    copy = folder / f"{time.monotonic_ns()}"
    if stack.containers.attempt("cp", "worker:/state/log", str(copy)).returncode:
        return None  # its files were being merged
    archive, until = ParquetArchive(copy), stack.clock.now()
    predictions = archive.predictions(stack.system, stack.started, until)
    outcomes = archive.outcomes(stack.system, stack.started, until)
    there = set(zip(outcomes.prediction_id, outcomes.item, outcomes.label, strict=True))
    whole = set(clients.ledger.predictions) <= set(predictions.prediction_id) and clients.ledger.outcomes <= there
    return (predictions, outcomes) if whole else None
