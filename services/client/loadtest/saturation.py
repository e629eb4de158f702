"""The rate at which a system stops keeping its requirements: stepped up until they break, then closed in on."""

from collections.abc import Callable
from dataclasses import dataclass

from contracts.system import Requirements
from services.client.loadtest.measure import Tally
from services.client.loadtest.verdict import Held, Verdict

GROWTH = 1.5
CLOSER = 2  # steps between the last rate that held and the first that broke
MOST_STEPS = 20
FIRST = 0.25  # of the rate that the system requires


@dataclass(frozen=True)
class Step:
    """One rate, what was measured at it and how that was judged."""

    rate: float
    tally: Tally
    verdict: Verdict


@dataclass(frozen=True)
class Search:
    """The steps taken, and the highest rate that held below the lowest that did not."""

    steps: tuple[Step, ...]

    @property
    def broke(self) -> float:
        """The lowest rate that did not hold when tried for the last time."""
        return min((rate for rate, held in self._last.items() if held != "held"), default=float("inf"))

    @property
    def held(self) -> float:
        """The last rate that held; 0.0 where none did."""
        return max((rate for rate, held in self._last.items() if held == "held" and rate < self.broke), default=0.0)

    @property
    def _last(self) -> dict[float, Held]:
        return {step.rate: step.verdict.held for step in self.steps}

    def judged(self, requirements: Requirements) -> Held:
        """Whether the rate that the system requires held; not judged where the generator gave out before it."""
        if self.held >= requirements.requests_per_second:
            return "held"
        return self._last.get(self.broke, "broken")

    def sentence(self, requirements: Requirements) -> str:
        required = f"{requirements.requests_per_second:g} requests a second are required"
        if not self.held:
            return f"No rate held; {required}."
        held = self.judged(requirements)
        words = {"held": "held", "broken": "too few", "not judged": "not judged: the generator gave out first"}
        return f"The last rate that held: {self.held:,.1f} requests a second ({required}: {words[held]})."

    @property
    def remarks(self) -> tuple[str, ...]:
        """Of the last step that did not hold."""
        return next((step.verdict.remarks for step in reversed(self.steps) if step.verdict.held != "held"), ())


def search(run: Callable[[float], Step], first: float) -> Search:
    """Take steps by `run(rate)` from `first` on. One that breaks is tried once more: a moment's noise is no limit."""
    steps: list[Step] = []

    def holds(rate: float) -> bool:
        for _ in range(2):
            steps.append(run(rate))
            if steps[-1].tally.stopped or steps[-1].verdict.held == "held":
                break
        return steps[-1].verdict.held == "held" and not steps[-1].tally.stopped

    low, high = 0.0, first
    while len(steps) < MOST_STEPS and holds(high):
        low, high = high, high * GROWTH
    for _ in range(CLOSER if low and not steps[-1].tally.stopped else 0):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return Search(tuple(steps))
