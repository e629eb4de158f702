"""The tables of a system's page: cells with their links, the same for the page and for its script."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from math import nan
from typing import Any

from contracts.records import ModelVersion, RunState, Verdict
from infra.settings import Settings
from services.console import links
from services.console.loop import trained_at
from services.console.quantities import UNKNOWN, ago, loss, span
from services.console.standing import DRIFT, QUALITY

MOST = 12  # rows of a table


@dataclass(frozen=True)
class Cell:
    """A cell; `href` where it leads somewhere."""

    text: str
    href: str = ""


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
        Cell(f"{DRIFT[verdict.drifted]}: {len(verdict.drifted_columns)} columns"),
    ]
