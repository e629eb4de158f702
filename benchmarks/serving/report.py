"""The figures as tables, from the results as they were kept: what is printed and what the README shows are the same."""

from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks.serving.contenders import CONTENDERS, FLYWHEEL, USUAL
from benchmarks.tables import markdown

Results = Mapping[str, Any]
NOT_YET = "Not measured yet: `python -m benchmarks.serving` on a machine that does nothing else."
NOTHING = "–"
PACE = "same work takes"
FASTER = {"1": 3.0, "100": 12.0, "500": 40.0}  # times the usual stack's requests a second
CHEAPER = {"1": 2.0, "100": 10.0, "500": 25.0}  # the usual stack's processor time over Flywheel's
TAIL_SHARE, TAIL, USUAL_TAIL = 0.7, 50.0, 10.0  # of its own saturation; milliseconds


def tables(found: Results | None) -> dict[str, str]:
    """All tables by name; without results, a sentence in each place."""
    return {name: make(found) if found else NOT_YET for name, make in TABLES.items()}


def closed(found: Results) -> str:
    """Saturation: 4 connections, each sends when it was answered."""
    heading = ("candidates", "contender", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU ms a request", "memory MB")
    compared = ("req/s to the usual stack's", "CPU to the usual stack's", "generator's CPU", PACE, "not answered")
    return markdown((*heading, *compared), list(_closed_rows(found)))


def _closed_rows(found: Results) -> Iterator[list[str]]:
    pace = _usual_pace(found)
    for candidates in _candidates(found):
        usual = found["closed"][USUAL.name][candidates]
        for contender in CONTENDERS:
            point = found["closed"][contender.name][candidates]
            yield [
                candidates,
                contender.title,
                figure(rate(point)),
                *(figure(point["found"][name]) for name in ("p50", "p99", "p999")),
                figure(processor(point)),
                figure(sum(point["cost"]["memory"].values())),
                f"{figure(rate(point) / rate(usual))}×",
                f"{figure(processor(point) / processor(usual))}×",
                f"{point['found']['busy']:.0%}",
                f"{point['cost']['work'] / pace:.2f}×",
                _errors(point),
            ]


def opened(found: Results) -> str:
    """Latency at given arrival rates."""
    heading = ("candidates", "contender", "arrivals a second", "of its saturation", "answers a second")
    measured = ("p50 ms", "p99 ms", "p99.9 ms", "longest ms", "generator late, p99 ms", "generator's CPU")
    return markdown((*heading, *measured, PACE, "not answered"), list(_open_rows(found)))


def _open_rows(found: Results) -> Iterator[list[str]]:
    pace = _usual_pace(found)
    for candidates in _candidates(found):
        for contender in CONTENDERS:
            saturation = rate(found["closed"][contender.name][candidates])
            for point in sorted(found["open"][contender.name][candidates], key=lambda one: float(one["rate"])):
                yield [
                    candidates,
                    contender.title,
                    figure(point["rate"]),
                    f"{point['rate'] / saturation:.0%}",
                    figure(rate(point)),
                    *(figure(point["found"][name]) for name in ("p50", "p99", "p999", "longest", "late_p99")),
                    f"{point['found']['busy']:.0%}",
                    f"{point['cost']['work'] / pace:.2f}×",
                    _errors(point),
                ]


def _usual_pace(found: Results) -> float:
    """What the same piece of work takes at the middle one of all points, in microseconds."""
    closed = [point for each in found["closed"].values() for point in each.values()]
    opened = [point for each in found["open"].values() for points in each.values() for point in points]
    return float(median(point["cost"]["work"] for point in (*closed, *opened)))


def plotted(found: Results) -> str:
    """The plot, as the README shows it."""
    return "![Latency against arrival rate](serving/results/latency.svg)"


def layers(found: Results) -> str:
    """What each layer takes, one request at a time."""
    names = ("gateway", "features", "transport", "model", "log", "whole")
    rows = [[candidates, *(figure(each[name]) for name in names)] for candidates, each in found["layers"].items()]
    return markdown(("candidates", *(f"{name} ms" for name in names)), rows)


def parts(found: Results) -> str:
    """Flywheel's processor time by process, the recorder's until it had taken all of the log."""
    rows = []
    for candidates, point in found["closed"][FLYWHEEL.name].items():
        cost = point["cost"]
        each = (figure(cost["processor"][name]) for name in FLYWHEEL.parts)
        rows.append([candidates, *each, f"{cost['behind']:,}", figure(cost["drained"])])
    heading = (*(f"{name} ms" for name in FLYWHEEL.parts), "log entries left at the end", "s until recorded")
    return markdown(("candidates", *heading), rows)


def targets(found: Results) -> str:
    """What was to be reached, and whether it was."""
    return markdown(("target", "candidates", "wanted", "found", "met"), list(_targets(found)))


def _targets(found: Results) -> Iterator[list[str]]:
    for candidates in _candidates(found):
        usual, own = (found["closed"][name][candidates] for name in (USUAL.name, FLYWHEEL.name))
        faster, cheaper = rate(own) / rate(usual), processor(usual) / processor(own)
        if candidates in FASTER:
            yield _target("req/s to the usual stack's", candidates, f"≥ {FASTER[candidates]:g}×", faster, True)
            yield _target("CPU saved, usual over Flywheel", candidates, f"≥ {CHEAPER[candidates]:g}×", cheaper, True)
        points = found["open"][FLYWHEEL.name][candidates]
        for point in points[:-1]:
            if abs(point["rate"] / rate(own) - TAIL_SHARE) < 0.01:
                tail = point["found"]["p999"]
                yield _target("p99.9 ms at 70% of its saturation", candidates, f"< {TAIL:g}", tail, False)
        tail = points[-1]["found"]["p99"]
        yield _target("p99 ms at the usual stack's saturation", candidates, f"≤ {USUAL_TAIL:g}", tail, False)


def _target(name: str, candidates: str, wanted: str, found: float | None, least: bool) -> list[str]:
    if found is None:
        return [name, candidates, wanted, NOTHING, "**no**"]
    limit = float(wanted.strip("≥≤<× "))
    met = found >= limit if least else found < limit if wanted.startswith("<") else found <= limit
    return [name, candidates, wanted, figure(found) + ("×" if least else ""), "yes" if met else "**no**"]


def checked(found: Results) -> str:
    """What was compared in the same run; a difference would have ended it."""
    held, log = found["checks"], found["checks"]["log"]
    first, changed = held["features"], held["changed_features"]
    lines = [
        f"- {first['values']:,} feature values of {first['predictions']} predictions, as logged, "
        "equal the Feast SDK's `get_online_features`;",
        f"- {changed['values']:,} of {changed['predictions']} predictions do so again "
        "right after a materialisation that changed all of them;",
        f"- {log['acknowledged']:,} predictions were acknowledged under load, and each is in the log's archive;",
        f"- the three contenders' scores of the same requests differ by at most {held['score_gap']:.1g}.",
    ]
    return "\n".join(lines)


def origin(found: Results) -> str:
    """Where the figures come from."""
    about = found["about"]
    plan, packages = about["plan"], ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    quick = " **A quick run, whose figures mean nothing.**" if plan["quick"] else ""
    return (
        f"{about['date']}, {about['machine']}, {about['busy_cores_before']:g} cores busy before the run "
        f"and at most {_elsewhere(found):.2f} with other things at a closed point; "
        f"{plan['closed_seconds']:g} s a closed point, {plan['open_seconds']:g} s an open one; "
        f"{plan['sizes']['users']:,} users, {plan['sizes']['items']:,} items; {packages}.{quick}"
    )


TABLES: Mapping[str, Callable[[Results], str]] = {
    "serving-closed": closed,
    "serving-targets": targets,
    "serving-plot": plotted,
    "serving-open": opened,
    "serving-layers": layers,
    "serving-parts": parts,
    "serving-checks": checked,
    "serving-origin": origin,
}


def rate(point: Mapping[str, Any]) -> float:
    """Answers a second; none where nothing was due."""
    found = point["found"]
    return float(found["answered"] / found["seconds"]) if found["answered"] else 0.0


def processor(point: Mapping[str, Any]) -> float:
    """Processor milliseconds a request, of all parts."""
    return float(sum(point["cost"]["processor"].values()))


def figure(value: float | None) -> str:
    """Three digits, and thousands as such."""
    if value is None:
        return NOTHING
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _elsewhere(found: Results) -> float:
    """The most cores that were busy with what is not measured, at any closed point."""
    return max(float(point["cost"]["elsewhere"]) for each in found["closed"].values() for point in each.values())


def _errors(point: Mapping[str, Any]) -> str:
    errors: Mapping[str, int] = point["found"]["errors"]
    return ", ".join(f"{count:,} {kind}" for kind, count in errors.items()) or "0"


def _candidates(found: Results) -> list[str]:
    return list(found["closed"][USUAL.name])
