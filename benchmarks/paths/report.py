"""The figures as tables, from the results as they were kept: what is printed and what the README shows are the same."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.paths.alone import OURS
from benchmarks.paths.first_prediction import COMMAND
from benchmarks.paths.kept import Results
from benchmarks.tables import markdown

NOT_YET = "Not measured yet: `python -m benchmarks.paths --only {}` on a machine that does nothing else."
JOIN_SECONDS, JOIN_PEAK = 8.0, 2.5  # of a training set of a million rows and three views; gigabytes
COPY_SECONDS = 15.0  # of 100,000 entities
RECORDS_A_SECOND = 5_000.0
GROWTH = 2.2  # times the cost, of twice as much
Figures = Mapping[str, Any]
Row = list[str]
Summary = Callable[[Sequence[Figures], str], float]  # of many runs, by the name of a figure
TITLES = {OURS: "Flywheel", "file": "Feast, store `file` (its default)", "duckdb": "Feast, store `duckdb`"}


def tables(found: Mapping[str, Results | None]) -> dict[str, str]:
    """All tables by name, from results by measurement; a sentence in the place of what was never measured."""
    made = {}
    for name, (measurement, make) in TABLES.items():
        results = found.get(measurement)
        made[name] = make(results) if results else NOT_YET.format(measurement)
    return made


def training_set(found: Results) -> str:
    """Time and memory of a training set, by contender."""
    figures = found["figures"]
    return markdown(
        ("rows × views", "by", "s", "CPU s", "peak GB", "time to Flywheel's"),
        list(_costs(figures, figures["sizes"]["rows"], f" × {figures['sizes']['views']}")),
    )


def materialization(found: Results) -> str:
    """Time of copying the latest states to Redis, by contender."""
    figures = found["figures"]
    heading = ("entities", "by", "s", "CPU s", "peak GB", "time to Flywheel's")
    return markdown(heading, list(_costs(figures, figures["sizes"]["asked"], "")))


def recorder(found: Results) -> str:
    """Records a second from the log in Redis to Parquet."""
    rows = [
        [
            width,
            f"{len(drains)} × {drains[0]['records']:,}",
            f"{_rate(drains):,.0f}",
            f"{int(width) * _rate(drains):,.0f}",
            f"{_total(drains, 'processor') / _total(drains, 'seconds'):.0%}",
            figure(1e6 * _total(drains, "processor") / _total(drains, "records")),
            figure(1000 * max(float(one["memory"]) for one in drains)),
        ]
        for width, sizes in found["figures"]["drains"].items()
        for drains in sizes.values()
    ]
    heading = ("rows a record", "records", "records/s", "rows/s", "of a core", "CPU µs a record", "memory MB")
    return markdown(heading, rows)


def started(found: Results) -> str:
    """Seconds from `flywheel up` until each component was healthy."""
    figures = found["figures"]
    order = sorted(figures["healthy"].items(), key=lambda one: float(one[1]))
    rows = [[name, ", ".join(figures["needs"][name]) or "–", figure(seconds)] for name, seconds in order]
    rows.append(["**all, and the command has said so**", "", figure(figures["up"])])
    return markdown(("component", "started once these are healthy", "healthy after s"), rows)


def first_prediction(found: Results) -> str:
    """Seconds of each part of the way to the first answer, which add up."""
    figures = found["figures"]
    rows = [["`flywheel up`", figure(figures["up"])]]
    for name, seconds in figures["bootstrap"].items():
        rows.append([f"bootstrap: {'its own start' if name == COMMAND else name}", figure(seconds)])
    rows.append(["the champion answers", figure(figures["first_answer"])])
    rows.append(["**in all**", figure(_whole(figures))])
    return markdown(("part", "s"), rows)


def training_set_targets(found: Results) -> str:
    """What was to be reached for training sets."""
    figures = found["figures"]
    ours = figures["costs"][OURS]
    return _targets(
        [
            _most("training set, s", JOIN_SECONDS, _middle(ours["1"], "seconds")),
            _most("training set, peak GB", JOIN_PEAK, max(float(one["peak"]) for one in ours["1"])),
            *_growth("training set", ours, _middle),
        ]
    )


def materialization_targets(found: Results) -> str:
    """What was to be reached for materialisation."""
    ours = found["figures"]["costs"][OURS]
    return _targets(
        [
            _most("materialisation, s", COPY_SECONDS, _middle(ours["1"], "seconds")),
            *_growth("materialisation", ours, _middle),
        ]
    )


def recorder_targets(found: Results) -> str:
    """What was to be reached for the recorder: at the smaller size, the larger one is for growth."""
    rows = []
    for width, sizes in found["figures"]["drains"].items():
        name = f"recorder, {width} {'row' if width == '1' else 'rows'} a record"
        rate = _rate(sizes["1"])
        rows.append(
            [f"{name}, records/s", f"≥ {RECORDS_A_SECOND:,.0f}", f"{rate:,.0f}", _met(rate >= RECORDS_A_SECOND)]
        )
        rows += _growth(name, sizes, _total)
    return _targets(rows)


def _checked(found: Results) -> str:
    told = [
        f"{TITLES[name]}: {same['values']:,} values of {same['rows']:,} rows, all the same as Flywheel's"
        + (
            f"; {same['left_out']:,} rows, for which some view has no state that is young enough, it left out"
            if same["left_out"]
            else ""
        )
        for name, same in found["figures"]["same"].items()
    ]
    return "\n".join(f"- {one}." for one in told)


def _copied(found: Results) -> str:
    sizes = found["figures"]["sizes"]
    return f"After either, Redis held the same bytes: {sizes['entities']:,} entities × {sizes['features']} features."


def _archived(found: Results) -> str:
    return f"All {found['figures']['archived']:,} records that were in the log are in the archive, each once."


def _origin(found: Results) -> str:
    about = found["about"]
    packages = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    quick = " **A quick run, whose figures mean nothing.**" if about["plan"]["quick"] else ""
    return f"{about['date']}, {about['machine']}, {about['busy_cores_before']:g} cores busy before; {packages}.{quick}"


def _whole_of(*makes: Callable[[Results], str]) -> Callable[[Results], str]:
    return lambda found: "\n\n".join(make(found) for make in makes)


TABLES: Mapping[str, tuple[str, Callable[[Results], str]]] = {  # table → measurement, and how it is made
    "paths-training-set": ("training_set", _whole_of(_origin, training_set, training_set_targets, _checked)),
    "paths-materialization": ("materialization", _whole_of(_origin, materialization, materialization_targets, _copied)),
    "paths-recorder": ("recorder", _whole_of(_origin, recorder, recorder_targets, _archived)),
    "paths-first-prediction": ("first_prediction", _whole_of(_origin, first_prediction, started)),
}


def figure(value: float) -> str:
    """Three digits, and thousands as such."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _costs(figures: Figures, size: int, unit: str) -> Iterator[Row]:
    ours = figures["costs"][OURS]
    for name, sizes in figures["costs"].items():
        for times, each in sizes.items():
            seconds = _middle(each, "seconds")
            yield [
                f"{int(times) * size:,}{unit}",
                TITLES[name],
                *(figure(_middle(each, one)) for one in ("seconds", "processor", "peak")),
                f"{figure(seconds / _middle(ours[times], 'seconds'))}×",
            ]


def _growth(name: str, sizes: Mapping[str, Sequence[Figures]], of: Summary) -> Iterator[Row]:
    """Of the clock's time and of the processor's, which other work on the host disturbs less."""
    for told, one in ((f"{name}, twice as much takes", "seconds"), ("… of a processor", "processor")):
        times = of(sizes["2"], one) / of(sizes["1"], one)
        yield [told, f"≤ {GROWTH:g}×", f"{times:.2f}×", _met(times <= GROWTH)]


def _targets(rows: Sequence[Row]) -> str:
    return markdown(("target", "wanted", "found", "met"), rows)


def _most(name: str, wanted: float, found: float) -> Row:
    return [name, f"≤ {wanted:g}", figure(found), _met(found <= wanted)]


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


def _middle(costs: Sequence[Figures], what: str) -> float:
    return float(median(float(one[what]) for one in costs))


def _rate(drains: Sequence[Figures]) -> float:
    return _total(drains, "records") / _total(drains, "seconds")


def _total(costs: Sequence[Figures], what: str) -> float:
    """What is merged in passing, once in a while, counts with all."""
    return float(sum(float(one[what]) for one in costs))


def _whole(figures: Figures) -> float:
    return float(figures["up"] + sum(figures["bootstrap"].values()) + figures["first_answer"])
