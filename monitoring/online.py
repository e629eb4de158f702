"""Online metrics: what a version earned, by slice, from outcomes as they mature; and what it answered, at once.

A metric is a ratio of two sums over rows: clicks over impressions, watched minutes over pages, costs over payments
(`ratio.py`). Where answers decide which labels are known, rows weigh one over their propensity (infra/importance.py),
as in training. Rows may come in pieces: what is kept of them adds up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.online_metric import OnlineMetric
from contracts.ports import Archive
from contracts.records import ModelVersion
from contracts.system import AT, Floats, System
from infra.importance import importance
from monitoring.ratio import Codes, Estimate, Sums, sums

REPORTED = "reported"  # of a row: whether a client told anything of it in time, be it that nothing came of it
EVERYTHING = ""  # the slice that all rows are in
MIN_ROWS = 200  # of a slice of one version; smaller ones are left out

Interval = tuple[datetime, datetime]  # its end is not in it


@dataclass(frozen=True)
class Rows:
    """Rows of the log, and how many each stands for."""

    frame: pd.DataFrame
    weights: Floats


@dataclass(frozen=True)
class Measured:
    """A metric of one version in one slice, over the time from the first of these rows to the last."""

    metric: str
    unit: str
    better: Literal["higher", "lower"]
    version: str
    slice: str  # "device = mobile", or EVERYTHING
    since: datetime
    until: datetime
    estimate: Estimate


@dataclass(frozen=True)
class VersionMetrics:
    """A version's online metrics beside those of its hold-out."""

    version: str
    online: Mapping[str, Estimate]
    offline: Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """A metric of one version in one slice."""

    metric: str
    version: str
    slice: str


@dataclass(frozen=True)
class Tally:
    """What is kept of a cell's rows, with the times of the first and the last one in seconds since the epoch."""

    sums: Sums
    first: float
    last: float

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.sums + other.sums, min(self.first, other.first), max(self.last, other.last))


Tallies = Mapping[Cell, Tally]


def gathered(system: System, archive: Archive, interval: Interval, now: datetime) -> dict[str, Rows]:
    """The rows of an interval, by what metrics may be over: answers that were given in it, and as `outcomes` those that
    matured in it, which were given a label delay earlier."""
    delay, (since, until) = system.requirements.label_delay, interval
    labelled = archive.labelled(system, since - delay, until - delay, now)
    weights = importance(system, labelled, (now - delay).timestamp())
    counted = labelled[weights > 0].reset_index(drop=True)
    told = reported(counted, archive.outcomes(system, since - delay, until), delay)
    answers = archive.predictions(system, since, until)
    return {
        "outcomes": Rows(counted.assign(**{REPORTED: told}), weights[weights > 0]),
        "answers": Rows(answers, np.ones(len(answers))),
    }


def reported(rows: pd.DataFrame, outcomes: pd.DataFrame, delay: timedelta) -> NDArray[np.bool_]:
    """For each row whether a client reported anything of it within the label delay."""
    keys = ["prediction_id", "item"]
    told = outcomes[outcomes["source"] == "client"]
    asked = rows[[*keys, AT]].fillna({"item": ""}).assign(place=np.arange(len(rows)))
    joined = asked.merge(told[[*keys, "occurred_at"]].fillna({"item": ""}), on=keys)
    after = joined["occurred_at"] - joined[AT]
    found = np.zeros(len(rows), dtype=np.bool_)
    found[joined["place"][(after >= 0) & (after <= delay.total_seconds())].to_numpy()] = True
    return found


def measure(
    metrics: Sequence[OnlineMetric], rows: Mapping[str, Rows], slices: Sequence[str], confidence: float = 0.95
) -> tuple[Measured, ...]:
    """Each metric of each version, as a whole and by slice (a value of one of the columns `slices`)."""
    return measured(metrics, tally(metrics, rows, slices), confidence)


def tally(metrics: Sequence[OnlineMetric], rows: Mapping[str, Rows], slices: Sequence[str]) -> Tallies:
    """What is kept of rows, whose predictions are in no other rows."""
    return {
        cell: found
        for over, some in rows.items()
        for metrics_over in [[metric for metric in metrics if metric.over == over]]
        if metrics_over and len(some.frame)
        for column in (None, *slices)
        for cell, found in _tallied(metrics_over, some, column)
    }


def together(one: Tallies, other: Tallies) -> Tallies:
    """Of two pieces of the log what is kept of both."""
    return {**one, **{cell: one[cell] + found if cell in one else found for cell, found in other.items()}}


def measured(metrics: Sequence[OnlineMetric], tallies: Tallies, confidence: float = 0.95) -> tuple[Measured, ...]:
    """The metrics of what was tallied, versions in the registry's order; slices with too few rows are left out."""
    named = {metric.name: (number, metric) for number, metric in enumerate(metrics)}
    cells = sorted(tallies, key=lambda cell: (named[cell.metric][0], _in_order(cell.version), cell.slice))
    return tuple(
        _measured(named[cell.metric][1], cell, tallies[cell], confidence)
        for cell in cells
        if cell.slice == EVERYTHING or tallies[cell].sums.rows >= MIN_ROWS
    )


def beside(measured: Sequence[Measured], versions: Sequence[ModelVersion]) -> tuple[VersionMetrics, ...]:
    """Each version that answered, with what was measured online (of all rows) and on its hold-out."""
    offline = {version.version: version.metrics for version in versions}
    names = dict.fromkeys(each.version for each in measured)
    whole = [each for each in measured if each.slice == EVERYTHING]
    return tuple(
        VersionMetrics(name, {each.metric: each.estimate for each in whole if each.version == name}, offline[name])
        for name in names
        if name in offline
    )


def _measured(metric: OnlineMetric, cell: Cell, found: Tally, confidence: float) -> Measured:
    since, until = (datetime.fromtimestamp(end, UTC) for end in (found.first, found.last))
    estimate = found.sums.estimate(confidence)
    return Measured(metric.name, metric.unit, metric.better, cell.version, cell.slice, since, until, estimate)


def _tallied(metrics: Sequence[OnlineMetric], rows: Rows, column: str | None) -> Iterator[tuple[Cell, Tally]]:
    """The metrics of each version, or of each version's slices by one column."""
    frame = rows.frame
    cells, names = _cells(frame, column)
    predictions = pd.factorize(frame["prediction_id"])[0]
    at = pd.DataFrame({"first": frame[AT].to_numpy(np.float64), "last": frame[AT].to_numpy(np.float64)})
    times = at.groupby(cells).agg({"first": "min", "last": "max"}).reindex(range(len(names))).to_numpy()
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    for metric in metrics:
        found = sums(metric.value(columns), rows.weights, cells, predictions)
        for number, (version, name) in enumerate(names):
            yield Cell(metric.name, version, name), Tally(found[number], *times[number].tolist())


def _cells(frame: pd.DataFrame, column: str | None) -> tuple[Codes, list[tuple[str, str]]]:
    """Each row's cell by its number, −1 where it has no value in the column; and the version and slice of each cell."""
    versions, known = pd.factorize(frame["model_version"])
    codes, values = pd.factorize(frame[column]) if column else (np.zeros(len(frame), np.int64), [EVERYTHING])
    both = np.where(codes < 0, np.nan, versions * len(values) + codes)  # what is missing gets the code −1 …
    cells, which = pd.factorize(both)  # … and is not among the distinct ones
    pairs = [divmod(int(each), len(values)) for each in which]
    return cells.astype(np.int64), [(str(known[of]), _name(column, values[value])) for of, value in pairs]


def _name(column: str | None, value: Any) -> str:
    return f"{column} = {value}" if column else EVERYTHING


def _in_order(version: str) -> tuple[int, str]:
    """The registry's numbers as numbers; names after them."""
    return (int(version), "") if version.isdigit() else (2**62, version)
