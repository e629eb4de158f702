"""The request path: rows, features, scores, the decision, the log. It reads like the diagram of the loop."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import uuid4

import numpy as np
import orjson
from pydantic import BaseModel

from contracts.errors import Conflict, InvalidInput, Unavailable
from contracts.records import (
    FALLBACK_VERSION,
    FEATURES_UNAVAILABLE,
    FeatureRead,
    KeptAnswer,
    PredictionRecord,
    Scored,
    Variant,
)
from contracts.system import AT, Columns, Decision, Matrix, System
from services.gateway.stages import Deadline, Platform


@dataclass(frozen=True)
class Ask:
    """A request on its way, with when it must be answered and under which idempotency key, if any."""

    system: System
    request: BaseModel
    body: bytes
    deadline: Deadline
    key: str | None = None


@dataclass(frozen=True)
class Served:
    """What a request was served with: features, scores, and who gave them."""

    features: Matrix
    scored: Scored
    variant: Variant
    degraded: tuple[str, ...]


async def predict(platform: Platform, ask: Ask) -> bytes:
    """The answer's bytes, after the record of what was served is in the log; the same again for the same key."""
    if kept := await _recalled(platform, ask):
        return kept
    now, prediction_id = platform.clock.now(), uuid4().hex
    rows = _rows(ask, now)
    served = await _served(platform, ask, rows, now)
    random = np.random.default_rng(int(prediction_id, 16))
    decision = ask.system.serving.respond(ask.request, rows, served.scored.scores, random)
    record = _record(prediction_id, now, ask, rows, served, decision)
    answer = await _logged(platform, ask, record)
    _count(platform, record)
    return answer


async def _recalled(platform: Platform, ask: Ask) -> bytes | None:
    """The answer that this request was given before."""
    if (key := ask.key) is None:
        return None
    kept = await platform.recalling.call(lambda: platform.log.recall(ask.system.name, key), ask.system, ask.deadline)
    return _same(kept, ask) if kept else None


def _rows(ask: Ask, now: datetime) -> Columns:
    """The candidates as columns, `at` among them."""
    rows = ask.system.serving.rows(ask.request)
    count = len(next(iter(rows.values())))
    if not 1 <= count <= ask.system.requirements.max_candidates:
        most = ask.system.requirements.max_candidates
        raise InvalidInput(f"The request has {count} candidates; {ask.system.name} takes from 1 to {most}.")
    return {**rows, AT: np.full(count, now.timestamp())}


async def _served(platform: Platform, ask: Ask, rows: Columns, now: datetime) -> Served:
    """Features and the champion's scores for them, or the system's declared fallback."""
    system, deadline = ask.system, ask.deadline
    try:
        read = await platform.reading.call(lambda: platform.reader.online(system, rows, now), system, deadline)
    except Unavailable:
        return _fallback(ask, rows, FeatureRead(_defaults(system, rows), (FEATURES_UNAVAILABLE,)))
    try:
        scored = await platform.scoring.call(lambda: platform.scorer.score(system.name, read.matrix), system, deadline)
    except Unavailable:
        return _fallback(ask, rows, FeatureRead(read.matrix, (*read.degraded, "model: unavailable")))
    return Served(read.matrix, scored, "champion", read.degraded)


def _fallback(ask: Ask, rows: Columns, read: FeatureRead) -> Served:
    scores = np.asarray(ask.system.serving.fallback(ask.request, rows), dtype=np.float64)
    return Served(read.matrix, Scored(scores, FALLBACK_VERSION), "fallback", read.degraded)


def _defaults(system: System, rows: Columns) -> Matrix:
    """What stands for features that could not be read; no model scores it, the log must hold something finite."""
    features, count = system.features, len(rows[AT])
    declared = [np.full(count, feature.default) for view in features.views for feature in view.features]
    computed = features.on_request(rows)
    return np.column_stack([*declared, *(computed[name] for name in features.request_features)]).astype(np.float32)


def _record(
    prediction_id: str, now: datetime, ask: Ask, rows: Columns, served: Served, decision: Decision
) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=prediction_id,
        system=ask.system.name,
        at=now,
        model_version=served.scored.model_version,
        variant=served.variant,
        request=ask.request.model_dump(mode="json"),
        rows=rows,
        feature_names=ask.system.features.names,
        features=served.features,
        scores=served.scored.scores,
        shown=decision.shown,
        propensity=decision.propensity,
        result=decision.result.model_dump(mode="json"),
        degraded=served.degraded,
    )


async def _logged(platform: Platform, ask: Ask, record: PredictionRecord) -> bytes:
    """The answer to give, once its record is in the log: where a request with the same key was first, its answer."""
    answer = orjson.dumps(_answer(record))
    keep = None if ask.key is None else KeptAnswer(ask.key, _digest(ask), answer)
    try:
        kept = await platform.logging.call(lambda: platform.log.append(record, keep), ask.system, ask.deadline)
    except InvalidInput as error:  # not the client's input: what the system made of it
        raise RuntimeError(f"System {ask.system.name!r} made a record that the log refuses.") from error
    return _same(kept, ask) if kept else answer


def _answer(record: PredictionRecord) -> Mapping[str, object]:
    return {
        "prediction_id": record.prediction_id,
        "system": record.system,
        "model_version": record.model_version,
        "variant": record.variant,
        "result": record.result,
        "degraded": record.degraded,
    }


def _same(kept: KeptAnswer, ask: Ask) -> bytes:
    """The kept answer, if it was given to the same body."""
    if kept.body_digest != _digest(ask):
        raise Conflict(f"The Idempotency-Key {kept.key!r} was used with another body; use a new key for a new request.")
    return kept.answer


def _digest(ask: Ask) -> str:
    return sha256(ask.body).hexdigest()


def _count(platform: Platform, record: PredictionRecord) -> None:
    metrics = platform.metrics
    metrics.candidates_of(record.system).observe(len(record.scores))
    if record.variant == "fallback":
        metrics.fallbacks.labels(record.system).inc()
    for reason in record.degraded:
        metrics.degraded.labels(record.system, reason).inc()
