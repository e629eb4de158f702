"""What a load test found, as a table for people, rows for the report and a record for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from services.client.loadtest.measure import Tally
from services.client.loadtest.saturation import Search, Step
from services.client.loadtest.verdict import Verdict, milliseconds

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
COLOURS = {"held": "green", "broken": "red", "not judged": "yellow"}
STEP_COLUMNS = ("rate", "answers/s", "p50", "p90", "p99", "p99.9", "max", "errors", "fallback", "generator late", "")


def rows(tally: Tally) -> list[tuple[str, str]]:
    """What was measured, in words."""
    found = [
        ("requests", f"{tally.due:,} due, {tally.answered:,} answered, {tally.failed:,} failed"),
        ("latency", _percentiles(tally)),
        ("of that, once sent", f"p50 {milliseconds(tally.service.percentile(0.5))}, "
         f"p99 {milliseconds(tally.service.percentile(0.99))}"),
        ("the generator", f"late by p99 {milliseconds(tally.lateness.percentile(0.99))}, "
         f"ran {tally.busy:.0%} of the time, waited for a processor {tally.starved:.0%}"),
    ]  # fmt: skip
    found += [("error", f"{count:,} × {kind}: {tally.examples[kind]}") for kind, count in tally.errors.most_common()]
    if tally.fallbacks:
        found.append(("fallback", f"{tally.fallbacks:,} answered without a model"))
    return found + [("degraded", f"{count:,} × {what}") for what, count in tally.degraded.most_common(5)]


def table(tally: Tally, verdict: Verdict) -> Table:
    """Measured, then judged."""
    shown = Table(show_header=False)
    for name, value in rows(tally):
        shown.add_row(name, escape(value))
    shown.add_section()
    for check in verdict.checks:
        colour = COLOURS[check.held]
        shown.add_row(check.name, f"{check.found}, {check.required}: [{colour}]{check.held}[/{colour}]")
    return shown


def steps_table(search: Search) -> Table:
    """A row a step."""
    shown = Table(title="Rate stepped up, requests a second", title_justify="left")
    for name in STEP_COLUMNS:
        shown.add_column(name, justify="right" if name else "left", no_wrap=True)
    for step in search.steps:
        colour = COLOURS[step.verdict.held]
        cells = step_cells(step)
        shown.add_row(*cells[:-1], f"[{colour}]{cells[-1]}[/{colour}]")
    return shown


def step_cells(step: Step) -> list[str]:
    tally = step.tally
    shares = [milliseconds(tally.latency.percentile(share)) for share in SHARES.values()]
    counts = [f"{tally.failed:,}", f"{tally.fallbacks:,}", milliseconds(tally.lateness.percentile(0.99))]
    achieved = next((check.found for check in step.verdict.checks if check.name == "answers a second"), "")
    broken = ", ".join(check.name for check in step.verdict.checks if check.held == step.verdict.held)
    words = step.verdict.held if step.verdict.held == "held" else f"{step.verdict.held}: {broken}"
    return [f"{step.rate:,.1f}", achieved, *shares, milliseconds(tally.latency.longest), *counts, words]


def findings(title: str, tally: Tally, verdict: Verdict) -> dict[str, Any]:
    """For the report."""
    judged = [[check.name, f"{check.found}, {check.required}: {check.held}"] for check in verdict.checks]
    words = " ".join([verdict.sentence, *verdict.remarks])
    return {"title": title, "columns": ["", ""], "rows": [*map(list, rows(tally)), *judged], "verdict": words}


def steps_findings(title: str, search: Search, sentence: str) -> dict[str, Any]:
    """For the report."""
    return {
        "title": title,
        "columns": list(STEP_COLUMNS),
        "rows": [step_cells(step) for step in search.steps],
        "verdict": sentence,
    }


def record(tally: Tally, verdict: Verdict) -> dict[str, Any]:
    """For programs: times in milliseconds, None where nothing was measured."""
    return {
        "due": tally.due,
        "answered": tally.answered,
        "failed": tally.failed,
        "fallbacks": tally.fallbacks,
        "errors": dict(tally.errors),
        "degraded": dict(tally.degraded),
        "latency_ms": _figures(tally, "latency"),
        "service_ms": _figures(tally, "service"),
        "generator": {
            "lateness_ms": _figures(tally, "lateness"),
            "ran": round(tally.busy, 3),
            "starved": round(tally.starved, 3),
        },
        "checks": [asdict(check) for check in verdict.checks],
        "remarks": list(verdict.remarks),
        "verdict": verdict.held,
    }


def steps_record(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [{"rate": step.rate, **record(step.tally, step.verdict)} for step in steps]


def pulse(tally: Tally) -> str:
    """How a stage goes, in a line."""
    return (
        f"{tally.answered:,} answered, p50 {milliseconds(tally.latency.percentile(0.5))}, "
        f"p99 {milliseconds(tally.latency.percentile(0.99))}, {tally.failed:,} failed, {tally.waiting:,} waiting"
    )


def _percentiles(tally: Tally) -> str:
    parts = [f"{name} {milliseconds(tally.latency.percentile(share))}" for name, share in SHARES.items()]
    return ", ".join([*parts, f"max {milliseconds(tally.latency.longest)}"])


def _figures(tally: Tally, name: str) -> dict[str, float | None]:
    spans = getattr(tally, name)
    if not spans.counts:
        return dict.fromkeys([*SHARES, "max"])
    shares = {key: round(spans.percentile(share) * 1000, 3) for key, share in SHARES.items()}
    return {**shares, "max": round(spans.longest * 1000, 3)}
