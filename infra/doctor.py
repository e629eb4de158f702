"""What the local stack needs of a machine, looked at one by one: each finding is one line that says what to do."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import psutil

from contracts.errors import SetupError
from infra import broken_systems, redis_server
from infra.components import components
from infra.preflight import port_fault
from infra.settings import Settings
from infra.stack import Stack

PACKAGES = (
    "feast",
    "mlflow",
    "prefect",
    "bentoml",
    "evidently",
    "onnxruntime",
    "skl2onnx",
    "duckdb",
    "redis",
    "fastapi",
)
DISK, MEMORY = 3.0, 3.0  # GB: a demo's state with room to spare; the stack with a training run


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    well: bool
    found: str


def examine(settings: Settings) -> list[Finding]:
    """All findings; when a stack runs already, its ports are its own."""
    running = Stack(settings).running()
    machine = [_python(), _packages(), _redis(), _disk(settings), _memory(running), _cores()]
    return [*machine, *_ports(settings, running), *_systems(settings)]


def _python() -> Finding:
    version = platform.python_version()
    well = sys.version_info >= (3, 11)
    return Finding(
        "Python", well, version if well else f"{version} is too old; make the environment with 3.11 or newer."
    )


def _packages() -> Finding:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    advice = f"{', '.join(missing)} missing; run `make setup`, and use the environment it makes."
    return Finding("Packages", not missing, advice if missing else f"{len(PACKAGES)} vendors found")


def _redis() -> Finding:
    try:
        return Finding("Redis", True, str(redis_server.executable()))
    except SetupError as error:
        return Finding("Redis", False, str(error))


def _disk(settings: Settings) -> Finding:
    folder = next(one for one in (settings.state_dir, *settings.state_dir.absolute().parents) if one.exists())
    if not os.access(folder, os.W_OK):
        return Finding("Disk", False, f"{folder} cannot be written to; set FLYWHEEL_STATE_DIR to a folder that can.")
    free = shutil.disk_usage(folder).free / 1e9
    advice = "" if free >= DISK else f", too little: free {DISK:g} GB or set FLYWHEEL_STATE_DIR to another disk."
    return Finding("Disk", not advice, f"{free:.1f} GB free in {folder}{advice}")


def _memory(running: bool) -> Finding:
    free = psutil.virtual_memory().available / 1e9
    if running:
        return Finding("Memory", True, f"{free:.1f} GB free beside the running stack")
    advice = "" if free >= MEMORY else f", too little: the stack wants {MEMORY:g} GB; close something large."
    return Finding("Memory", not advice, f"{free:.1f} GB free{advice}")


def _cores() -> Finding:
    return Finding("Processors", True, f"{os.cpu_count()}")


def _ports(settings: Settings, running: bool) -> Iterator[Finding]:
    if running:
        yield Finding("Ports", True, "held by the stack that runs; `flywheel status` shows them")
        return
    try:
        needed = components(settings)
    except SetupError:  # no Redis: said above
        return
    for one in needed:
        fault = port_fault(one, settings.host)
        yield Finding(f"Port {one.port}", not fault, fault or f"free for {one.name}")


def _systems(settings: Settings) -> Iterator[Finding]:
    """Those that load in one line, each of the others in its own: it takes no other down, and does not answer."""
    try:
        found = broken_systems.of_folders(settings)
    except SetupError as error:
        yield Finding("Systems", False, str(error))
        return
    yield Finding("Systems", True, ", ".join(name for name, fault in found.items() if not fault) or "none yet")
    yield from (Finding(f"System {name}", False, fault) for name, fault in found.items() if fault)
