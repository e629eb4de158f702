"""The three that are held beside each other, each as the processes it is made of: all up at once, measured by turns."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks.serving.ranking import SYSTEM, kept
from infra.components import PYTHON, Component, component
from infra.settings import Settings
from infra.stack import Stack

PREPARE = "prepare"  # what is up while the stores are filled …
ALL, BESIDE = "all", "beside"  # … while contenders take turns, and while Flywheel and the floor do
FLOOR_LOG = "floor-log"


@dataclass(frozen=True)
class Contender:
    """Who answers, where, and which of its processes a request costs time in."""

    name: str
    title: str
    port: str  # the setting that holds it
    path: str
    whole: str  # what an answer holds that was given by the model on features that were all there
    parts: tuple[str, ...]  # components on the request's path, the log's included


# The comparators' ports are those of parts that are left out.
USUAL = Contender("usual", "usual stack", "prefect_port", "/predict", '"item_ids"', ("redis", "usual"))
FLOOR = Contender("floor", "floor", "console_port", "/predict", '"item_ids"', ("redis", FLOOR_LOG, "floor"))
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
    """The processes of Flywheel (or `PREPARE`, `ALL`, `BESIDE`): up and healthy within the context, gone after it, also
    where it is interrupted while they start."""
    made = Stack(settings, (sys.executable, "-m", "benchmarks.serving.supervisor", name))
    try:
        with made:
            yield made
    finally:
        made.stop()


def components_of(name: str, settings: Settings) -> tuple[Component, ...]:
    """What the supervisor starts. Flywheel's model comes from MLflow, which its serving asks each second; what no
    request touches (flows, Prefect, the pages) is left out."""
    made = tuple(component(settings, one) for one in STORES.get(name, ("redis",)))
    floor = (_floor_log(settings), _floor(settings)) if name in (ALL, BESIDE) else ()
    return (*made, *((_usual(settings),) if name == ALL else ()), *floor)


def floor_settings(settings: Settings) -> Settings:
    """The same with the floor's own Redis for its log: what it keeps there is not in the way of Flywheel's."""
    own = {"state_dir": kept(settings, FLOOR_LOG), "redis_port": settings.runner_port}
    return Settings.model_validate(settings.model_dump() | own)


def _usual(settings: Settings) -> Component:
    return Component(
        name=USUAL.name,
        command=(
            *(*PYTHON, "bentoml", "serve", "benchmarks.serving.usual:Ranking"),
            *("--host", settings.host, "--port", str(getattr(settings, USUAL.port))),
        ),
        health=f"http://{settings.host}:{getattr(settings, USUAL.port)}/readyz",
        # The supervisor gives every process one thread for a matrix product. What OpenMP takes by itself is one a core.
        environ={
            "BENTOML_HOME": str(kept(settings, "bentoml").absolute()),
            "OMP_NUM_THREADS": str(os.cpu_count() or 1),
        },
        needs=("redis",),
        setting=USUAL.port,
        port=getattr(settings, USUAL.port),
    )


def _floor_log(settings: Settings) -> Component:
    return replace(component(floor_settings(settings), "redis"), name=FLOOR_LOG, setting="runner_port")


def _floor(settings: Settings) -> Component:
    return Component(
        name=FLOOR.name,
        command=(*PYTHON, "benchmarks.serving.floor"),
        health=f"http://{settings.host}:{getattr(settings, FLOOR.port)}/",
        needs=("redis", FLOOR_LOG),
        setting=FLOOR.port,
        port=getattr(settings, FLOOR.port),
    )


STACK = ("redis", "mlflow", "serving", "gateway", "recorder")
STORES: Mapping[str, tuple[str, ...]] = {
    PREPARE: ("redis", "mlflow"),
    FLYWHEEL.name: STACK,
    ALL: STACK,
    BESIDE: STACK,
}
