"""What the request path knows of a request as it goes along, and the record that it leaves."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydantic import BaseModel

from contracts.records import PredictionRecord, Scored, Variant
from contracts.system import Columns, Decision, Evidence, Matrix, System
from services.gateway.stages import Deadline


@dataclass(frozen=True)
class Ask:
    """A request on its way, with when it must be answered and under which idempotency key, if any."""

    system: System
    request: BaseModel
    body: bytes
    deadline: Deadline
    key: str | None = None


@dataclass(frozen=True)
class Found:
    """The rows to score. Stage one's come with the version that must score them; those that stand in, with why."""

    rows: Columns
    model_version: str | None = None
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Served:
    """What a request was served with: features, scores, and who gave them."""

    evidence: Evidence
    features: Matrix
    scored: Scored
    variant: Variant
    degraded: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """By what a prediction is known, and when it was made."""

    prediction_id: str
    at: datetime


def recorded(known: Known, ask: Ask, served: Served, decision: Decision) -> PredictionRecord:
    """The log's record: all rows, or those that the decision says are worth a place."""
    rows, features, scores, shown = served.evidence.rows, served.features, served.scored.scores, decision.shown
    if (kept := decision.kept) is not None:
        rows = {name: values[kept] for name, values in rows.items()}
        features, scores = features[kept], scores[kept]
        place = {row: position for position, row in enumerate(kept.tolist())}
        shown = np.array([place[row] for row in shown.tolist()], dtype=np.int64)
    return PredictionRecord(
        prediction_id=known.prediction_id,
        system=ask.system.name,
        at=known.at,
        model_version=served.scored.model_version,
        variant=served.variant,
        request=ask.request.model_dump(mode="json"),
        rows=rows,
        feature_names=ask.system.features.names,
        features=features,
        scores=scores,
        shown=shown,
        propensity=decision.propensity,
        result=decision.result.model_dump(mode="json"),
        degraded=served.degraded,
        review=decision.review,
    )
