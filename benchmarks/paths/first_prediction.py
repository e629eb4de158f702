"""From `flywheel up` in an empty folder to the first answer that a model gave, by part."""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import systems
from benchmarks.isolated import settings_in
from benchmarks.paths.plan import Plan
from benchmarks.paths.runs import Say
from contracts.errors import Unavailable
from infra.components import PYTHON, components
from infra.settings import ROOT, Settings
from infra.stack import Stack

SYSTEM = "ad_click"
DEPLOYMENTS = ("ingest", "materialize", "train", "promote")  # as the bootstrap's lines begin
COMMAND = "command"  # the bootstrap's own start
PATIENCE, LOOK = 60.0, 0.05  # seconds for the first answer, and between two questions


def measure(plan: Plan, folder: Path, say: Say) -> dict[str, Any]:
    """Seconds by part. Components start beside each other, so theirs do not add up; the bootstrap's parts do."""
    settings, system = settings_in(folder), systems.load(SYSTEM)
    began = time.time()
    try:
        _Command(settings, ("up", "--detach")).wait_well()
        up = time.time() - began
        healthy = {one.name: one.since - began for one in Stack(settings).states()}
        restarts = sum(one.restarts for one in Stack(settings).states())
        say(f"up after {up:.1f} s")
        parts = _bootstrapped(settings, plan, say)
        answered, answer = _first_answer(settings, dict(system.task.example))
    finally:
        Stack(settings).stop()
    say(
        f"{answer['variant']} answers {answered:.2f} s after the bootstrap, {time.time() - began:.1f} s after the start"
    )
    needs = {one.name: list(one.needs) for one in components(settings)}
    return {
        "healthy": healthy,
        "needs": needs,
        "up": up,
        "restarts": restarts,
        "bootstrap": parts,
        "first_answer": answered,
        "sizes": {"system": SYSTEM, "history": plan.history},
    }


class _Command:
    """A command of the CLI under way, as in a user's shell whose environment says where the stack lives."""

    def __init__(self, settings: Settings, arguments: tuple[str, ...]) -> None:
        self._said: list[str] = []
        self._name = arguments[0]
        given = {name: value for name, value in os.environ.items() if not name.startswith("FLYWHEEL_")}
        state = {"FLYWHEEL_STATE_DIR": str(settings.state_dir.absolute())}
        self._process = subprocess.Popen(
            [*PYTHON, "infra.cli", *arguments],
            env={**given, **settings.environ(), **state, "PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def lines(self) -> Iterator[str]:
        """What it says, as it says it."""
        for line in self._process.stdout or ():
            self._said.append(line)
            yield line

    def wait_well(self) -> None:
        """Until it has ended; `Unavailable` with its last words when that was no success."""
        for _ in self.lines():
            pass
        if self._process.wait():
            raise Unavailable(f"`flywheel {self._name}` failed: {''.join(self._said[-3:]).strip()}")


def _bootstrapped(settings: Settings, plan: Plan, say: Say) -> Mapping[str, float]:
    """Seconds of `flywheel bootstrap` by part."""
    began = time.perf_counter()
    command = _Command(settings, ("bootstrap", SYSTEM, "--rows", str(plan.history)))
    said = [(line, time.perf_counter()) for line in command.lines()]
    command.wait_well()
    parts = parts_of(said, began, time.perf_counter())
    for name, seconds in parts.items():
        say(f"bootstrap, {name}: {seconds:.1f} s")
    return parts


def parts_of(said: Iterable[tuple[str, float]], began: float, ended: float) -> dict[str, float]:
    """Seconds by part, from what the bootstrap said and when: each part from the last line of the one before to its own
    last one, Prefect's start of its run included. The last part ends with the command; the first is the command's own
    start, until it has said that there is no champion."""
    ends: dict[str, float] = {}
    for line, at in said:
        name = line.partition(":")[0]
        if name in DEPLOYMENTS:
            ends[name] = at
        elif DEPLOYMENTS[0] not in ends:
            ends[COMMAND] = at
    if missing := [name for name in (COMMAND, *DEPLOYMENTS) if name not in ends]:
        raise Unavailable(f"The bootstrap of {SYSTEM} said nothing of its part {missing[0]!r}.")
    moments = [began, *(ends[name] for name in (COMMAND, *DEPLOYMENTS[:-1])), ended]
    return dict(zip((COMMAND, *DEPLOYMENTS), np.diff(moments).tolist(), strict=True))


def _first_answer(settings: Settings, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Seconds until the champion answers a request, asked again and again; and what it answers."""
    began = time.perf_counter()
    headers = {"Authorization": f"Bearer {settings.secret('api_key')}"}
    with httpx.Client(base_url=settings.gateway, headers=headers, timeout=10) as client:
        while True:
            reply = client.post(f"/v1/systems/{SYSTEM}/predictions", json=body)
            if reply.is_success and reply.json()["variant"] == "champion":
                return time.perf_counter() - began, reply.json()
            if time.perf_counter() - began > PATIENCE:
                raise Unavailable(f"No model answered within {PATIENCE:g} s: {reply.status_code} {reply.text[:200]}")
            time.sleep(LOOK)
