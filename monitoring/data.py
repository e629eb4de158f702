"""Data drift of the latest window: its features and scores against past windows of the log, at a stated rate of false
alarms. See `monitoring/data_drift` for the method and `monitoring/drift_history.py` for what is kept of the past.

The features have one past, whichever version was served; the score has a past for each version, which begins anew when
the champion is swapped. So they are judged apart, each with half of the rate.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.findings import Bar, ColumnFinding
from contracts.records import ModelVersion
from contracts.system import AT, System
from infra import wiring
from infra.settings import Settings
from monitoring import drift_history as history
from monitoring.data_drift.clock import clocks, without
from monitoring.data_drift.reference import Rules, reference
from monitoring.data_drift.sketch import Sketches, sketch
from monitoring.data_drift.verdict import ColumnVerdict, DriftVerdict, described, judge
from monitoring.drift_history import SCORE, Part, Past
from monitoring.judge import Window

FALSE_ALARMS = 0.5 / timedelta(days=90).total_seconds()  # a second, of a system's windows that share no row
MIN_WINDOWS = 28  # of the past: three and a half days of windows of 3 hours, four weeks of days
COVERED = 0.5  # of a window's time, from its first row on; a champion that has just begun is not compared yet


@dataclass(frozen=True)
class Data:
    """What was found in one window. None stands for inconclusive: too few rows, or too little past."""

    drifted: bool | None
    columns: tuple[str, ...]  # that shifted, the most shifted first
    share: float  # … of those that were judged; NaN where none was
    words: str
    effects: Mapping[str, float]  # by column, in standard deviations, upwards positive
    findings: tuple[ColumnFinding, ...]


@dataclass(frozen=True)
class Judged:
    """One part of a window's columns: the verdict, or a description and why there is none."""

    verdict: DriftVerdict
    missing: int = 0  # windows of the past that are wanting

    @property
    def state(self) -> bool | None:
        return {"shifted": True, "steady": False, "inconclusive": None}[self.verdict.state]


def judge_data(
    settings: Settings, system: System, champion: ModelVersion, window: Window, shifted: Collection[datetime]
) -> Data:
    """Judge the rows that the champion served last against past windows of the log.

    `shifted` holds the starts of past windows that were found shifted: they are no part of the past. When the champion
    is swapped while the data are shifted, or they have been for as long as a past must be, the past begins anew there:
    what came is what is usual now.
    """
    if reason := _too_little(system, window):
        return Data(None, (), float("nan"), reason, {}, ())
    path = settings.path("verdicts", "sketches", f"{system.name}.npz")
    since = (window.until - system.monitoring.window).timestamp()
    past = history.load(path, history.columns_of(system), history.slot_of(system.monitoring.window), since)
    past = _begun_anew(past, system, champion, since)
    past = history.brought_up(past, wiring.archive(settings), system, since, len(window.served))
    data = judged_against(past, system, champion, window, shifted)
    history.save(path, replace(past, shifted_since=_shifted_since(past, data.drifted, since)))
    return data


def judged_against(
    past: Past, system: System, champion: ModelVersion, window: Window, shifted: Collection[datetime]
) -> Data:
    """Judge a window against a past that reaches up to it."""
    since = (window.until - system.monitoring.window).timestamp()
    frames = {
        history.features_part(system, champion.version): history.features_of(system, window.served),
        history.score_part(champion.version): window.served[[SCORE]].astype(np.float64),
    }
    look = Look(system, past, since, window.served["prediction_id"], shifted)
    return _together(
        {name: look.judged(past.parts[name], frame) for name, frame in frames.items() if name in past.parts}
    )


@dataclass(frozen=True)
class Look:
    """One window, and what it is held against."""

    system: System
    past: Past
    since: float
    predictions: "pd.Series[str]"
    shifted: Collection[datetime]

    def judged(self, part: Part, rows: pd.DataFrame) -> Judged:
        """The verdict on the part's columns, but for those that only say what the time is."""
        span = self.system.monitoring.window.total_seconds()
        start = round(self.since / self.past.slot)
        before = history.past_windows(self.past, part, start, round(span / self.past.slot))
        before = before[~self._left_out(before, span)]
        timely = clocks(part.columns, part.slots)
        timely = timely & ~timely.all()  # a part is not left without a column
        columns = tuple(column for column, one in zip(part.columns, timely, strict=True) if not one)
        before, rules = without(part.columns, before, timely), _rules(span)
        now = sketch(rows, columns, start * self.past.slot, self.predictions)
        enough = int(rules.enough(before).sum())
        if enough < rules.min_windows:
            return Judged(described(columns, before, now), rules.min_windows - enough)
        return Judged(judge(reference(columns, before, rules), now))

    def _left_out(self, before: Sketches, span: float) -> NDArray[np.bool_]:
        """Which windows share rows with one that was found shifted, unless that is usual by now."""
        found = np.array(sorted(each.timestamp() for each in self.shifted), np.float64)
        found = found[found >= self.past.settled]
        return np.asarray((np.abs(before.starts[:, None] - found) < span).any(axis=1))


def _too_little(system: System, window: Window) -> str:
    """Why a window is not judged; empty if it is."""
    if window.served.empty:
        return "The champion has served no row in this window yet."
    span = system.monitoring.window
    first = datetime.fromtimestamp(float(window.served[AT].min()), window.until.tzinfo)
    if first - (window.until - span) > COVERED * span:
        return f"The champion has served for {_hours(window.until - first)} of the window's {_hours(span)} only."
    return ""


def _begun_anew(past: Past, system: System, champion: ModelVersion, since: float) -> Past:
    """The past without what came before a shift that is there to stay: the champion was trained amid it, or by itself
    it is long enough to be a past."""
    span = system.monitoring.window.total_seconds()
    swapped = past.version not in ("", champion.version)
    stays = since - past.shifted_since >= (MIN_WINDOWS + 1) * span  # False while nothing is shifted, which is NaN
    past = replace(past, version=champion.version)
    if np.isnan(past.shifted_since) or not (swapped or stays):
        return past
    return replace(past, begin=past.shifted_since + span, settled=since, shifted_since=float("nan"))


def _shifted_since(past: Past, drifted: bool | None, since: float) -> float:
    if drifted is None:
        return past.shifted_since
    if not drifted:
        return float("nan")
    return since if np.isnan(past.shifted_since) else past.shifted_since


def _rules(span: float) -> Rules:
    """Half of the rate is the features', half the score's. A day's windows hang together, of long ones a week's."""
    day = timedelta(days=1).total_seconds()
    return Rules(false_alarms=FALSE_ALARMS * span / 2, min_windows=MIN_WINDOWS, block=max(7, round(day / span)))


def _together(found: Mapping[str, Judged]) -> Data:
    """The parts' verdicts as one: shifted if any is, steady if the features are; the score may be without a past."""
    if not found:
        return Data(None, (), float("nan"), f"No past window of the log yet; {MIN_WINDOWS} are needed.", {}, ())
    columns = [column for one in found.values() for column in one.verdict.columns]
    names = _strongest(found)
    states = [one.state for one in found.values()]
    features = next((one.state for name, one in found.items() if not name.startswith(SCORE)), None)
    drifted = True if True in states else features
    judged = sum(column.state != "inconclusive" for column in columns)
    return Data(
        drifted=drifted,
        columns=names,
        share=len(names) / judged if judged else float("nan"),
        words=" ".join(_words(name, one) for name, one in found.items()),
        effects={column.name: effect for column in columns if (effect := _effect(column)) is not None},
        findings=tuple(map(_finding, columns)),
    )


def _strongest(found: Mapping[str, Judged]) -> tuple[str, ...]:
    """What shifted, by p-value and then by effect."""
    shifted = [c for one in found.values() for c in one.verdict.columns if c.state == "shifted"]
    return tuple(c.name for c in sorted(shifted, key=lambda c: (c.p_value, -abs(_effect(c) or 0.0))))


def _words(name: str, one: Judged) -> str:
    told = one.verdict.reason
    if one.missing:
        told = f"inconclusive: {one.missing} more past windows are needed, {MIN_WINDOWS} in all."
    return f"{name.capitalize()}: {told[0].lower()}{told[1:]}"


def _effect(column: ColumnVerdict) -> float | None:
    """The shift of location where there is one, else the effect of the test by which the column shifted."""
    if column.state == "shifted" and (column.shift is None or abs(column.shift) < Rules().floor):
        return column.effects[column.test]
    return column.shift


def _finding(column: ColumnVerdict) -> ColumnFinding:
    return ColumnFinding(
        name=column.name,
        state=column.state,
        test=column.test,
        effect=column.effects[column.test] if column.state == "shifted" else column.shift,
        p_value=column.p_value,
        missing_now=column.missing_now,
        missing_reference=column.missing_reference,
        bars=tuple(Bar(bar.label, bar.now, bar.reference) for bar in column.bars),
    )


def _hours(length: timedelta) -> str:
    return f"{length / timedelta(hours=1):.1f} h"
