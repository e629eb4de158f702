"""The stack in containers as its tests hold it: one Compose project of its own, on ports of its own."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.errors import FlywheelError
from infra.settings import ROOT, Settings
from tests.conftest import free_ports

PROJECT = "flywheel-test"
PUBLISHED = ("gateway", "mlflow", "prefect", "evidently", "prometheus", "console")
PATIENCE = 600.0  # seconds that one call of Docker's may take; the first one builds the image


class ComposeError(FlywheelError):
    """A call of `docker compose` that failed, with what it said."""


def engine_fault() -> str:
    """Why no container can be run here; empty when an engine with Compose answers."""
    for command in (["docker", "info", "--format", "{{.ServerVersion}}"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"`{' '.join(command[:2])}` cannot be run: {error}"
        if done.returncode:
            return (done.stderr.strip() or done.stdout.strip()).partition("\n")[0]
    return ""


@dataclass(frozen=True)
class Containers:
    """A Compose project of this checkout. `settings` are those of a client on this machine."""

    settings: Settings
    ports: Mapping[str, int]
    variables: Mapping[str, str] = field(default_factory=dict)
    project: str = PROJECT

    @classmethod
    def on_free_ports(cls, folder: Path, **variables: str) -> "Containers":
        ports = dict(zip(PUBLISHED, free_ports(len(PUBLISHED)), strict=True))
        urls = {f"{name}_url": f"http://127.0.0.1:{ports[name]}" for name in ("gateway", "mlflow", "prefect")}
        settings = Settings.model_validate({"state_dir": folder / "state", "secrets_dir": folder / "secrets", **urls})
        return cls(settings, ports, variables)

    def compose(self, *arguments: str, timeout: float = PATIENCE) -> str:
        """Run `docker compose ARGUMENTS` on the project: its standard output; ComposeError when it fails."""
        done = self.attempt(*arguments, timeout=timeout)
        if done.returncode:
            raise ComposeError(f"`docker compose {' '.join(arguments)}` failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def attempt(self, *arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """As `compose`, whatever comes of it."""
        ports = {f"FLYWHEEL_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        command = ["docker", "compose", "--project-name", self.project, "--ansi", "never", *arguments]
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **ports, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def up(self, *services: str) -> float:
        """`docker compose up --wait`: the seconds until all is healthy."""
        started = time.monotonic()
        self.compose("up", "--detach", "--wait", *services)
        return time.monotonic() - started

    def execute(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's container."""
        return self.attempt("exec", "-T", service, *command, timeout=60)

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container, running or not."""
        name = f"{self.project}-{service}-1"
        found = subprocess.run(["docker", "inspect", name], capture_output=True, text=True, timeout=60, check=False)
        if found.returncode:
            raise ComposeError(f"There is no container {name}: {found.stderr.strip()}")
        return dict(json.loads(found.stdout)[0])

    def health(self, service: str) -> str:
        """`healthy`, `starting`, `unhealthy`; or the container's state where it is not running."""
        state = self.inspect(service)["State"]
        return str(state["Health"]["Status"] if state["Running"] and "Health" in state else state["Status"])

    def services(self, *, jobs: bool = False) -> list[str]:
        """The services without a profile; with `jobs`, those that run to their end as well."""
        config = json.loads(self.compose("config", "--format", "json"))["services"]
        return [name for name, each in config.items() if jobs or each.get("restart") != "no"]

    def logs(self, *services: str) -> str:
        return self.compose("logs", "--no-color", *services)

    def remove(self) -> None:
        """Containers, networks and volumes, all of them; the image stays, for building it is what takes long."""
        self.compose("--profile", "demo", "--profile", "loadtest", "down", "--volumes", "--remove-orphans")


def secrets_of(containers: Containers, services: Sequence[str]) -> dict[str, dict[str, str]]:
    """Service → file → what it holds, of the secrets that each service can read."""
    listing = 'for f in /run/flywheel/*; do printf "%s=%s\\n" "$(basename "$f")" "$(cat "$f")"; done'
    found = {name: containers.execute(name, "sh", "-c", listing) for name in services}
    return {
        name: dict(line.split("=", 1) for line in done.stdout.splitlines() if not line.startswith("*"))
        for name, done in found.items()
    }
