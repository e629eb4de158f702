"""The local stack as data: each process of the loop, how it is started, how it shows that it is healthy, what it needs.

Modules of other folders stand here only as strings in command lines: the supervisor runs them and imports none.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.errors import NotFound
from infra import redis_server
from infra.settings import PREFIX, Settings, machine_environ

PYTHON = (sys.executable, "-m")
QUIET = {  # in every process: nobody is told that it runs, its log is written at once, one thread for a matrix product
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "FEAST_USAGE": "False",
    "PYTHONUNBUFFERED": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # glibc keeps an arena a thread, up to eight a core, and returns none of them
}


@dataclass(frozen=True)
class Component:
    """One process of the stack, with all that it starts itself."""

    name: str
    command: tuple[str, ...]
    health: str = field(repr=False)  # http:// answers with 2xx, or redis:// answers PING; may hold a password
    environ: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()  # started once these are healthy, stopped before them
    setting: str = ""  # the setting that holds its port
    port: int = 0
    url: str = ""  # where people look
    start_grace: float = 120.0  # seconds from its start to healthy, before it is started again
    hang_grace: float = 30.0  # seconds of failed health, before it is started again
    stop_grace: float = 10.0  # seconds from SIGTERM to SIGKILL
    nice: int = 0  # what requests wait for goes first

    @property
    def variable(self) -> str:
        """The environment variable that moves its port."""
        return PREFIX + self.setting.upper()


def components(settings: Settings) -> tuple[Component, ...]:
    """The embedded stack in the order it is shown; what a setting places elsewhere is not."""
    elsewhere = {
        "redis": settings.redis_url,
        "mlflow": settings.mlflow_url,
        "prefect": settings.prefect_url,
        "serving": settings.serving_url,
        "gateway": settings.gateway_url,
        "evidently": settings.evidently_url,
    }
    here = [make(settings) for name, make in MAKERS.items() if not elsewhere.get(name)]
    names = {one.name for one in here}
    return tuple(_needing_only(one, names) for one in here)


def component(settings: Settings, name: str) -> Component:
    """One component by its name, wherever the settings place the others; NotFound names those there are."""
    makers = MAKERS | ALONE
    if name not in makers:
        raise NotFound(f"No part of the stack is named {name!r}. Known: {', '.join(makers)}.")
    return makers[name](settings)


def environ_of(component: Component, settings: Settings) -> dict[str, str]:
    """The whole environment of a component's process: the machine's, the settings', the vendors'."""
    machine = machine_environ()
    given = machine.get("NO_PROXY") or machine.get("no_proxy")
    direct = ",".join(filter(None, (given, settings.host, "localhost", *settings.other_hosts())))
    return {
        **machine,
        "NO_PROXY": direct,  # a proxy of the machine's has no business between two parts of the stack
        "no_proxy": direct,
        **settings.environ(),
        "FLYWHEEL_STATE_DIR": str(settings.state_dir.absolute()),
        **QUIET,
        **component.environ,
    }


def _needing_only(component: Component, names: set[str]) -> Component:
    kept = tuple(name for name in component.needs if name in names)
    return Component(**{**vars(component), "needs": kept})


def _redis(settings: Settings) -> Component:
    return Component(
        name="redis",
        command=tuple(redis_server.command(settings)),
        health=settings.redis,
        setting="redis_port",
        port=settings.redis_port,
        url=f"redis://{settings.host}:{settings.redis_port}",
    )


def _mlflow(settings: Settings) -> Component:
    """See infra/mlflow_server.py. The variables are those that `mlflow server` hands to its worker;
    tests/loop/test_stack.py registers a model through them."""
    return Component(
        name="mlflow",
        command=(
            *PYTHON,
            "infra.mlflow_server",
            settings.host,
            str(settings.mlflow_port),
        ),
        health=f"http://{settings.host}:{settings.mlflow_port}/api/2.0/mlflow/experiments/search?max_results=1",
        environ={
            "_MLFLOW_SERVER_FILE_STORE": settings.mlflow_database,
            "_MLFLOW_SERVER_REGISTRY_STORE": settings.mlflow_database,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(settings.path("mlflow", "artifacts").absolute()),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven more processes, 0.9 GB
            "MLFLOW_ENABLE_AI_GATEWAY": "false",
            **_allowed_hosts(settings),
        },
        setting="mlflow_port",
        port=settings.mlflow_port,
        url=f"http://{settings.host}:{settings.mlflow_port}",
        nice=5,
    )


def _prefect(settings: Settings) -> Component:
    """Events, triggers and automations stay on: the loop closes through them."""
    return Component(
        name="prefect",
        command=(*PYTHON, "prefect", "server", "start", *_bind(settings, settings.prefect_port), "--log-level=WARNING"),
        health=f"http://{settings.host}:{settings.prefect_port}/api/ready",
        environ={
            **_prefect_home(settings),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": settings.prefect_database,
            "PREFECT_UI_API_URL": "/api",  # the page asks where it came from, whatever name that has there
            "PREFECT_UI_STATIC_DIRECTORY": str(settings.path("prefect", "ui").absolute()),  # else in site-packages
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_METRICS_ENABLED": "true",  # at /api/metrics, for Prometheus
            "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",  # it minds work pools, and there is none
        },
        setting="prefect_port",
        port=settings.prefect_port,
        url=f"http://{settings.host}:{settings.prefect_port}",
        nice=5,
    )


def _flows(settings: Settings) -> Component:
    return Component(
        name="flows",
        command=(*PYTHON, "pipelines.runner"),
        health=f"http://{settings.host}:{settings.runner_port}/health",
        environ={
            **_prefect_home(settings),
            "PREFECT_API_URL": f"{settings.prefect}/api",
            "MLFLOW_TRACKING_URI": settings.mlflow,
            # OpenMP's threads wait for each other by turning in circles: beside busy processes more of them are slower.
            "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
        },
        needs=("redis", "mlflow", "prefect"),
        setting="runner_port",
        port=settings.runner_port,
        nice=10,  # training takes what serving leaves
    )


def _serving(settings: Settings) -> Component:
    """It needs nothing to start: without MLflow it serves the last verified copy."""
    return Component(
        name="serving",
        command=(
            *PYTHON,
            "bentoml",
            "serve",
            "services.serving.service:Serving",
            *_bind(settings, settings.serving_port),
        ),
        health=f"http://{settings.host}:{settings.serving_port}/readyz",
        environ={"BENTOML_HOME": str(settings.path("bentoml").absolute()), "MLFLOW_TRACKING_URI": settings.mlflow},
        setting="serving_port",
        port=settings.serving_port,
        url=f"http://{settings.host}:{settings.serving_port}",
    )


def _gateway(settings: Settings) -> Component:
    return Component(
        name="gateway",
        command=(*PYTHON, "services.gateway"),
        health=f"http://{settings.host}:{settings.gateway_port}/healthz",
        needs=("redis", "serving"),
        setting="gateway_port",
        port=settings.gateway_port,
        url=f"http://{settings.host}:{settings.gateway_port}/docs",
    )


def _recorder(settings: Settings) -> Component:
    return Component(
        name="recorder",
        command=(*PYTHON, "services.recorder"),
        health=f"http://{settings.host}:{settings.recorder_port}/healthz",
        needs=("redis",),
        setting="recorder_port",
        port=settings.recorder_port,
        url=f"http://{settings.host}:{settings.recorder_port}/metrics",
        nice=5,
    )


def _evidently(settings: Settings) -> Component:
    return Component(
        name="evidently",
        command=(
            *(*PYTHON, "evidently.cli", "ui", "--workspace", str(settings.path("evidently").absolute())),
            *_bind(settings, settings.evidently_port),
        ),
        health=f"http://{settings.host}:{settings.evidently_port}/api/version",
        setting="evidently_port",
        port=settings.evidently_port,
        url=f"http://{settings.host}:{settings.evidently_port}",
        nice=10,  # nothing waits for it, and its import takes seconds of a core that the others start on
    )


def _console(settings: Settings) -> Component:
    """It needs nothing to start: what does not answer is said on its pages."""
    return Component(
        name="console",
        command=(*PYTHON, "services.console"),
        health=f"http://{settings.host}:{settings.console_port}/healthz",
        setting="console_port",
        port=settings.console_port,
        url=f"http://{settings.host}:{settings.console_port}",
        nice=5,
    )


def _probe(settings: Settings) -> Component:
    return Component(
        name="probe",
        command=(*PYTHON, "infra.probe"),
        health=f"http://{settings.host}:{settings.probe_port}/healthz",
        setting="probe_port",
        port=settings.probe_port,
        url=f"http://{settings.host}:{settings.probe_port}/metrics",
    )


def _bind(settings: Settings, port: int) -> tuple[str, ...]:
    return "--host", settings.host, "--port", str(port)


def _allowed_hosts(settings: Settings) -> dict[str, str]:
    """MLflow refuses what is addressed to another host than it expects (DNS rebinding)."""
    if not settings.allowed_hosts:
        return {}
    return {"MLFLOW_SERVER_ALLOWED_HOSTS": f"localhost,localhost:*,127.0.0.1,127.0.0.1:*,{settings.allowed_hosts}"}


def _prefect_home(settings: Settings) -> dict[str, str]:
    return {"PREFECT_HOME": str(settings.path("prefect").absolute())}


MAKERS = {
    "redis": _redis,
    "mlflow": _mlflow,
    "prefect": _prefect,
    "serving": _serving,
    "gateway": _gateway,
    "recorder": _recorder,
    "flows": _flows,
    "evidently": _evidently,
    "console": _console,
}
ALONE = {"probe": _probe}  # not of the local stack, whose supervisor looks after health itself
