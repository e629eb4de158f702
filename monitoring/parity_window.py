"""Served against recomputed features over the log's latest window: the sample that is drawn, and what is kept of it."""

from datetime import datetime, timedelta
from functools import partial

import systems
from contracts.findings import ParityColumn, ParityFinding
from contracts.system import System
from infra import wiring
from infra.clock import pace_since
from infra.live_history import with_live_features
from infra.settings import Settings
from monitoring.parity import TOLERATED, Parity, Stores, check
from monitoring.recomputed import allowed

MOST_ROWS = 10_000  # of a window, drawn evenly: a feature that is wrong in 2% of rows is wrong in 200 of them
MOST_PAIRS = 400_000  # of a row and a tick, where many ticks may have to be tried
SETTLED = timedelta(seconds=10)  # of real time until what was answered is at rest, and can be recomputed from
MATERIALIZED = timedelta(minutes=10)  # of real time between two turns of materialize, on a clock that runs fast


def latest(settings: Settings, system: System, now: datetime, most: int = MOST_ROWS) -> ParityFinding:
    """Compare what was served in the latest window of the log, or a sample of it.

    A request is under way for its system's deadline at most: of real time, which is more on a clock that runs fast.
    """
    clock, archive = wiring.clock(settings), wiring.archive(settings)
    pace = pace_since(clock, now - system.monitoring.window)
    until = now - SETTLED * pace
    interval = until - system.monitoring.window, until
    age = freshness(system, pace, len(systems.names()))
    ticks = max((allowed(view, age) for view in system.features.views), default=0)
    stores = Stores(archive, wiring.feature_store(settings), partial(with_live_features, settings, system))
    rows = min(most, MOST_PAIRS // max(ticks, 1))
    return finding(system, check(system, stores, interval, rows, system.requirements.deadline * pace, age), interval)


def freshness(system: System, pace: float, count: int) -> timedelta:
    """How old materialised features may be in the platform's time. On a clock that runs fast they grow older than the
    system requires, for the turns of materialize take real time; two of them, so that one may have failed."""
    required = system.requirements.freshness
    return max(required, 2 * MATERIALIZED * count * pace) if pace > 1 else required


def finding(system: System, found: Parity, interval: tuple[datetime, datetime]) -> ParityFinding:
    """What is kept of a comparison: `differing` are the features that do in more rows than is tolerated."""
    skewed = found.skewed
    differing = tuple(ParityColumn(each.name, each.differing, each.words) for each in found.features)
    return ParityFinding(
        system=system.name,
        at=interval[1],
        since=interval[0],
        rows=found.rows,
        features=len(system.features.names),
        differing=tuple(each for each in differing if each.name in skewed),
        words=" ".join([verdict(found), *found.sentences()]),
    )


def verdict(found: Parity) -> str:
    """What a comparison says, in a sentence."""
    if not found.rows:
        return "No features were served and read in this window: there is nothing to compare."
    if found.skewed:
        count, names = len(found.skewed), ", ".join(found.skewed)
        return f"{count} of {len(found.features)} features were served with other values than are recomputed: {names}."
    if found.equal is None:
        unknown = ", ".join(each.name for each in found.views if not each.compared)
        return f"Nothing that was compared differs; of the view {unknown} there was nothing to compare."
    if any(each.differing for each in found.features):
        return f"What was served is what is recomputed, but for less than {TOLERATED:.0%} of a feature's rows."
    return "What was served is what is recomputed."
