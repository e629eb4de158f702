"""Online metrics: what a version earned, by slice, from outcomes as they mature; and what it answered, at once.

A metric is a ratio of two sums over rows: clicks over impressions, watched minutes over pages, costs over payments. Its
interval is that of a ratio estimator over predictions (Cochran, Sampling Techniques, 3rd ed., section 6.4), for rows of
one prediction share a user and a moment; where answers decide which labels are known, rows weigh one over their
propensity (infra/importance.py), as in training.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.online_metric import OnlineMetric
from contracts.ports import Archive
from contracts.records import ModelVersion
from contracts.system import AT, Floats, System
from infra.importance import importance

REPORTED = "reported"  # of a row: whether a client told anything of it in time, be it that nothing came of it
EVERYTHING = ""  # the slice that all rows are in
MIN_ROWS = 200  # of a slice of one version; smaller ones are left out
FEWEST = 10.0  # predictions that the error must rest on; of fewer no interval is given


Parts = tuple[Floats, Floats]  # each row's part of the numerator and of the denominator


@dataclass(frozen=True)
class Rows:
    """Rows of the log, and how many each stands for."""

    frame: pd.DataFrame
    weights: Floats


@dataclass(frozen=True)
class Estimate:
    """A ratio with its interval; error and interval are NaN where too few predictions carry it."""

    value: float
    error: float  # standard error
    low: float
    high: float
    rows: int
    predictions: int


@dataclass(frozen=True)
class Measured:
    """A metric of one version in one slice, over the time in which that version answered."""

    metric: str
    unit: str
    better: Literal["higher", "lower"]
    version: str
    slice: str  # "device=mobile", or EVERYTHING
    since: datetime
    until: datetime
    estimate: Estimate


@dataclass(frozen=True)
class VersionMetrics:
    """A version's online metrics beside those of its hold-out."""

    version: str
    online: Mapping[str, Estimate]
    offline: Mapping[str, float]


def gathered(system: System, archive: Archive, span: timedelta, now: datetime) -> dict[str, Rows]:
    """The rows of the last `span`, by what metrics may be over: of `outcomes` the last ones that have matured."""
    delay = system.requirements.label_delay
    since, matured = now - span - delay, now - delay
    labelled = archive.labelled(system, since, matured + timedelta(microseconds=1), now)
    weights = importance(system, labelled, matured.timestamp())
    counted = labelled[weights > 0].reset_index(drop=True)
    told = reported(counted, archive.outcomes(system, since, now + timedelta(microseconds=1)), delay)
    answers = archive.predictions(system, now - span, now)
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
    return tuple(
        found
        for over, some in rows.items()
        for metric in metrics
        if metric.over == over and len(some.frame)
        for found in _measured(metric, some, slices, confidence)
    )


def ratio(parts: Parts, weights: Floats, predictions: NDArray[Any], confidence: float) -> Estimate:
    """Weighted sum of numerators over that of denominators; all NaN where the latter is 0.

    `predictions` says which rows are of one prediction. The error rests on as many predictions as
    (Σ e²)² / Σ e⁴ of their residuals e: with few events, or few large weights, that is few, however many the rows.
    """
    numerator, denominator = (np.asarray(part, np.float64) * weights for part in parts)
    number, groups = _numbered(predictions)
    total = float(denominator.sum())
    if not total:
        return Estimate(math.nan, math.nan, math.nan, math.nan, len(weights), groups)
    value = float(numerator.sum()) / total
    squares = np.bincount(number, weights=numerator - value * denominator, minlength=groups) ** 2
    carried = float(squares.sum()) ** 2 / fourth if (fourth := float((squares**2).sum())) > 0 else 0.0
    if carried < FEWEST:
        return Estimate(value, math.nan, math.nan, math.nan, len(weights), groups)
    error = float(np.sqrt(groups / (groups - 1) * squares.sum())) / abs(total)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return Estimate(value, error, value - reach, value + reach, len(weights), groups)


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


def _measured(metric: OnlineMetric, rows: Rows, slices: Sequence[str], confidence: float) -> Iterator[Measured]:
    frame = rows.frame
    numerator, denominator = metric.value({str(name): frame[name].to_numpy() for name in frame.columns})
    predictions, _ = _numbered(frame["prediction_id"].to_numpy())
    at, versions = frame[AT].to_numpy(np.float64), frame["model_version"].to_numpy(object)
    for version in sorted(set(versions), key=_in_order):
        own = versions == version
        since, until = (datetime.fromtimestamp(float(end), UTC) for end in (at[own].min(), at[own].max()))
        for name, within in _slices(frame, own, slices):
            parts = numerator[within], denominator[within]
            found = ratio(parts, rows.weights[within], predictions[within], confidence)
            yield Measured(metric.name, metric.unit, metric.better, version, name, since, until, found)


def _slices(
    frame: pd.DataFrame, own: NDArray[np.bool_], columns: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """A version's rows: all of them, and each slice that has enough."""
    yield EVERYTHING, own
    for column in columns:
        codes, values = pd.factorize(frame[column])
        counts = np.bincount(codes[own & (codes >= 0)], minlength=len(values))
        for code in np.flatnonzero(counts >= MIN_ROWS).tolist():
            yield f"{column}={values[code]}", own & (codes == code)


def _numbered(values: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Each value as a number, and how many there are."""
    codes, distinct = pd.factorize(values)
    return codes.astype(np.int64), len(distinct)


def _in_order(version: str) -> tuple[int, str]:
    """The registry's numbers as numbers; names after them."""
    return (int(version), "") if version.isdigit() else (2**62, version)
