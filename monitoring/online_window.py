"""A system's online metrics over its latest stretch of the log, read piece by piece: what is kept of them as a finding.

A week has all hours of all days in it and, where models are replaced every few hours, several versions to compare. The
log is read backwards, and no further than `MOST_ROWS` go: a piece is a window of the monitor's at first, and longer
where there is little in it, so that at no time more rows are in memory than the monitor itself would hold.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from contracts.findings import OnlineFigure, OnlineFigures
from contracts.ports import Archive
from contracts.records import ModelVersion
from contracts.system import System
from monitoring.agreement import Offline, agreement
from monitoring.online import Measured, Tallies, gathered, measured, tally, together

SPAN = timedelta(days=7)
MOST_ROWS = 2_000_000  # answers, of which outcomes are a part; with a piece of them the reading ends
ROOMY = 200_000  # a piece with fewer rows makes the next one twice as long
OFFLINE = "normalised_cross_entropy"  # does not move with the base rates of different hold-outs


def figures(system: System, archive: Archive, versions: Sequence[ModelVersion], now: datetime) -> OnlineFigures:
    """The system's metrics by version and slice, and whether they order the versions as their hold-outs do."""
    metrics = system.requirements.online_metrics
    tallies, since = read(system, archive, now)
    found = measured(metrics, tallies)
    offline = Offline(
        "normalised cross-entropy", "lower", {each.version: each.metrics.get(OFFLINE, math.nan) for each in versions}
    )
    sentences = (agreement(found, metric.name, offline).sentence() for metric in metrics)
    known = [_figure(each) for each in found if math.isfinite(each.estimate.value)]
    return OnlineFigures(system.name, now, since, tuple(known), tuple(sentences))


def read(system: System, archive: Archive, now: datetime, most: int = MOST_ROWS) -> tuple[Tallies, datetime]:
    """What is kept of the log's latest stretch, and where that begins."""
    tallies: Tallies = {}
    until, length, rows = now, system.monitoring.window, 0
    while until > now - SPAN and rows < most:
        since = max(until - length, now - SPAN)
        piece = gathered(system, archive, (since, until), now)
        tallies = together(tallies, tally(system.requirements.online_metrics, piece, system.training.slices))
        count = len(piece["answers"].frame)
        until, rows, length = since, rows + count, length * (2 if count < ROOMY else 1)
    return tallies, until


def in_words(found: OnlineFigures) -> tuple[str, ...]:
    """What was measured, in sentences."""
    versions = len({each.version for each in found.figures})
    head = (
        f"{len(found.figures)} figures of {versions} versions, from {found.since:%Y-%m-%d %H:%M} to "
        f"{found.at:%Y-%m-%d %H:%M} UTC; outcomes are those that matured by then."
    )
    if not found.figures:
        head = f"Nothing was answered since {found.since:%Y-%m-%d %H:%M} UTC: there is nothing to measure."
    return head, *found.agreement


def _figure(each: Measured) -> OnlineFigure:
    estimate = each.estimate
    low, high = (None if math.isnan(end) else end for end in (estimate.low, estimate.high))
    return OnlineFigure(each.metric, each.unit, each.version, each.slice, estimate.value, low, high, estimate.rows)
