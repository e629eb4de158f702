"""What was measured, as Markdown: one function a table, from the results of all benchmarks by name."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.monitoring.concept_drift import MOST_LABELS
from benchmarks.monitoring.concept_drift_rows import cell
from benchmarks.monitoring.data_drift_figures import EDGES, LEAST_FOUND, MOST_ALARMS
from benchmarks.monitoring.data_drift_figures import TARGETS as SHIFTS
from benchmarks.monitoring.estimated_figures import BLINDS, NAMES
from benchmarks.monitoring.method import digest
from monitoring.concept_drift.detector import RUN_LENGTH

Results = Mapping[str, Mapping[str, Any]]
Row = tuple[str, ...]
LEAST_RIGHTLY, MOST_SECONDS, MOST_MB, NOMINAL = 0.95, 30.0, 2_048.0, 0.95
OUTLIER = 0.02  # what one absurd value may change in the share of windows that alarm: chance, in some hundred windows
OURS = ("as it is used", "the error at the bound of normal before")  # the first rows of the table of detectors
RIVALS = {
    "detectors": "the error goes from 10% to 20% after 1,000 labels",
    "later": "… after 20,000 labels",
    "often": "the same settings where 30% is normal, and goes to 40% after 1,000 labels",
}
CONDITIONS = {
    "normal": "e-CUSUM: what it is told is normal, and what is",
    "selective": "labels for some predictions; false alarms counted where the error is at its bound",
    "late": "late labels, one prediction a tick, all figures in ticks",
    "pages": "pages of 10 rows that are alike, in pages; false alarms counted where the error is at its bound",
}


def targets(results: Results) -> str:
    """What was asked, what was measured, and whether that is met."""
    rows = [*_alarm_targets(results), *_found_targets(results), *_edge_targets(results)]
    rows += [*_concept_targets(results), *_coverage_targets(results)]
    return _table(("asked", "measured", "met"), rows)


def alarms(results: Results) -> str:
    """False alarms of the data-drift verdict."""
    rows = [
        (name, f"{one['windows']:,}", str(one["alarms"]), _between(one, "in_90_days", "{:.2f}"))
        for name, one in results["data_drift"]["figures"]["alarms"].items()
    ]
    return _table(("nothing changes", "windows", "dataset alarms", "in 90 days (95% interval)"), rows)


def found(results: Results) -> str:
    """What the data-drift verdict finds, by kind of column."""
    power = list(results["data_drift"]["figures"]["power"].values())
    rows: list[Row] = [
        ("found, mean over all columns (95% interval)", *(_between(one, "found", "{:.1%}") for one in power)),
        ("of alarms, that column named and no other", *(f"{one['rightly']:.1%}" for one in power)),
        *((f"found, {kind}", *(f"{one['kinds'][kind]:.1%}" for one in power)) for kind in power[0]["kinds"]),
        ("… by a test that knows how its hours differ", *(f"{one['possible']:.1%}" for one in power)),
    ]
    heads = (f"{shift}σ, n = {rows:,}" for rows, shift in SHIFTS.items())
    return _table(("one column in 20 shifted", *heads), rows)


def defaults(results: Results) -> str:
    """The usual defaults on the same windows."""
    rows: list[Row] = []
    for count, by_name in results["data_drift"]["figures"]["compared"].items():
        for name, one in by_name.items():
            shares = (f"{one[field]:.1%}" for field in ("alarms", "columns", "raised", "found", "alone"))
            rows.append((name, f"{SHIFTS[int(count)]}σ, n = {int(count):,}", str(one["windows"]), *shares))
    heads = ("", "shift", "windows", "alarms, nothing changed", "columns flagged, nothing changed")
    return _table((*heads, "alarms, one shifted", "that column flagged", "of flags: it alone"), rows)


def edges(results: Results) -> str:
    """Very large windows, and one absurd value."""
    figures = results["data_drift"]["figures"]["edges"]
    rows = [(name, f"{figures[field]:.1%}") for field, name in EDGES.items()]
    return _table(("at the edges", "share of windows"), rows)


def detectors(results: Results) -> str:
    """Ours, river's and the dummies."""
    return _parts(results, RIVALS)


def conditions(results: Results) -> str:
    """Our detector under other conditions."""
    return _parts(results, CONDITIONS)


def estimates(results: Results) -> str:
    """Estimated performance beside what the labels showed."""
    rows: list[Row] = []
    for name, one in results["estimated_performance"]["figures"].items():
        refused = f"{one['refused']} of {one['windows']}"
        if one["errors"] is None:
            rows.append((name, *[""] * (len(NAMES) + 3), refused))
            continue
        low, high = one["covered_interval"]
        errors = (f"{one['errors'][each]:.4f}" for each in NAMES)
        covered = f"{one['covered']['log_loss']:.0%} ({low:.0%} to {high:.0%})", f"{_mean(one['covered'].values()):.0%}"
        rows.append((name, f"{one['realised']:.4f}", *errors, *covered, refused))
    heads = ("", "realised log loss", *(f"error: {each}" for each in NAMES))
    return _table((*heads, "log loss in its 95% interval", "all five metrics", "refused"), rows)


def where_from(results: Results) -> str:
    """Dates, seeds and machines, and whether the code is still the one that was measured."""
    rows = []
    for name, one in results.items():
        of = one["about"]
        versions = ", ".join(f"{package} {number}" for package, number in of["versions"].items())
        same = "yes" if of["code"] == digest(name) else "no: measure it anew"
        rows.append((name, of["date"], same, str(of["seed"]), f"{of['seconds']:,.0f}", of["machine"], versions))
    return _table(
        ("benchmark", "date", "of the code as it is", "seed", "processor seconds", "machine", "versions"), rows
    )


def _alarm_targets(results: Results) -> Iterable[Row]:
    for name, one in results["data_drift"]["figures"]["alarms"].items():
        verdict = _at_most(MOST_ALARMS, one["in_90_days"], one["high"])
        yield f"data drift, {name}: ≤ 1 false alarm in 2,160 hours", _between(one, "in_90_days", "{:.2f}"), verdict


def _found_targets(results: Results) -> Iterable[Row]:
    for rows, one in results["data_drift"]["figures"]["power"].items():
        at = f"{SHIFTS[int(rows)]}σ, n = {int(rows):,}"
        verdict = _at_least(LEAST_FOUND, one["found"], one["low"])
        yield f"… {at}: found ≥ {LEAST_FOUND:.0%}, mean over columns", _between(one, "found", "{:.1%}"), verdict
        weak = {kind: share for kind, share in one["kinds"].items() if share < LEAST_FOUND}
        said = ", ".join(f"{kind} {share:.1%}" for kind, share in weak.items()) or "every kind"
        yield f"… {at}: in every kind of column by itself", said, "no" if weak else "yes"
        right = _at_least(LEAST_RIGHTLY, one["rightly"], one["rightly"])
        yield f"… {at}: named rightly ≥ {LEAST_RIGHTLY:.0%}", f"{one['rightly']:.1%}", right


def _edge_targets(results: Results) -> Iterable[Row]:
    figures = results["data_drift"]["figures"]
    one, speed = figures["edges"], figures["speed"]
    tiny = f"{one['tiny_shift']:.0%} of {one['tiny_windows']} windows"
    yield "… 0.02σ, n = 200,000: no alarm", tiny, "no" if one["tiny_shift"] else "yes"
    makes = f"alarms {one['calm']:.1%} without, {one['outlier_alone']:.1%} with"
    same = abs(one["outlier_alone"] - one["calm"]) <= OUTLIER
    yield "… one absurd value makes no shift", makes, "yes" if same else "no"
    hides = f"1σ found {one['shift']:.1%} without, {one['outlier_and_shift']:.1%} with"
    seen = abs(one["outlier_and_shift"] - one["shift"]) <= OUTLIER
    yield "… and hides none", hides, "yes" if seen else "no"
    fast = speed["seconds"] <= MOST_SECONDS and speed["peak_mb"] <= MOST_MB
    took = f"{speed['rows']:,} rows: {speed['seconds']:.1f} s, {speed['peak_mb']:,.0f} MB"
    yield "… a window of 1,000,000 rows × 20 columns: ≤ 30 s, ≤ 2 GB", took, "yes" if fast else "no"


def _concept_targets(results: Results) -> Iterable[Row]:
    figures = results["concept_drift"]["figures"]
    for row, said in zip(figures["detectors"], OURS, strict=False):
        for field, most in zip(("median", "p95"), MOST_LABELS, strict=True):
            verdict = _at_most(most, row[field] or math.inf, row[f"{field}_interval"][1] or math.inf)
            name = "median" if field == "median" else "95th percentile"
            yield f"concept drift, {said}: found in ≤ {most} labels, {name}", _cell(row, field), verdict
        yield f"… ≥ {RUN_LENGTH:,.0f} labels between false alarms", _cell(row, "run_length"), _long_runs([row])
    for part, said in (("selective", "labels for some predictions only, weighed"), ("late", "late labels")):
        rows = [row for row in figures[part] if "(wrong" not in row["name"]]
        shortest = min(rows, key=lambda row: row["run_length"] or math.inf)
        medians = sorted(row["median"] for row in rows)
        measured = (
            f"{_cell(shortest, 'run_length')} or more; medians to the alarm {medians[0]:,.0f} to {medians[-1]:,.0f}"
        )
        yield f"… {said}: ≥ {RUN_LENGTH:,.0f} between false alarms", measured, _long_runs(rows)


def _long_runs(rows: Iterable[Mapping[str, Any]]) -> str:
    found = [(row["run_length"] or math.inf, row["run_length_interval"][0] or 0.0) for row in rows]
    return _at_least(RUN_LENGTH, min(mean for mean, _ in found), min(low for _, low in found))


def _coverage_targets(results: Results) -> Iterable[Row]:
    for name, one in results["estimated_performance"]["figures"].items():
        if one["errors"] is None or name.endswith(BLINDS):
            continue
        low, high = one["covered_interval"]
        share = one["covered"]["log_loss"]
        said = f"{share:.0%} ({low:.0%} to {high:.0%}) of {one['windows'] - one['refused']} windows"
        verdict = "yes" if share >= NOMINAL else "within chance" if high >= NOMINAL else "no"
        yield f"estimate, {name}: 95% intervals of the log loss cover 95%", said, verdict


def _parts(results: Results, parts: Mapping[str, str]) -> str:
    """One table of several, each below a line that says what it is of."""
    rows: list[Row] = []
    for part, said in parts.items():
        rows.append((f"**{said}**", "", "", "", ""))
        rows += [_detector(row) for row in results["concept_drift"]["figures"][part]]
    heads = ("", "labels between false alarms (95%)", "labels to the alarm: median", "95th percentile", "found")
    return _table(heads, rows)


def _detector(row: Mapping[str, Any]) -> Row:
    cells = (_cell(row, field) for field in ("run_length", "median", "p95"))
    return (row["name"], *cells, f"{row['found']:.1%}")


def _cell(row: Mapping[str, Any], field: str) -> str:
    if field != "run_length" and row[field] is None and row[f"{field}_interval"][0] is not None:
        return f"≥ {row[f'{field}_interval'][0]:,.0f}"
    return cell(row[field], row[f"{field}_interval"])


def _between(one: Mapping[str, Any], field: str, style: str) -> str:
    value, low, high = (style.format(one[each]) for each in (field, "low", "high"))
    return f"{value} ({low} to {high})"


def _at_most(asked: float, value: float, high: float) -> str:
    return _verdict(value <= asked, high <= asked)


def _at_least(asked: float, value: float, low: float) -> str:
    return _verdict(value >= asked, low >= asked)


def _verdict(met: bool, surely: bool) -> str:
    if not met:
        return "no"
    return "yes" if surely else "yes; the interval reaches past it"


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _table(heads: Row, rows: Iterable[Row]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
