"""The figures as tables, from the results as they were kept."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.serving.contenders import FLOOR, FLYWHEEL
from benchmarks.serving.report import figure
from benchmarks.tables import markdown

Results = Mapping[str, Any]  # by part: "overload", "soak"; None for one that was not measured
NOT_YET = "Not measured yet: `python -m benchmarks.overload{options}` on a machine that does nothing else."
KEPT_SHARE, REFUSED, BACK = 0.9, 10.0, 10  # of the peak goodput; milliseconds; seconds
SLOW = 1.5  # times as long as usual, for the same piece of work: the machine's, not the stack's
NO = "**no**"


def tables(found: Results) -> dict[str, str]:
    """All tables by name; a sentence in the place of what was not measured."""
    return {
        name: make(found[part]["found"]) if found.get(part) else NOT_YET.format(options=OPTIONS[part])
        for name, (part, make) in TABLES.items()
    }


def rates(found: Results) -> str:
    """Goodput and refusals against the arrival rate."""
    heading = (
        "candidates",
        "of saturation",
        "arrivals a second",
        "goodput a second",
        "whole but late",
    )
    refused = ("p50 ms", "p99 ms", "not answered", "refusals' p99 ms from sent", "from due", "without Retry-After")
    rows = [
        [
            candidates,
            f"{point['share']:g}×",
            *(figure(point[name]) for name in ("asked", "good", "late", "p50", "p99")),
            ", ".join(f"{kind}: {number:,}" for kind, number in point["others"].items()) or "0",
            *(figure(point[name]) for name in ("refused_p99", "refused_p99_due")),
            point["without_retry"],
        ]
        for candidates, each in found.items()
        for point in each["points"]
    ]
    return markdown((*heading, *refused), rows)


def beside(found: Results) -> str:
    """Goodput at the largest share, of Flywheel and of the floor, which refuses nothing."""
    heading = (
        "candidates",
        "contender",
        "saturation, req/s",
        "goodput at its peak",
        "goodput at {}",
        "of its peak",
        "p99 ms",
    )
    rows, largest = [], ""
    for candidates, each in found.items():
        for title, points, saturation in (
            (FLYWHEEL.title, each["points"], each["saturation"]),
            (FLOOR.title, each["floor"]["points"], each["floor"]["saturation"]),
        ):
            peak, last = max(point["good"] for point in points), points[-1]
            largest = f"{last['share']:g}×"
            told = (figure(saturation), figure(peak), figure(last["good"]), f"{last['good'] / peak:.0%}")
            rows.append([candidates, title, *told, figure(last["p99"])])
    return markdown(tuple(one.format(largest) for one in heading), rows)


def memory(found: Results) -> str:
    """Resident megabytes of each process around each load: before, peak, and when its log was recorded."""
    rows = [
        [candidates, f"{point['share']:g}×", *(_held(point["memory"][name]) for name in FLYWHEEL.parts)]
        for candidates, each in found.items()
        for point in each["points"]
    ]
    return markdown(("candidates", "of saturation", *(f"{name} MB" for name in FLYWHEEL.parts)), rows)


def targets(found: Results) -> str:
    """What was to be reached, and whether it was."""
    rows = []
    for candidates, each in found.items():
        peak, last = max(point["good"] for point in each["points"]), each["points"][-1]
        kept, back = last["good"] / peak, each["recovered"]
        retry = sum(point["without_retry"] for point in each["points"])
        rows += [
            [
                candidates,
                f"goodput at {last['share']:g}× of its peak",
                "≥ 90%",
                f"{kept:.0%}",
                _met(kept >= KEPT_SHARE),
            ],
            [candidates, "refusals' p99 there, from sent", "< 10 ms", *_refused(last["refused_p99"])],
            [candidates, "refusals without Retry-After", "0", str(retry), _met(retry == 0)],
            [
                candidates,
                f"seconds until p99 is within 1.5× of {figure(each['before'])} ms again",
                f"≤ {BACK}",
                "not in the time measured" if back is None else str(back),
                _met(back is not None and back <= BACK),
            ],
        ]
    return markdown(("candidates", "target", "wanted", "found", "met"), rows)


def soak(found: Results) -> str:
    """Ten minutes of a calm load: slopes with their 95% intervals."""
    rows = [[title, *_soaked(each)] for title, each in ((FLYWHEEL.title, found), (FLOOR.title, found["floor"]))]
    heading = (
        "answers",
        "a second",
        "not answered",
        "p50 ms",
        "p99 ms",
        "longest ms",
        "over 50 ms",
        "stalls",
        "slow in",
    )
    lines = [
        markdown(("contender", *heading), rows),
        "",
        markdown(("slope", "a minute", "95% interval", "shows growth", "in the second half"), _slopes(found)),
    ]
    return "\n".join(lines)


def stalls(found: Results) -> str:
    """The longest stalls, what each process did from 50 ms before to 50 ms after (ran / had no core, ms), and how much
    longer the same piece of work took then."""
    if not found["worst"]:
        return "None."
    names = list(found["worst"][0]["parts"])
    rows = [
        [
            figure(one["begin"]),
            figure(one["longest"]),
            one["answers"],
            *("{:.0f} / {:.0f}".format(*one["parts"][name]) for name in names),
            "–" if one["slowness"] is None else f"{one['slowness']:.2f}×",
        ]
        for one in found["worst"]
    ]
    told = f"In {_slow(found)} of {found['stalls']} stalls the same work took {SLOW:g} times as long as usual, or more."
    return markdown(("at s", "longest ms", "answers", *names, "same work takes"), rows) + f"\n\n{told}"


def _soaked(found: Results) -> list[str]:
    counts, milliseconds = ("late", "stalls"), ("p50", "p99", "longest")
    return [
        f"{found['answers']:,}",
        figure(found["rate"]),
        f"{found['not_answered']:,}",
        *(figure(found[name]) for name in milliseconds),
        *(f"{found[name]:,}" for name in counts),
        str(_slow(found)),
    ]


def _slow(found: Results) -> int:
    """In how many stalls the machine itself was slow."""
    return sum(one is not None and one >= SLOW for one in found["slow_in_stalls"])


def _slopes(found: Results) -> list[list[str]]:
    named = {f"{name} of a window, ms": each for name, each in found["latency"].items()}
    named |= {f"memory of {name}, MB": each for name, each in found["memory"].items()}
    return [
        [
            name,
            f"{each['each_minute']:+.3f}",
            f"{each['low']:+.3f} to {each['high']:+.3f}",
            "**yes**" if each["low"] > 0 else "no",
            "{low:+.3f} to {high:+.3f}".format(**each["second_half"]),
        ]
        for name, each in named.items()
    ]


def _held(each: Mapping[str, float]) -> str:
    return " → ".join(f"{each[name]:.0f}" for name in ("before", "peak", "after"))


def _refused(found: float | None) -> tuple[str, str]:
    return ("none", "yes") if found is None else (f"{figure(found)} ms", _met(found < REFUSED))


def _met(met: bool) -> str:
    return "yes" if met else NO


OPTIONS = {"overload": "", "soak": " --soak"}
TABLES: Mapping[str, tuple[str, Callable[[Results], str]]] = {
    "overload-targets": ("overload", targets),
    "overload-rates": ("overload", rates),
    "overload-beside": ("overload", beside),
    "overload-memory": ("overload", memory),
    "overload-soak": ("soak", soak),
    "overload-stalls": ("soak", stalls),
}
