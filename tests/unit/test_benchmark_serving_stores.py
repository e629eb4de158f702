"""The floor on a real Redis that Feast filled: it does the same work as the usual stack's libraries."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import feast
import joblib
import numpy as np
import redis

from benchmarks.serving import checks, data
from benchmarks.serving.floor import STREAM, Floor
from benchmarks.serving.ranking import ESTIMATOR, STORE, TOP, kept
from contracts.system import AT, Columns
from infra import wiring
from infra.settings import Settings

SIZES = data.Sizes(users=30, items=200, bodies=3, rows=500)


def test_the_floor_ranks_what_the_usual_stack_would_on_the_same_features(empty_redis: Settings, tmp_path: Path) -> None:
    settings = Settings.model_validate({"state_dir": tmp_path, "redis_url": empty_redis.redis})
    random, now = np.random.default_rng(1), wiring.clock(settings).now()
    before = data.materialised(settings, SIZES, random, now - timedelta(minutes=1))
    data.written(settings, before, SIZES.rows, random)
    data.materialised(settings, SIZES, random, now)  # newer states replace those
    store: Any = feast.FeatureStore(fs_yaml_file=kept(settings, STORE))
    trees = joblib.load(kept(settings, ESTIMATOR))
    for body in data.bodies(settings, SIZES, 50).read_text().splitlines():
        request = json.loads(body)
        answer, features = asyncio.run(answered(settings, request))
        wanted = checks.sdk(store, rows(request))
        assert np.array_equal(features, wanted)
        scores = dict(zip(request["item_ids"], trees.predict_proba(wanted)[:, 1], strict=True))
        assert len(answer["item_ids"]) == TOP
        assert np.allclose(answer["scores"], [scores[item] for item in answer["item_ids"]], atol=checks.TOLERANCE)
        assert np.allclose(answer["scores"], sorted(scores.values())[: -TOP - 1 : -1], atol=checks.TOLERANCE)
    with redis.Redis.from_url(settings.redis) as client:
        assert client.xlen(STREAM) == SIZES.bodies


def rows(request: dict[str, Any]) -> Columns:
    items = np.array(request["item_ids"], dtype=object)
    return {
        "user_id": np.full(len(items), request["user_id"], dtype=object),
        "item_id": items,
        AT: np.zeros(len(items)),
    }


async def answered(settings: Settings, request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    floor = Floor(settings)
    try:
        answer = json.loads(await floor.ranked(request))
        return answer, await floor.features(request["user_id"], request["item_ids"])
    finally:
        await floor.log.aclose()
        await floor.pool.disconnect()
