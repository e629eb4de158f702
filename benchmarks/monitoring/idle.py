"""What a monitor costs that has nothing to judge: `python -m benchmarks.monitoring.idle`.

A stack of its own comes up in a temporary folder, ad_click gets its first champion, and nobody asks it anything. Then
its monitor runs again and again, each time in a fresh process of Prefect's engine as the flow runner starts it.
Counted is processor time, user's and system's: of that process, and of Prefect's server meanwhile, less what the server
spends when no flow runs. A system is judged once every `heartbeat.PERIOD`.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import track

from benchmarks.isolated import settings_in
from benchmarks.serving import usage
from infra import components, heartbeat, wiring
from infra.settings import ROOT, Settings
from infra.stack import Stack

SYSTEM, RUNS, AT_REST = "ad_click", 7, 30.0  # seconds of the server at rest
say = Console(highlight=False, soft_wrap=True).print


def main() -> None:
    """Start a stack, run its monitor, and print what that took."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_in(Path(folder))
        with Stack(settings) as stack:
            _command(settings, "-m", "infra.cli", "bootstrap", SYSTEM, "--rows", "150000")
            rest = _server(stack, AT_REST)
            each = [_run(settings, stack, rest) for _ in track(range(RUNS), "monitoring")]
    own, server = (statistics.median(column) for column in zip(*each, strict=True))
    share = (own + server) / heartbeat.PERIOD.total_seconds()
    low, high = min(map(sum, each)), max(map(sum, each))
    say(f"a run of the monitor: {own:.1f} s of processor time, and {server:.1f} s in Prefect's server (medians)")
    say(f"both: {low:.1f} to {high:.1f} s in {RUNS} runs; the server at rest: {rest:.1%} of a core")
    say(f"a system's monitor, every {heartbeat.PERIOD.total_seconds() / 60:g} minutes: {share:.2%} of a core")


def _run(settings: Settings, stack: Stack, rest: float) -> tuple[float, float]:
    """Processor seconds of one run's process, and of the server for it."""
    run = _made(settings)
    before, children, began = _spent(stack), _children(), time.monotonic()
    _command(settings, "-m", "prefect.engine", run)
    server = _spent(stack) - before - rest * (time.monotonic() - began)
    state = wiring.dispatcher(settings).state(run)
    if state.state != "completed":
        sys.exit(f"The monitor's run ended {state.state}: {state.message}")
    return _children() - children, max(0.0, server)


def _made(settings: Settings) -> str:
    """A run of the deployment that is Pending at once: the flow runner, which would take it up, looks for scheduled."""
    api = f"{settings.prefect}/api"
    deployment = httpx.get(f"{api}/deployments/name/monitor/monitor").raise_for_status().json()
    asked: dict[str, Any] = {"parameters": {"system": SYSTEM}, "state": {"type": "PENDING"}}
    made = httpx.post(f"{api}/deployments/{deployment['id']}/create_flow_run", json=asked).raise_for_status()
    return str(made.json()["id"])


def _command(settings: Settings, *arguments: str) -> None:
    environ = components.environ_of(components.component(settings, "flows"), settings)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environ, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _children() -> float:
    """Processor seconds of all processes that this one started and that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _spent(stack: Stack) -> float:
    return sum(usage.processor_seconds(stack, ("prefect",)).values())


def _server(stack: Stack, seconds: float) -> float:
    """Cores that Prefect's server takes when no flow is run, over a stretch that is as long as asked for."""
    before, began = _spent(stack), time.monotonic()
    time.sleep(seconds)  # what is measured is a length of time
    return (_spent(stack) - before) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
