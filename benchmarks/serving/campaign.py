"""The whole benchmark: the contenders by turns, on the same data and the same requests; who waits does nothing."""

import io
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.isolated import settings_in
from benchmarks.serving import checks, data, layers, usage
from benchmarks.serving.contenders import ALL, CONTENDERS, FLYWHEEL, PREPARE, USUAL, Contender, stack
from benchmarks.serving.data import Sizes
from benchmarks.serving.ranking import SYSTEM, SYSTEMS
from benchmarks.serving.runs import CLOSED, OPEN, WARM_UP, Bench, Point
from contracts.errors import Unavailable
from infra.settings import Settings

PACKAGES = ("bentoml", "feast", "scikit-learn", "onnxruntime", "redis", "uvicorn", "numpy")
CHAMPION_PATIENCE = 60.0  # seconds until serving has fetched its model
QUIET, LOOK_SECONDS = 0.2, 3.0  # cores that may be busy before a full run, over so many seconds
CHANGE_SEED = data.SEED + 1
UNLIMITED = 1_000_000.0  # requests a second: the limiter counts every request and refuses none

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured. Seconds are of one point; shares are of a contender's own saturation, which is its rate in the
    closed form."""

    candidates: tuple[int, ...] = (1, 100, 500)
    closed_seconds: float = 30.0
    open_seconds: float = 20.0
    shares: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9)
    sizes: Sizes = data.FULL
    quick: bool = False


QUICK = Plan(closed_seconds=2.0, open_seconds=2.0, shares=(0.7,), sizes=data.QUICK, quick=True)


@dataclass
class Measured:
    """What was found so far, by contender and number of candidates."""

    closed: dict[str, dict[int, Point]]
    open: dict[str, dict[int, list[Point]]]
    layers: dict[int, dict[str, float]]
    checks: dict[str, Any]


class Campaign:
    """Carries out a plan in a state folder of its own."""

    def __init__(self, plan: Plan, folder: Path, say: Say) -> None:
        self._plan, self._say = plan, say
        self._settings = settings_in(folder, systems_dir=SYSTEMS, rate_limit=UNLIMITED)
        self._found = Measured({}, {}, {}, {})
        self._answers: dict[str, list[checks.Answer]] = {}

    def run(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; `Unavailable` when a full run would not have the machine to itself."""
        origin = about(self._plan)
        check_quiet(self._plan, origin["busy_cores_before"])
        self._say("fills the feature store and trains the model")
        with stack(self._settings, PREPARE), redirect_stdout(io.StringIO()):  # MLflow tells of pages that will be gone
            data.prepare(self._settings, self._plan.sizes)
        self._bodies = {n: data.bodies(self._settings, self._plan.sizes, n) for n in self._plan.candidates}
        self._say("starts all three")
        with stack(self._settings, ALL) as running:
            wait_for_champion(self._settings)
            benches = {one: Bench(one, self._settings, running) for one in CONTENDERS}
            for one, bench in benches.items():
                self._answers[one.name] = [a for bodies in self._bodies.values() for a in checks.answers(bench, bodies)]
            for candidates in self._plan.candidates:
                self._measure(tuple(benches.values()), candidates)
            self._look_closer(benches[FLYWHEEL])
        usual = self._answers[USUAL.name]
        self._found.checks["score_gap"] = max(checks.gap(usual, other) for other in self._answers.values())
        return {"about": origin, **plain(asdict(self._found))}

    def _measure(self, benches: tuple[Bench, ...], candidates: int) -> None:
        """Each point of all contenders before the next, for the machine's pace changes with the minutes."""
        for bench in benches:
            bodies, name = self._bodies[candidates], bench.contender.name
            bench.run(bench.load(bodies, min(WARM_UP, self._plan.closed_seconds), None, CLOSED))
            point = bench.run(bench.load(bodies, self._plan.closed_seconds, None, CLOSED))
            self._found.closed.setdefault(name, {})[candidates] = point
            self._told(bench.contender, candidates, point)
        rates = {bench: self._rates(bench.contender, candidates) for bench in benches}
        for number in range(max(map(len, rates.values()))):
            for bench in (one for one in benches if number < len(rates[one])):
                self._open(bench, candidates, rates[bench][number], number)

    def _open(self, bench: Bench, candidates: int, rate: float, number: int) -> None:
        """An open point, when the same load has been there for a while: others' turns were before."""
        bodies, warm_up = self._bodies[candidates], min(WARM_UP, self._plan.open_seconds)
        bench.run(bench.load(bodies, warm_up, rate, OPEN, seed=len(self._plan.shares) + 1 + number))
        point = bench.run(bench.load(bodies, self._plan.open_seconds, rate, OPEN, seed=number))
        self._found.open.setdefault(bench.contender.name, {}).setdefault(candidates, []).append(point)
        self._told(bench.contender, candidates, point)

    def _rates(self, contender: Contender, candidates: int) -> list[float]:
        """Shares of its own saturation; for Flywheel that of the usual stack, too."""
        own = self._found.closed[contender.name][candidates].found.rate
        if not own:
            raise Unavailable(
                f"{contender.title} answered none of the requests for {candidates} candidates; "
                "leave the machine to the benchmark, or give it more seconds."
            )
        rates = [share * own for share in self._plan.shares]
        if contender is FLYWHEEL:
            rates.append(self._found.closed[USUAL.name][candidates].found.rate)
        return rates

    def _look_closer(self, bench: Bench) -> None:
        """The layers, and what is checked, of Flywheel."""
        for candidates, bodies in self._bodies.items():
            before = layers.stages(self._settings)
            bench.run(bench.load(bodies, self._plan.open_seconds, None, 1))
            alone = layers.model_alone(self._settings, candidates)
            self._found.layers[candidates] = layers.layers(before, layers.stages(self._settings), alone)
        self._say("holds what was served against the Feast SDK, and the log against what was acknowledged")
        self._found.checks["features"], before_change = checks.compared(self._settings, self._answers[FLYWHEEL.name])
        random = np.random.default_rng(CHANGE_SEED)
        data.materialised(self._settings, self._plan.sizes, random, datetime.now(UTC))
        served = [one for bodies in self._bodies.values() for one in checks.answers(bench, bodies)]
        self._found.checks["changed_features"], changed = checks.compared(self._settings, served)
        same = [np.array_equal(one, other) for one, other in zip(before_change, changed, strict=True)]
        if any(same):
            raise Unavailable(f"{sum(same)} requests were answered with features from before the last materialisation.")
        self._found.checks["log"] = checks.logged(self._settings, bench.acknowledged)

    def _told(self, contender: Contender, candidates: int, point: Point) -> None:
        found, processor = point.found, sum(point.cost.processor.values())
        load = f"{point.connections} connections" if point.rate is None else f"{point.rate:.0f} req/s asked"
        errors = f", errors {found.errors}" if found.errors else ""
        self._say(
            f"{contender.title}, {candidates} candidates, {load}: {found.rate:.0f} req/s, p50 {found.p50:.1f} ms, "
            f"p99 {found.p99:.1f} ms, p99.9 {found.p999:.1f} ms, {processor:.2f} ms CPU{errors}"
        )


def check_quiet(plan: Plan, busy: float) -> None:
    """Refuse a full run where so many cores are busy: other work does not cost the contenders alike."""
    if not plan.quick and busy > QUIET:
        raise Unavailable(
            f"{busy:.2f} cores of this machine are busy; a full run needs it to itself (at most {QUIET:g}). "
            "Stop what runs, or take --quick, whose figures mean nothing."
        )


def about(plan: Plan) -> dict[str, Any]:
    """When and on what the figures were measured."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB",
        "busy_cores_before": round(usage.busy_cores(LOOK_SECONDS), 2),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "seed": data.SEED,
        "plan": plain(asdict(plan)),
    }


def wait_for_champion(settings: Settings) -> None:
    """Until serving has the benchmark's model; `Unavailable` when it does not come."""
    deadline = time.monotonic() + CHAMPION_PATIENCE
    while True:
        models = httpx.get(f"{settings.serving}/v1/models", timeout=10).raise_for_status().json()
        if models.get(SYSTEM.name, {}).get("model_version"):
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"Serving has no model after {CHAMPION_PATIENCE:g} s; see logs/serving.log.")
        time.sleep(0.1)


def plain(found: Any) -> Any:
    """As JSON has it: NaN, of what was not measured, as null."""
    if isinstance(found, dict):
        return {str(key): plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(value) for value in found]
    if isinstance(found, float):
        return None if found != found else float(f"{found:.5g}")
    return found


def keep(found: dict[str, Any], path: Path) -> None:
    """Write the results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
