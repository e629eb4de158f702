"""MLflow's server as the stack starts it, as a process of a test."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra import components, health
from infra.settings import Settings


@contextmanager
def starting(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server of these settings, begun and not waited for; it is gone after the block."""
    component = components.component(settings, "mlflow")
    environ = components.environ_of(component, settings)
    with log.open("ab") as file, subprocess.Popen(component.command, env=environ, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.terminate()


def healthy(settings: Settings) -> bool:
    """Whether it answers a search of its database."""
    return not health.fault(components.component(settings, "mlflow").health, 5.0)
