"""Figures as people read them: three digits, a unit, and a dash where nothing is known."""

import math
from datetime import datetime, timedelta

UNKNOWN = "–"
STEPS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def number(value: float, digits: int = 3) -> str:
    """A number with as many significant digits, and commas between thousands."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def rate(per_second: float) -> str:
    """Something a second."""
    return UNKNOWN if math.isnan(per_second) else f"{number(per_second)}/s"


def seconds(value: float) -> str:
    """A latency."""
    if math.isinf(value):
        return "over 2.5 s"
    if math.isnan(value):
        return UNKNOWN
    return f"{number(value * 1000)} ms" if value < 1 else f"{number(value)} s"


def share(value: float) -> str:
    """A part of a whole, in per cent; one that is not nothing never reads 0."""
    if math.isnan(value):
        return UNKNOWN
    return "under 0.1%" if 0 < value < 0.001 else f"{number(min(value, 1.0) * 100)}%"


def span(length: timedelta) -> str:
    """A length of time in its largest unit that fits."""
    left = max(0, int(length.total_seconds()))
    unit, size = next((each for each in STEPS if left >= each[1]), STEPS[-1])
    return f"{left // size} {unit}"


def loss(value: float) -> str:
    """A log loss, with as many places as versions are told apart by."""
    return f"{value:.4f}" if math.isfinite(value) else UNKNOWN


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago a moment was."""
    return UNKNOWN if moment is None else f"{span(now - moment)} ago"
