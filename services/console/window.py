"""The newest window that was judged, in detail: each column now against its past, and the calibration."""

from collections.abc import Sequence
from typing import Any

from contracts.findings import CalibrationBin, ColumnFinding, WindowDetails
from services.console.quantities import UNKNOWN, number, share
from services.console.series import finite, known

ORDER = {"shifted": 0, "inconclusive": 1, "steady": 2}


def columns(found: WindowDetails | None) -> list[dict[str, Any]]:
    """What the page shows of each column: the shifted first, then the largest effects."""
    if found is None:
        return []
    order = sorted(found.columns, key=lambda each: (ORDER[each.state], -abs(each.effect or 0.0), each.name))
    return [_column(each) for each in order]


def calibration(found: WindowDetails | None) -> dict[str, Any]:
    """Bins of matured rows with scores alike, by what was predicted."""
    bins: Sequence[CalibrationBin] = sorted(found.calibration, key=lambda each: each.predicted) if found else ()
    return {
        "predicted": finite(each.predicted for each in bins),
        "observed": finite(each.observed for each in bins),
        "above": finite(each.high - each.observed for each in bins),
        "below": finite(each.observed - each.low for each in bins),
        "rows": [each.rows for each in bins],
        "words": calibration_in_words(bins),
    }


def calibration_in_words(bins: Sequence[CalibrationBin]) -> str:
    """How many bins the scores are right for."""
    if not bins:
        return ""
    within = sum(each.low <= each.predicted <= each.high for each in bins)
    rows = sum(each.rows for each in bins)
    said = "that of all of them" if within == len(bins) else f"that of {within} of {len(bins)} groups"
    return f"{rows:,} matured rows in groups of scores alike; the interval of what happened holds {said}."


def _column(found: ColumnFinding) -> dict[str, Any]:
    effect = UNKNOWN if found.effect is None else f"{found.effect:+.2f}σ"
    return {
        "name": found.name,
        "state": found.state,
        "words": f"{effect} by {found.test}, p {_p(found.p_value)}" if found.effect is not None else "too few rows",
        "missing": f"missing {share(found.missing_now)}, usually {share(found.missing_reference)}",
        "bars": [
            {"label": each.label, "now": known(each.now), "reference": known(each.reference)} for each in found.bars
        ],
    }


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else number(value, 2)
