"""The tables of a system's page: cells with their links, the same for the page and for its script."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from math import nan
from typing import Any

from contracts.findings import OnlineFigure, OnlineFigures, ParityFinding
from contracts.records import ModelVersion, RunState, Verdict
from infra.settings import Settings
from services.console import links
from services.console.loop import trained_at
from services.console.quantities import UNKNOWN, ago, loss, number, span
from services.console.standing import CONCEPT, DRIFT, QUALITY
from services.console.timeline import Event

MOST = 12  # rows of a table
MOST_FIGURES, MOST_EVENTS = 60, 40
WHOLE = "all"  # a slice that leaves nothing out


@dataclass(frozen=True)
class Cell:
    """A cell; `href` where it leads somewhere."""

    text: str
    href: str = ""
    state: str = ""  # colours it


Rows = list[list[dict[str, Any]]]


def runs(settings: Settings, host: str, found: Sequence[RunState], now: datetime) -> Rows:
    """Trainings and retrainings, newest first; `now` is the machine's, as Prefect's times are."""
    return [_cells(_run(settings, host, run, now)) for run in found[:MOST]]


def versions(settings: Settings, host: str, found: Sequence[ModelVersion], champion: str, now: datetime) -> Rows:
    """Versions, newest first, with what the gate said; `champion` serves."""
    return [_cells(_version(settings, host, each, champion, now)) for each in reversed(found[-MOST:])]


def verdicts(found: Sequence[Verdict], now: datetime) -> Rows:
    """What monitoring found, newest first."""
    return [_cells(_verdict(each, now)) for each in reversed(found[-MOST:])]


def online(found: OnlineFigures | None) -> Rows:
    """The system's own metrics from matured outcomes: of each version as a whole, the newest first, then by slice."""
    figures = sorted(found.figures, key=_place) if found else []
    return [_cells(_figure(each)) for each in figures[:MOST_FIGURES]]


def parity(found: ParityFinding | None) -> Rows:
    """Features whose served values differ from the recomputed ones."""
    differing = sorted(found.differing, key=lambda each: -each.rows) if found else []
    return [
        _cells([Cell(each.name, state="bad"), Cell(f"{each.rows:,}"), Cell(each.words)]) for each in differing[:MOST]
    ]


def events(found: Sequence[Event], now: datetime) -> Rows:
    """What happened, newest first."""
    return [
        _cells(
            [
                Cell(f"{each.at:%Y-%m-%d %H:%M}"),
                Cell(ago(each.at, now)),
                Cell(each.kind, state=each.state),
                Cell(each.said),
            ]
        )
        for each in found[:MOST_EVENTS]
    ]


def _cells(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    return [asdict(cell) for cell in cells]


def _run(settings: Settings, host: str, run: RunState, now: datetime) -> list[Cell]:
    took = span((run.ended_at or now) - run.started_at) if run.started_at else UNKNOWN
    return [
        Cell(run.name, links.run_page(settings, host, run)),
        Cell(run.state),
        Cell(ago(run.started_at, now)),
        Cell(took),
        Cell(run.message),
    ]


def _version(settings: Settings, host: str, version: ModelVersion, champion: str, now: datetime) -> list[Cell]:
    serves = " (serves)" if version.version == champion else ""
    metrics = version.metrics
    return [
        Cell(f"version {version.version}{serves}", links.version_page(settings, host, version)),
        Cell(ago(trained_at(version), now)),
        Cell(loss(metrics.get("log_loss", nan))),
        Cell(version.tags.get("gate", "not judged yet")),
        Cell(version.tags.get("gate_reasons", "")),
    ]


def _verdict(verdict: Verdict, now: datetime) -> list[Cell]:
    return [
        Cell(ago(verdict.at, now)),
        Cell(f"version {verdict.model_version}"),
        Cell(QUALITY[verdict.harmed]),
        Cell(f"{loss(verdict.loss)} (reference {loss(verdict.reference_loss)})"),
        Cell(f"{verdict.labelled_rows:,}"),
        Cell(CONCEPT[verdict.concept_drifted]),
        Cell(f"{DRIFT[verdict.drifted]}: {len(verdict.drifted_columns)} columns"),
    ]


def _figure(figure: OnlineFigure) -> list[Cell]:
    interval = (
        UNKNOWN if figure.low is None or figure.high is None else f"{number(figure.low)} to {number(figure.high)}"
    )
    return [
        Cell(figure.metric.replace("_", " ")),
        Cell(f"version {figure.version}"),
        Cell(figure.slice or WHOLE),
        Cell(f"{number(figure.value)} {figure.unit}".strip()),
        Cell(interval),
        Cell(f"{figure.rows:,}"),
    ]


def _place(figure: OnlineFigure) -> tuple[bool, str, int, str, str]:
    """Whole versions first; by metric, then the newest version, then the slice."""
    number = int(figure.version) if figure.version.isdigit() else 0
    return bool(figure.slice), figure.metric, -number, figure.version, figure.slice
