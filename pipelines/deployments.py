"""The pipelines as Prefect knows them: deployments, how often each runs, and what an event of the loop starts.

`python -m pipelines.deployments` registers all of it, again and again with the same end. It runs in a process of its
own, which pays for Prefect's client (100 MB) and is gone when it has registered. The flow runner, which minds the
platform's clock, adds the schedules.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from infra import heartbeat
from infra.settings import ROOT
from pipelines.schedules import Rhythm

RETRAIN_DUE = "flywheel.retrain.due"  # emitted by monitoring; its payload: system, reason, alarm (its key)
AUTOMATION = "flywheel: retrain when quality fell"  # by this name it is found again and brought up to date
REFUSED = "Refused"  # how the state of a run is named whose candidate the gate refused …
SKIPPED = "Skipped"  # … and of a retraining that was not due: both are ends of a run that went well
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LOG = logging.getLogger("flywheel.deployments")


@dataclass(frozen=True)
class Deployment:
    """A pipeline under its name; with a rhythm it runs by itself, for each system."""

    name: str
    entrypoint: str  # FILE.py:FUNCTION below the checkout; a string, for stages never import each other
    about: str
    rhythm: Rhythm | None = None

    @property
    def module(self) -> str:
        """The entrypoint as a dotted path: Prefect then imports it like any module, and copies no code."""
        file, _, function = self.entrypoint.partition(":")
        return f"{file.removesuffix('.py').replace('/', '.')}.{function}"


# Minutes apart, in the order in which each can use what the one before it left.
# What a run costs bounds how often it comes on a fast clock: seconds of processor time, materialize the most.
INGEST = Rhythm(5, HOUR, least=10 * MINUTE, ahead=MINUTE / 2)
MATERIALIZE = Rhythm(10, HOUR, least=10 * MINUTE)
MONITOR = Rhythm(0, heartbeat.PERIOD, least=heartbeat.LEAST)
METRICS = Rhythm(20, HOUR, least=10 * MINUTE)
PARITY = Rhythm(40, HOUR, least=10 * MINUTE)

DEPLOYMENTS = (
    Deployment("ingest", "pipelines/ingest.py:ingest", "Bring events into the event table.", INGEST),
    Deployment("materialize", "pipelines/materialize.py:materialize", "Bring features online.", MATERIALIZE),
    Deployment("train", "pipelines/train.py:train", "Train a model and register it as challenger."),
    Deployment("promote", "pipelines/promote.py:promote", "Let the gate decide on a challenger."),
    Deployment("retrain", "pipelines/retrain.py:retrain", "Close the loop: ingest, materialize, train, promote."),
    Deployment("monitor", "monitoring/flow.py:monitor", "Judge the log's latest windows.", MONITOR),
    Deployment("metrics", "monitoring/online_flow.py:metrics", "Measure what each version earned.", METRICS),
    Deployment("parity", "monitoring/parity_flow.py:parity", "Recompute features that were served.", PARITY),
)


def present() -> Sequence[Deployment]:
    """The deployments whose file is there."""
    return [each for each in DEPLOYMENTS if (ROOT / each.entrypoint.partition(":")[0]).exists()]


def automation(retrain_id: str) -> dict[str, Any]:
    """A retraining is due → retrain, as Prefect's API takes it: the event's payload becomes the run's parameters."""
    payload = {
        name: {"__prefect_kind": "jinja", "template": f"{{{{ event.payload.{name} }}}}"}
        for name in ("system", "reason", "alarm")
    }
    return {
        "name": AUTOMATION,
        "description": "Monitoring found harm, or drift that lasts: retrain the system, and let the gate decide.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "match": {"prefect.resource.id": "flywheel.system.*"},
            "expect": [RETRAIN_DUE],
            "for_each": ["prefect.resource.id"],
            "posture": "Reactive",
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": retrain_id,
                "parameters": payload,
            }
        ],
    }


def register() -> dict[str, str]:
    """Create or bring up to date all deployments and the automation: the deployments' ids by name."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        ids = {each.name: _register(client, each) for each in present()}
        _replace_automation(client, automation(ids["retrain"]))
    return ids


def _register(client: Any, deployment: Deployment) -> str:
    from prefect.utilities.callables import parameter_schema_from_entrypoint

    # The schema is read from the source text: importing six pipelines would take seconds and 300 MB.
    schema = parameter_schema_from_entrypoint(str(ROOT / deployment.entrypoint))
    made = client.create_deployment(
        flow_id=client.create_flow_from_name(deployment.name),
        name=deployment.name,
        description=deployment.about,
        entrypoint=deployment.module,
        path=".",
        tags=["flywheel"],
        parameter_openapi_schema=schema.model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
    )
    return str(made)


def _replace_automation(client: Any, wanted: Mapping[str, Any]) -> None:
    """Upsert by name: the first of that name is brought up to date, and others of it (two runners at once) go."""
    found = client.request("POST", "/automations/filter", json={"automations": {"name": {"any_": [AUTOMATION]}}}).json()
    for extra in found[1:]:
        client.request("DELETE", "/automations/{id}", path_params={"id": extra["id"]})
    if found:
        client.request("PUT", "/automations/{id}", path_params={"id": found[0]["id"]}, json=wanted)
    else:
        client.request("POST", "/automations/", json=wanted)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    LOG.info("registered %s", ", ".join(register()))
