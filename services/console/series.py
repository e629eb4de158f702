"""A system over time, as its page draws it: losses as they were estimated and as they turned out, evidence of a changed
concept, and how far each column shifted.

Times are the platform's. What is not known is null, and each picture has a sentence for when there is nothing to draw.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from contracts.records import Verdict
from services.console.quantities import loss, number

MOST_COLUMNS = 24  # in the strip: those that drifted most often, then those that once lay farthest off


def estimates(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Mean log loss of the rows of each window: estimated when they were served, and measured when their labels were
    in. Each is drawn at the time of its rows, so that the same rows stand above each other."""
    realised = [(labelled_until(each), each) for each in verdicts]
    estimated = any(math.isfinite(each.estimated_loss) for each in verdicts)
    return {
        "at": [each.until.isoformat() for each in verdicts],
        "estimated": finite(each.estimated_loss for each in verdicts),
        "low": finite(each.estimated_low for each in verdicts),
        "high": finite(each.estimated_high for each in verdicts),
        "realised_at": [at.isoformat() for at, _ in realised],
        "realised": finite(each.loss for _, each in realised),
        "reference": finite(each.reference_loss for _, each in realised),
        "words": estimate_in_words(verdicts[-1]) if estimated else "",
        "known": estimated,
    }


def estimate_in_words(verdict: Verdict) -> str:
    """The newest window, estimated against realised."""
    if not math.isfinite(verdict.estimated_loss):
        return "The newest window has no estimate."
    band = f"{loss(verdict.estimated_low)} to {loss(verdict.estimated_high)}"
    said = f"Rows served last: log loss of {loss(verdict.estimated_loss)} estimated ({band})."
    if not math.isfinite(verdict.loss):
        return f"{said} No row has matured that it could be held against."
    measured = f"{loss(verdict.loss)} measured, reference {loss(verdict.reference_loss)}"
    return f"{said} Rows whose labels matured last: {measured}."


def labelled_until(verdict: Verdict) -> datetime:
    """When the last of the labelled rows was served: a label delay before the window ends."""
    return verdict.until if verdict.served_since is None else verdict.until - (verdict.served_since - verdict.since)


def concept(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Evidence against its threshold: logarithms, of an e-detector that begins anew with each champion."""
    newest = next((each for each in reversed(verdicts) if each.concept_labels), None)
    return {
        "at": [each.at.isoformat() for each in verdicts],
        "evidence": finite(each.concept_evidence for each in verdicts),
        "threshold": finite(each.concept_threshold for each in verdicts),
        "versions": [each.model_version for each in verdicts],
        "alarms": [
            {"at": each.at.isoformat(), "evidence": known(each.concept_evidence)}
            for each in verdicts
            if each.concept_drifted
        ],
        "words": concept_in_words(newest) if newest else "",
        "known": newest is not None,
    }


def concept_in_words(verdict: Verdict) -> str:
    """The last evidence there is."""
    evidence, threshold = number(verdict.concept_evidence), number(verdict.concept_threshold)
    seen = f"after {verdict.concept_labels:,} labelled predictions of version {verdict.model_version}"
    if verdict.concept_drifted:
        since = f"; worse since about {verdict.concept_since:%Y-%m-%d %H:%M} UTC" if verdict.concept_since else ""
        return f"An alarm: {evidence} against a threshold of {threshold} {seen}{since}."
    return f"{evidence} against a threshold of {threshold} {seen}."


def shifts(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """How far each column lay off in each window, in standard deviations, and where it was judged to have drifted:
    `drifted` has for each of `columns` the positions of those windows. Columns are stacked, the first at the bottom."""
    columns = foremost(verdicts)
    return {
        "at": [each.at.isoformat() for each in verdicts],
        "columns": columns,
        "effects": [[_rounded(each.effects.get(name)) for each in verdicts] for name in columns],
        "drifted": [[i for i, each in enumerate(verdicts) if name in each.drifted_columns] for name in columns],
        "words": shift_in_words(verdicts) if verdicts else "",
    }


def shift_in_words(verdicts: Sequence[Verdict]) -> str:
    """The newest window, and how much the darkest cell stands for."""
    sizes = [abs(effect) for each in verdicts for effect in each.effects.values() if math.isfinite(effect)]
    darkest = f"The darkest cell lies {number(max(sizes), 2)}σ off." if sizes else ""
    return " ".join(filter(None, (verdicts[-1].drift_words, darkest)))


def foremost(verdicts: Sequence[Verdict]) -> list[str]:
    """The columns worth a row: those that drifted most often, then those with the largest shift; the first of them is
    the last of the list."""
    times = Counter(name for each in verdicts for name in each.drifted_columns)
    largest = {name: 0.0 for each in verdicts for name in _named(each)}
    for each in verdicts:
        for name, effect in each.effects.items():
            if math.isfinite(effect):
                largest[name] = max(largest[name], abs(effect))
    order = sorted(largest, key=lambda name: (-times[name], -largest[name], name))
    return order[:MOST_COLUMNS][::-1]


def finite(values: Iterable[float]) -> list[float | None]:
    """Numbers, and null for what is none: JSON knows no NaN."""
    return [known(value) for value in values]


def known(value: float) -> float | None:
    """A number, or null for what is none."""
    return value if math.isfinite(value) else None


def _named(verdict: Verdict) -> set[str]:
    return {*verdict.effects, *verdict.drifted_columns}


def _rounded(effect: float | None) -> float | None:
    return None if effect is None or not math.isfinite(effect) else round(effect, 3)
