"""What monitoring found last, in detail: what a page draws. Verdicts (`contracts.records`) are the history; of these
only the newest is kept."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Bar:
    """One bar of a small histogram: shares of the rows with a value, now and as the past leads one to expect."""

    label: str
    now: float
    reference: float


@dataclass(frozen=True)
class ColumnFinding:
    """One column of the window: how far it lies from its past, by the strongest test."""

    name: str
    state: Literal["shifted", "steady", "inconclusive"]
    test: str
    effect: float | None  # signed where the test has a sign; in standard deviations; None with too few rows
    p_value: float  # corrected over columns and tests
    missing_now: float
    missing_reference: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class CalibrationBin:
    """Rows with scores alike: what was predicted, and how often it happened (with a 95% interval)."""

    predicted: float
    observed: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class WindowDetails:
    """The newest window that was judged, in detail."""

    system: str
    at: datetime
    model_version: str
    columns: tuple[ColumnFinding, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()  # over the window's matured labels


@dataclass(frozen=True)
class OnlineFigure:
    """One of the metrics that a system names, from outcomes that have matured: of a version, and of a slice of it."""

    metric: str
    unit: str
    version: str
    slice: str  # "" is all of it; else like "device = phone"
    value: float
    low: float | None  # 95% interval
    high: float | None
    rows: int


@dataclass(frozen=True)
class OnlineFigures:
    """A system's online metrics over its latest window, and whether they agree with the offline ones over versions."""

    system: str
    at: datetime
    since: datetime
    figures: tuple[OnlineFigure, ...]
    agreement: tuple[str, ...] = ()  # a sentence a metric


@dataclass(frozen=True)
class ParityColumn:
    """A feature whose served values differ from the recomputed ones, and what the difference looks like."""

    name: str
    rows: int
    words: str


@dataclass(frozen=True)
class ParityFinding:
    """Served features against the same recomputed as of their time."""

    system: str
    at: datetime
    since: datetime
    rows: int
    features: int
    differing: tuple[ParityColumn, ...]
    words: str
