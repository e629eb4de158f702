"""The request path: rows, features, scores, the decision, the log. It reads like the diagram of the loop."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.errors import Conflict, InvalidInput, Unavailable
from contracts.records import (
    FALLBACK_VERSION,
    FEATURES_UNAVAILABLE,
    FeatureRead,
    KeptAnswer,
    PredictionRecord,
    Scored,
)
from contracts.system import AT, Columns, Evidence, Matrix, System
from services.gateway.draws import generator
from services.gateway.served import Ask, Found, Known, Served, recorded
from services.gateway.stages import Platform


async def predict(platform: Platform, ask: Ask) -> bytes:
    """The answer's bytes, after the record of what was served is in the log; the same again for the same key."""
    if kept := await _recalled(platform, ask):
        return kept
    now, prediction_id = platform.clock.now(), uuid4().hex
    found = await _candidates(platform, ask, now)
    served = await _served(platform, ask, found, now)
    random = generator(prediction_id)
    decision = ask.system.serving.respond(ask.request, served.evidence, random)
    record = recorded(Known(prediction_id, now), ask, served, decision)
    answer, new = await _logged(platform, ask, record)
    if new:
        await _observed(platform, ask, record.rows, prediction_id)
        _count(platform, record, len(served.evidence.scores))
    return answer


async def _recalled(platform: Platform, ask: Ask) -> bytes | None:
    """The answer that this request was given before."""
    if (key := ask.key) is None:
        return None
    kept = await platform.recalling.call(lambda: platform.log.recall(ask.system.name, key), ask.system, ask.deadline)
    return _same(kept, ask) if kept else None


async def _candidates(platform: Platform, ask: Ask, now: datetime) -> Found:
    """The rows to score, `at` among them: the request's own, or those that stage one finds."""
    system = ask.system
    if system.serving.rows is not None:
        return Found(_stamped(system, system.serving.rows(ask.request), now))
    body = ask.request.model_dump(mode="json")
    try:
        found = await platform.retrieving.call(
            lambda: platform.scorer.retrieve(system.name, body, now), system, ask.deadline
        )
    except Unavailable:
        return Found(_stamped(system, platform.standby.rows(system), now), degraded=("candidates: unavailable",))
    finally:
        if system.model.retrieval is not None:
            platform.standby.refresh(system, system.model.retrieval)
    return Found(_stamped(system, found.rows, now), found.model_version)


def _stamped(system: System, rows: Columns, now: datetime) -> Columns:
    count, most = len(next(iter(rows.values()))), system.requirements.max_candidates
    if not 1 <= count <= most:
        raise InvalidInput(f"The request has {count} candidates; {system.name} takes from 1 to {most}.")
    shared = {name: _once(values) for name, values in rows.items()}
    return {**shared, AT: np.full(count, now.timestamp())}


def _once(values: NDArray[Any]) -> NDArray[Any]:
    """A column of strings; where all rows share one, such as their user, it is one value in memory. That shows in its
    stride of 0, by which the reader of features knows that it need not look at each row."""
    if values.dtype.kind != "O" or len(values) < 2 or values[0] is not values[-1]:
        return values
    strings = values.tolist()
    return np.broadcast_to(values[:1], len(values)) if strings.count(strings[0]) == len(strings) else values


async def _served(platform: Platform, ask: Ask, found: Found, now: datetime) -> Served:
    """Features and the champion's scores for them, or the system's declared fallback."""
    system, deadline, rows = ask.system, ask.deadline, found.rows
    try:
        read = await platform.reading.call(lambda: platform.reader.online(system, rows, now), system, deadline)
    except Unavailable:
        unread = FeatureRead(_defaults(system, rows), (*found.degraded, FEATURES_UNAVAILABLE))
        return _fallback(ask, rows, unread)
    if found.degraded:
        return _fallback(ask, rows, replace(read, degraded=(*found.degraded, *read.degraded)))
    try:
        scored = await platform.scoring.call(
            lambda: platform.scorer.score(system.name, read.matrix, found.model_version, system.serving.explained),
            system,
            deadline,
        )
    except Unavailable:
        return _fallback(ask, rows, FeatureRead(read.matrix, (*read.degraded, "model: unavailable")))
    if not np.isfinite(scored.scores).all():
        return _fallback(ask, rows, FeatureRead(read.matrix, (*read.degraded, "model: not a number")))
    return Served(_evidence(system, rows, read.matrix, scored), read.matrix, scored, "champion", read.degraded)


def _fallback(ask: Ask, rows: Columns, read: FeatureRead) -> Served:
    features = named(ask.system, read.matrix)
    scores = np.asarray(ask.system.serving.fallback(ask.request, rows, features), dtype=np.float64)
    scored = Scored(scores, FALLBACK_VERSION)
    return Served(Evidence(rows, features, scores), read.matrix, scored, "fallback", read.degraded)


def _evidence(system: System, rows: Columns, matrix: Matrix, scored: Scored) -> Evidence:
    parts = scored.contributions
    return Evidence(rows, named(system, matrix), scored.scores, None if parts is None else named(system, parts))


def named(system: System, matrix: Matrix) -> Columns:
    """The matrix' columns by the features' names."""
    return dict(zip(system.features.names, matrix.T, strict=True))


def _defaults(system: System, rows: Columns) -> Matrix:
    """What stands for features that could not be read; no model scores it, the log must hold something finite."""
    features, count = system.features, len(rows[AT])
    declared = [np.full(count, feature.default) for view in features.views for feature in view.features]
    computed = features.on_request(rows)
    return np.column_stack([*declared, *(computed[name] for name in features.request_features)]).astype(np.float32)


async def _logged(platform: Platform, ask: Ask, record: PredictionRecord) -> tuple[bytes, bool]:
    """The answer to give, once its record is in the log, and whether it is this one: where a request with the same key
    was first, it is that one's answer."""
    answer = orjson.dumps(_answer(record))
    keep = None if ask.key is None else KeptAnswer(ask.key, _digest(ask), answer)
    try:
        kept = await platform.logging.call(lambda: platform.log.append(record, keep), ask.system, ask.deadline)
    except InvalidInput as error:  # not the client's input: what the system made of it
        raise RuntimeError(f"System {ask.system.name!r} made a record that the log refuses.") from error
    if kept is None:
        return answer, True
    return _same(kept, ask), kept.answer == answer


async def _observed(platform: Platform, ask: Ask, rows: Columns, prediction_id: str) -> None:
    """Tell the live views. What they miss while the feature store is away is counted here and made good by the next
    materialisation; the answer is in the log and stands."""
    if not any(view.live for view in ask.system.features.views):
        return
    try:
        await platform.observing.call(
            lambda: platform.reader.observe(ask.system, rows, prediction_id), ask.system, ask.deadline
        )
    except Unavailable:
        platform.metrics.unobserved.labels(ask.system.name).inc()
    except InvalidInput as error:  # not the client's input: what the system made of it
        raise RuntimeError(f"System {ask.system.name!r} made rows that its live views refuse.") from error


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


def _count(platform: Platform, record: PredictionRecord, candidates: int) -> None:
    metrics = platform.metrics
    metrics.candidates_of(record.system).observe(candidates)
    metrics.answers_of(record.system, record.model_version).inc()
    if record.variant == "fallback":
        metrics.fallbacks.labels(record.system).inc()
    for reason in record.degraded:
        metrics.degraded.labels(record.system, reason).inc()
