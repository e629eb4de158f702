"""What the parts found in one window, as the verdict that is kept, and in words."""

import math
from dataclasses import dataclass

from contracts.records import ModelVersion, Verdict
from contracts.system import System
from monitoring.concept import Concept
from monitoring.data import Data
from monitoring.estimate import Estimated
from monitoring.judge import Window
from monitoring.quality import Loss

STATE = {None: "inconclusive", True: "drifted", False: "steady"}


def no_concept(why: str) -> Concept:
    """Where concept drift was not judged; why was said."""
    return Concept(None, math.nan, math.nan, 0, None)


def no_data(why: str) -> Data:
    """Where data drift was not judged, with the reason."""
    return Data(None, (), math.nan, why, {}, ())


def no_estimate(why: str) -> Estimated:
    """Where performance was not estimated; why was said."""
    return Estimated(math.nan, math.nan, math.nan, "", ())


@dataclass(frozen=True)
class Found:
    """All parts of one judgement."""

    loss: Loss
    harmed: bool | None
    concept: Concept
    data: Data
    estimated: Estimated


def verdict(system: System, champion: ModelVersion, window: Window, found: Found) -> Verdict:
    """All that was found, as it is kept; the decision on it is still to be made."""
    loss, concept, data, estimated = found.loss, found.concept, found.data, found.estimated
    return Verdict(
        system=system.name,
        at=window.until,
        since=window.since,
        until=window.until,
        model_version=champion.version,
        labelled_rows=loss.rows,
        loss=loss.mean,
        loss_low=loss.low,
        reference_loss=loss.reference,
        harmed=found.harmed,
        feature_rows=len(window.served),
        drifted_columns=tuple(data.columns),
        drift_share=data.share,
        drifted=data.drifted,
        drift_words=data.words,
        effects=dict(data.effects),
        served_since=window.until - system.monitoring.window,
        concept_drifted=concept.drifted,
        concept_evidence=concept.evidence,
        concept_threshold=concept.threshold,
        concept_labels=concept.labels,
        concept_since=concept.since,
        estimated_loss=estimated.loss,
        estimated_low=estimated.low,
        estimated_high=estimated.high,
    )


def in_words(found: Verdict) -> tuple[str, ...]:
    """A verdict in lines: quality, concept, data, estimate."""
    quality = {None: "inconclusive", True: "fell", False: "held"}[found.harmed]
    count = len(found.drifted_columns)
    shifted = f"{count} column{'' if count == 1 else 's'} shifted"
    worst = f" ({', '.join(found.drifted_columns[:3])})" if count else ""
    return (
        f"Version {found.model_version}: quality {quality} (loss {found.loss:.4f}, at least {found.loss_low:.4f}, "
        f"as on its hold-out {found.reference_loss:.4f}, {found.labelled_rows:,} labelled rows).",
        f"Concept {STATE[found.concept_drifted]} (evidence {found.concept_evidence:.2f}, an alarm at "
        f"{found.concept_threshold:.2f}, {found.concept_labels:,} labelled predictions).",
        f"Data {STATE[found.drifted]}: {shifted}{worst}, {found.feature_rows:,} rows. {found.drift_words}".rstrip(),
        _estimated(found),
    )


def _estimated(found: Verdict) -> str:
    if math.isnan(found.estimated_loss):
        return "No estimate before the labels are in."
    return (
        f"Estimated before the labels are in: loss {found.estimated_loss:.4f} ({found.estimated_low:.4f} to "
        f"{found.estimated_high:.4f}); this cannot see concept drift."
    )
