"""The loop with all its processes: what would break first if any part of it were faked."""

from datetime import timedelta

import numpy as np
import pandas as pd
import redis

from infra import wiring
from infra.feast_layout import watermark_key
from tests.conftest import poll
from tests.loop.conftest import Living, settle


def scores(answer: dict) -> dict[str, float]:  # type: ignore[type-arg]  # the gateway's JSON
    return {ad["ad_id"]: ad["probability"] for ad in answer["result"]["ads"]}


def test_a_click_goes_round_the_loop(living: Living) -> None:
    before = living.clock.now()
    answer = living.predict(living.request())
    clicked = answer["result"]["ads"][0]["ad_id"]
    living.outcome(answer["prediction_id"], clicked, living.clock.now())
    archive = wiring.archive(living.settings)

    def labelled() -> pd.DataFrame:
        now = living.clock.now()
        rows = archive.labelled(living.system, before, now, now)
        return rows[rows["prediction_id"] == answer["prediction_id"]].set_index("item")

    poll(lambda: len(labelled()), 30.0, "the matured rows of the prediction")
    rows = labelled()
    assert rows.loc[clicked, "clicked"] == 1.0
    assert rows["clicked"].sum() == 1.0
    assert set(rows["model_version"]) == {answer["model_version"]}
    assert {item: rows.loc[item, "score"] for item in rows.index} == scores(answer)


def test_the_features_that_were_served_are_the_ones_in_the_log(living: Living) -> None:
    answer = living.predict(living.request(1))
    archive = wiring.archive(living.settings)
    record = poll(lambda: archive.prediction(answer["prediction_id"]), 15.0, "the prediction in the archive")
    model = wiring.registry(living.settings).fetch(living.champion())
    assert record.feature_names == living.system.features.names
    assert np.allclose(_score(model, record.features), record.scores, atol=1e-6)
    assert record.result == answer["result"]


def test_swapping_two_ads_features_in_redis_swaps_what_they_did_to_the_scores(living: Living) -> None:
    """Without the watermarks, by which the gateway keeps what it has read: it reads anew, at once."""
    request = living.request(2)
    before = living.predict(request | {"slots": 10})
    with redis.Redis.from_url(living.settings.redis) as client:
        watermarks = client.hgetall(watermark_key(living.system))
        keys = [key for ad in request["ads"] for key in client.keys(f"*{ad['ad_id']}*") if client.type(key) == b"hash"]
        hashes = [client.hgetall(key) for key in keys]
        try:
            client.delete(watermark_key(living.system))
            for key, other in zip(keys, hashes[1:] + hashes[:1], strict=True):
                client.hset(key, mapping=other)
            after = living.predict(request | {"slots": 10})
        finally:
            for key, own in zip(keys, hashes, strict=True):
                client.hset(key, mapping=own)
            client.hset(watermark_key(living.system), mapping=watermarks)
    both = scores(before).keys() & scores(after).keys()
    assert both
    assert any(abs(scores(before)[ad] - scores(after)[ad]) > 1e-6 for ad in both)
    assert after["model_version"] == before["model_version"]


def test_a_retrained_model_serves_and_a_rollback_brings_the_one_before_back(living: Living) -> None:
    first = living.champion()
    request = living.request(3)
    with living.simulation(rate=60) as clients:
        settle(clients, 900)
        matured = living.clock.now() + living.system.requirements.label_delay
        poll(lambda: living.clock.now() > matured, 60.0, "the outcomes' time")
        living.run("train", data="log")
        candidate = wiring.registry(living.settings).resolve(living.system.name, "challenger")
        assert candidate is not None
        assert candidate.version != first.version
        wiring.registry(living.settings).point(living.system.name, "champion", candidate.version)
        new = living.answered_by(candidate.version, seconds=5.0)
        new = living.predict(request)
        wiring.registry(living.settings).rollback(living.system.name)
        living.answered_by(first.version, seconds=5.0)
        old = living.predict(request)
    assert (new["model_version"], old["model_version"]) == (candidate.version, first.version)
    both = scores(new).keys() & scores(old).keys()
    assert any(abs(scores(new)[ad] - scores(old)[ad]) > 1e-6 for ad in both)
    assert not clients.ledger.failures


def test_monitoring_judges_what_was_served(living: Living) -> None:
    living.run("monitor")
    (*_, found) = wiring.verdicts(living.settings).read(living.system.name)
    assert found.model_version == living.champion().version
    assert found.harmed in (False, None)
    assert found.until - found.since >= living.system.monitoring.window
    assert found.at - living.clock.now() < timedelta(minutes=1)


def _score(model: bytes, features: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: features})[-1])[:, -1]
