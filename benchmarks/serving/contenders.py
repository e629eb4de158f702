"""The three that are held beside each other, each as the processes it is made of."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.serving.ranking import SYSTEM
from infra.components import PYTHON, Component, component
from infra.settings import Settings
from infra.stack import Stack

PREPARE = "prepare"


@dataclass(frozen=True)
class Contender:
    """Who answers, where, and which of its processes a request costs time in."""

    name: str
    title: str
    port: str  # the setting that holds it
    path: str
    whole: str  # what an answer holds that was given by the model on features that were all there
    parts: tuple[str, ...]  # components on the request's path, the log's included


USUAL = Contender("usual", "usual stack", "serving_port", "/predict", '"item_ids"', ("redis", "usual"))
FLOOR = Contender("floor", "floor", "gateway_port", "/predict", '"item_ids"', ("redis", "floor"))
FLYWHEEL = Contender(
    "flywheel",
    "Flywheel",
    "gateway_port",
    f"/v1/systems/{SYSTEM.name}/predictions",
    '"degraded":[]',
    ("redis", "gateway", "serving", "recorder"),
)
CONTENDERS = (USUAL, FLOOR, FLYWHEEL)


@contextmanager
def stack(settings: Settings, name: str) -> Iterator[Stack]:
    """The processes of a contender (or `PREPARE`): up and healthy within the context, gone after it, also where it is
    interrupted while they start."""
    made = Stack(settings, (sys.executable, "-m", "benchmarks.serving.supervisor", name))
    try:
        with made:
            yield made
    finally:
        made.stop()


def components_of(name: str, settings: Settings) -> tuple[Component, ...]:
    """What the supervisor starts for a contender. Flywheel's model comes from MLflow, which its serving asks each
    second; what no request touches (flows, Prefect, the pages) is left out, for all three alike."""
    made = tuple(component(settings, one) for one in STORES.get(name, ("redis",)))
    return (*made, OWN[name](settings)) if name in OWN else made


def _usual(settings: Settings) -> Component:
    return Component(
        name=USUAL.name,
        command=(
            *(*PYTHON, "bentoml", "serve", "benchmarks.serving.usual:Ranking"),
            *("--host", settings.host, "--port", str(settings.serving_port)),
        ),
        health=f"http://{settings.host}:{settings.serving_port}/readyz",
        # The supervisor gives every process one thread for a matrix product. What OpenMP takes by itself is one a core.
        environ={
            "BENTOML_HOME": str(settings.path("bentoml").absolute()),
            "OMP_NUM_THREADS": str(os.cpu_count() or 1),
        },
        needs=("redis",),
        setting=USUAL.port,
        port=settings.serving_port,
    )


def _floor(settings: Settings) -> Component:
    return Component(
        name=FLOOR.name,
        command=(*PYTHON, "benchmarks.serving.floor"),
        health=f"http://{settings.host}:{settings.gateway_port}/",
        needs=("redis",),
        setting=FLOOR.port,
        port=settings.gateway_port,
    )


STORES: Mapping[str, tuple[str, ...]] = {
    PREPARE: ("redis", "mlflow"),
    FLYWHEEL.name: ("redis", "mlflow", "serving", "gateway", "recorder"),
}
OWN: Mapping[str, Callable[[Settings], Component]] = {USUAL.name: _usual, FLOOR.name: _floor}
