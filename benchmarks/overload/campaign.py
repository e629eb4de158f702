"""Overload and soak: Flywheel and the floor, as the serving benchmark starts them, one after the other, with more than
they can answer, and for long. The floor refuses nothing: what it loses is what refusing is for."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.isolated import settings_in
from benchmarks.overload import figures
from benchmarks.overload.arrivals import Answers, answered
from benchmarks.overload.sampler import Sampled, sampled, sampling
from benchmarks.serving import campaign, data, usage
from benchmarks.serving.contenders import BESIDE, FLOOR, FLYWHEEL, PREPARE, stack
from benchmarks.serving.data import Sizes
from benchmarks.serving.ranking import SYSTEM, SYSTEMS
from benchmarks.serving.runs import CLOSED, WARM_UP, Bench
from contracts.errors import Unavailable
from infra.stack import Stack

CONNECTIONS = 512  # a second of overload waits on fewer; the gateway refuses in milliseconds
CALM_SHARE = 0.5  # of saturation: the load before and after the overload, and of the soak
LONGEST = 50.0  # milliseconds; a later answer in the soak is part of a stall
AROUND = 0.05  # seconds before and after a stall that are looked at, too
TOLD = 10  # stalls that are kept with what each process did
SEED = data.SEED


@dataclass(frozen=True)
class Plan:
    """What is measured. Seconds are of one point, shares are of saturation, windows of the soak in seconds."""

    candidates: tuple[int, ...] = (100, 1)
    seconds: float = 6.0
    shares: tuple[float, ...] = (0.7, 1.0, 1.5, 2.0, 3.0)
    calm: int = 15
    soak: float = 600.0
    window: float = 10.0
    block: int = 6  # windows that one block of the bootstrap holds
    sizes: Sizes = data.FULL
    quick: bool = False


QUICK = Plan(
    seconds=2.0,
    shares=(1.0, 3.0),
    calm=3,
    soak=10.0,
    window=1.0,
    block=2,
    sizes=data.QUICK,
    quick=True,
    candidates=(1,),
)
SOAKED = 100  # candidates a request; of a quick run its only number


class Campaign:
    """Carries out a plan, or one of its halves, in a state folder of its own."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan, self._folder, self._say = plan, folder, say
        self._settings = settings_in(folder, systems_dir=SYSTEMS, rate_limit=campaign.UNLIMITED)

    def run(self, parts: tuple[str, ...]) -> dict[str, Any]:
        """What was found, by part, as JSON can hold it; `Unavailable` when a full run has not the machine to itself."""
        origin = campaign.about(campaign.Plan()) | {"plan": asdict(self._plan)}
        campaign.check_quiet(campaign.QUICK if self._plan.quick else campaign.Plan(), origin["busy_cores_before"])
        with stack(self._settings, PREPARE), redirect_stdout(io.StringIO()):
            data.prepare(self._settings, self._plan.sizes)
        found: dict[str, Any] = {}
        with stack(self._settings, BESIDE) as running:
            bench, floor = (Bench(each, self._settings, running) for each in (FLYWHEEL, FLOOR))
            campaign.wait_for_champion(self._settings)
            if "overload" in parts:
                found["overload"] = {
                    n: self._overload(bench, running, n) | {"floor": self._unguarded(floor, n)}
                    for n in self._plan.candidates
                }
            if "soak" in parts:
                found["soak"] = self._soak(bench, running) | {"floor": self._soak(floor, running)}
        return {part: {"about": origin, **campaign.plain({"found": each})} for part, each in found.items()}

    def _overload(self, bench: Bench, running: Stack, candidates: int) -> dict[str, Any]:
        """Saturation, then each share of it in the open form; after the largest at once the calm load again."""
        bodies, plan = data.bodies(self._settings, self._plan.sizes, candidates), self._plan
        saturation = self._saturation(bench, bodies)
        before = self._put(bench, bodies, CALM_SHARE * saturation, plan.calm)
        usual = figures.percentile(before.waited, 99)
        points = [self._point(bench, running, bodies, (share, saturation)) for share in plan.shares[:-1]]
        last, after = self._overwhelmed(bench, running, bodies, saturation)
        return {
            "saturation": saturation,
            "points": [*points, last],
            "before": usual,
            "recovered": figures.recovery(after, usual, plan.calm),
            "after": figures.percentile(after.waited[after.due - after.due.min() >= plan.calm * 2 / 3], 99),
        }

    def _unguarded(self, floor: Bench, candidates: int) -> dict[str, Any]:
        """The floor's saturation, and the same shares of it in the open form."""
        bodies, plan = data.bodies(self._settings, self._plan.sizes, candidates), self._plan
        saturation = self._saturation(floor, bodies)
        points = [
            self._told(share, self._put(floor, bodies, share * saturation, plan.seconds), FLOOR.title)
            for share in plan.shares
        ]
        return {"saturation": saturation, "points": points}

    def _point(self, bench: Bench, running: Stack, bodies: Path, load: tuple[float, float]) -> dict[str, Any]:
        """A share of saturation, until its log is recorded."""
        share, saturation = load
        with remembered(running) as memory:
            answers = self._put(bench, bodies, share * saturation, self._plan.seconds)
            bench.wait_for_the_log()
        return self._told(share, answers) | {"memory": memory}

    def _overwhelmed(
        self, bench: Bench, running: Stack, bodies: Path, saturation: float
    ) -> tuple[dict[str, Any], Answers]:
        """The largest share, and the answers under a calm load at once after it."""
        share = self._plan.shares[-1]
        with remembered(running) as memory:
            answers = self._put(bench, bodies, share * saturation, self._plan.seconds)
            after = self._put(bench, bodies, CALM_SHARE * saturation, self._plan.calm)
            bench.wait_for_the_log()
        return self._told(share, answers) | {"memory": memory}, after

    def _told(self, share: float, answers: Answers, title: str = FLYWHEEL.title) -> dict[str, Any]:
        deadline = SYSTEM.requirements.deadline.total_seconds()
        point = figures.goodput(answers, self._plan.seconds, deadline)
        self._say(f"{title}, {share:g}× saturation: {point}")
        return {"share": share, **asdict(point)}

    def _soak(self, bench: Bench, running: Stack) -> dict[str, Any]:
        """A calm load for long: slopes of memory and latency, and every stall with what each process did."""
        plan, candidates = self._plan, 1 if self._plan.quick else SOAKED
        bodies = data.bodies(self._settings, plan.sizes, candidates)
        rate = CALM_SHARE * self._saturation(bench, bodies)
        pids = {one.name: one.pid for one in running.states() if one.pid and one.name in bench.contender.parts}
        samples = self._folder / "samples.npz"
        with remembered(running, bench.contender.parts, plan.window / 2) as memory, sampling(pids, plan.soak, samples):
            answers = self._put(bench, bodies, rate, plan.soak)
        slopes = {
            f"p{share}": self._slope(figures.windows(answers.due, answers.waited, plan.window, share), plan.window)
            for share in (50, 99)
        }
        held = {name: self._slope(np.array(each["series"]), plan.window / 2) for name, each in memory.items()}
        stalls, sample = figures.stalls(answers, LONGEST), sampled(samples)
        worst = [self._stall(one, sample, float(answers.due.min())) for one in figures.longest(stalls, TOLD)]
        whole = answers.whole == 1.0
        return {
            "rate": rate,
            "candidates": candidates,
            "answers": int(whole.sum()),
            "not_answered": int((~whole).sum()),
            "p50": figures.percentile(answers.waited, 50),
            "p99": figures.percentile(answers.waited, 99),
            "longest": float(answers.waited.max()),
            "late": int((answers.waited > LONGEST).sum()),
            "stalls": len(stalls),
            "worst": worst,
            "slow_in_stalls": [sample.slowness(one.begin - AROUND, one.end + AROUND) for one in stalls],
            "latency": slopes,
            "memory": held,
        }

    def _stall(self, stall: figures.Stall, sample: Sampled, start: float) -> dict[str, Any]:
        """A stall, what each process did around it, and how quick the machine was."""
        begin, end = stall.begin - AROUND, stall.end + AROUND
        looked = {"parts": sample.around(begin, end), "slowness": sample.slowness(begin, end)}
        return {**asdict(stall), "begin": stall.begin - start, **looked}

    def _slope(self, values: figures.Series, width: float) -> dict[str, Any]:
        """Of all values, and of the second half alone: what has come to rest by then shows there."""
        whole, later = (
            figures.slope(part, width, self._plan.block, SEED) for part in (values, values[len(values) // 2 :])
        )
        return {**asdict(whole), "second_half": asdict(later)}

    def _saturation(self, bench: Bench, bodies: Path) -> float:
        """Answers a second in the closed form, as the serving benchmark has it."""
        bench.run(bench.load(bodies, WARM_UP, None, CLOSED))
        rate = bench.run(bench.load(bodies, self._plan.seconds, None, CLOSED)).found.rate
        if not rate:
            title = bench.contender.title
            raise Unavailable(f"{title} answered none of the requests; leave the machine to the benchmark.")
        return rate

    def _put(self, bench: Bench, bodies: Path, rate: float, seconds: float) -> Answers:
        load = replace(bench.load(bodies, seconds, rate, CONNECTIONS, SEED), ids="")
        return answered(load, self._folder / "answers.npy")


@contextmanager
def remembered(running: Stack, parts: tuple[str, ...] = FLYWHEEL.parts, every: float = 0.5) -> Iterator[dict[str, Any]]:
    """Resident megabytes of each part, before, at their peak and after, and as a series; whole after the context."""
    found: dict[str, Any] = {}
    series: list[dict[str, float]] = [usage.resident(running, parts)]
    done = threading.Event()

    def look() -> None:
        due = time.monotonic() + every
        while not done.wait(max(0.0, due - time.monotonic())):
            series.append(usage.resident(running, parts))
            due += every

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
    last = usage.resident(running, parts)
    for name in parts:
        values = [one[name] for one in series]
        found[name] = {"before": values[0], "peak": max(*values, last[name]), "after": last[name], "series": values}
