"""Whether a system kept its requirements under load; and, where that cannot be told, why not."""

from dataclasses import dataclass, replace
from typing import Literal

from contracts.system import Requirements
from services.client.loadtest.measure import Tally

Held = Literal["held", "broken", "not judged"]
KEPT_RATE = 0.95  # of the rate asked for, so that a backlog that only grows is seen
LIMIT = 0.9  # share of the time with work to do from which on a process of the generator is at its own limit
LATE = 0.1  # share of the latency allowed from which on the generator's own lateness is worth a warning


@dataclass(frozen=True)
class Check:
    """One requirement, what was found, and whether it held."""

    name: str
    required: str
    found: str
    held: Held


@dataclass(frozen=True)
class Verdict:
    """All checks of a stage, and what to bear in mind about them."""

    checks: tuple[Check, ...]
    remarks: tuple[str, ...] = ()

    @property
    def held(self) -> Held:
        found = {check.held for check in self.checks}
        return "broken" if "broken" in found else "not judged" if "not judged" in found else "held"

    @property
    def sentence(self) -> str:
        names = [f"{check.name} {check.found} ({check.required})" for check in self.checks if check.held == self.held]
        if self.held == "held":
            return "The requirements held."
        return ("Broken: " if self.held == "broken" else "Not judged: ") + "; ".join(names) + "."


def judge(tally: Tally, requirements: Requirements, rate: float | None, seconds: float) -> Verdict:
    """Judge a stage that ran `seconds` at `rate` (None: closed) against what the system requires."""
    checks = [_latency(tally, requirements), *_availability(tally, requirements)]
    if rate is not None and not tally.stopped:
        checks.append(_kept_rate(tally, rate, seconds))
    if at_limit(tally):
        checks = [check if check.held == "held" else replace(check, held="not judged") for check in checks]
    return Verdict(tuple(checks), tuple(remarks(tally, requirements)))


def at_limit(tally: Tally) -> bool:
    """Whether a process of the generator had work to do all the time, and so may itself be what was too slow."""
    return tally.busy + tally.starved > LIMIT


def remarks(tally: Tally, requirements: Requirements) -> list[str]:
    """What would otherwise be blamed on the server."""
    found, late = [], tally.lateness.percentile(0.99)
    if at_limit(tally):
        wants = "more --processes" if tally.busy > tally.starved else "a machine with less to do"
        found.append(f"The generator was at its own limit, which says nothing of the server: it needs {wants}.")
    if late > LATE * requirements.latency_p99.total_seconds():
        found.append(f"The generator itself was late by {milliseconds(late)} (p99): the latencies include that.")
    if tally.stopped:
        found.append("The test was stopped from the page.")
    return found


def milliseconds(seconds: float) -> str:
    """Three digits, and no more than that: 3.27 ms, 104 ms, 2,510 ms."""
    value = seconds * 1000
    if value != value:
        return "none measured"
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _latency(tally: Tally, requirements: Requirements) -> Check:
    """Broken only where the generator's own lateness, once out and once back, cannot account for it."""
    allowed, found = requirements.latency_p99.total_seconds(), tally.latency.percentile(0.99)
    late = tally.lateness.percentile(0.99)
    surely = found - 2 * late if late == late else found  # NaN: it had no occasion to be late
    held: Held = "held" if found <= allowed else "broken" if surely > allowed or found != found else "not judged"
    return Check("p99 latency", f"at most {milliseconds(allowed)}", milliseconds(found), held)


def _availability(tally: Tally, requirements: Requirements) -> list[Check]:
    """Answers of any kind, and answers by a model: an overloaded gateway answers quickly, with the fallback."""
    required = f"at least {requirements.availability:.3%}"
    answered = tally.answered / max(1, tally.due)
    by_model = (tally.answered - tally.fallbacks) / max(1, tally.answered)
    return [
        Check("answered", required, f"{answered:.3%}", _at_least(answered, requirements.availability)),
        Check("of those by a model", required, f"{by_model:.3%}", _at_least(by_model, requirements.availability)),
    ]


def _kept_rate(tally: Tally, rate: float, seconds: float) -> Check:
    """Answers a second until the last one came, however long after the last request that was."""
    achieved = tally.answered / max(seconds, tally.ended)
    found, least = f"{achieved:.1f}", KEPT_RATE * rate
    return Check("answers a second", f"at least {least:.1f}", found, _at_least(achieved, least))


def _at_least(found: float, required: float) -> Held:
    return "held" if found >= required else "broken"
