"""The request path: what is served is what features and champion say, and it is in the log before the answer leaves."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy.stats import kstest

from contracts.records import FeatureRead, PredictionRecord
from contracts.system import Columns, Evidence, System
from services.gateway.draws import generator
from services.gateway.predict import named
from tests.unit.gateway.conftest import NOW, World

pytestmark = pytest.mark.anyio
PREDICTIONS = "/v1/systems/ad_click/predictions"


async def test_the_example_of_the_documentation_is_answered(world: World) -> None:
    async with world.client() as client:
        document = (await client.get("/openapi.json")).json()
        operation = document["paths"][PREDICTIONS]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        answer = await client.post(PREDICTIONS, json=example)
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"prediction_id", "system", "model_version", "variant", "result", "degraded"}
    assert (body["system"], body["model_version"], body["variant"]) == ("ad_click", "7", "champion")
    world.system.task.response.model_validate(body["result"])


async def test_a_feature_changes_the_score(world: World) -> None:
    async with world.client() as client:
        before = (await client.post(PREDICTIONS, json=world.request())).json()
        world.reader.put("ad", ("a0007",), NOW - timedelta(hours=1), {"ad_click_rate_7d": 0.9})
        after = (await client.post(PREDICTIONS, json=world.request())).json()
    chances = {ad["ad_id"]: ad["probability"] for ad in after["result"]["ads"]}
    assert chances["a0007"] == pytest.approx(0.9)
    assert all(ad["probability"] < 0.9 for ad in before["result"]["ads"])


async def test_the_log_holds_all_that_was_served(world: World) -> None:
    async with world.client() as client:
        answer = (await client.post(PREDICTIONS, json=world.request())).json()
    (record,) = world.logged()
    assert isinstance(record, PredictionRecord)
    assert record.prediction_id == answer["prediction_id"]
    assert (record.at, record.model_version, record.variant) == (NOW, "7", "champion")
    assert record.request == world.request()
    assert record.result == answer["result"]
    assert record.feature_names == world.system.features.names
    assert record.features.shape == (3, len(record.feature_names))
    assert record.rows["at"].tolist() == [NOW.timestamp()] * 3
    shown = [record.rows["ad_id"][row] for row in record.shown]
    assert shown == [ad["ad_id"] for ad in answer["result"]["ads"]]
    assert [record.scores[row] for row in record.shown] == [ad["probability"] for ad in answer["result"]["ads"]]
    assert ((record.propensity > 0) & (record.propensity <= 1)).all()


async def test_a_string_that_all_rows_share_is_one_value_in_memory_where_features_are_read(world: World) -> None:
    user, other = "u00042", "u00007"
    columns = {
        "user_id": np.array([user] * 3, dtype=object),
        "device": np.array([user, other, user], dtype=object),
        "ad_id": np.array(["a0001", "a0002", "a0003"], dtype=object),
    }
    usual = world.system.serving.rows
    assert usual is not None
    serving = replace(world.system.serving, rows=lambda request: {**usual(request), **columns})
    system = replace(world.system, serving=serving)
    world = replace(world, catalogue=replace(world.catalogue, ready={"ad_click": system}))
    seen: list[Columns] = []
    online = world.reader.online

    async def spied(system: System, rows: Columns, now: datetime) -> FeatureRead:
        seen.append(rows)
        found: FeatureRead = await online(system, rows, now)
        return found

    world.reader.online = spied
    async with world.client() as client:
        assert (await client.post(PREDICTIONS, json=world.request())).status_code == 200
    (record,) = world.logged()
    for name, values in columns.items():
        assert record.rows[name].tolist() == seen[0][name].tolist() == values.tolist()
        assert (seen[0][name].strides == (0,)) is (name == "user_id")


async def test_missing_and_stale_features_are_named_in_the_answer_the_log_and_the_metrics(world: World) -> None:
    world.reader.put("user", ("u00042",), NOW - timedelta(days=60), {"user_impressions_1d": 3.0})
    async with world.client() as client:
        answer = (await client.post(PREDICTIONS, json=world.request())).json()
        metrics = (await client.get("/metrics")).text
    assert {"ad: missing", "user: stale"} <= set(answer["degraded"])
    assert list(world.logged()[0].degraded) == answer["degraded"]
    assert 'flywheel_gateway_degraded_total{reason="user: stale",system="ad_click"} 1.0' in metrics


async def test_the_same_prediction_id_explores_the_same(world: World) -> None:
    """Whoever audits an answer can draw again what was drawn: the generator is made from the id alone."""
    async with world.client() as client:
        answer = (await client.post(PREDICTIONS, json=world.request())).json()
    (record,) = world.logged()
    request = world.system.task.request.model_validate(record.request)
    random = generator(answer["prediction_id"])
    evidence = Evidence(record.rows, named(world.system, record.features), record.scores)
    again = world.system.serving.respond(request, evidence, random)
    assert again.result.model_dump(mode="json") == answer["result"]
    assert again.propensity.tolist() == record.propensity.tolist()


def test_other_ids_draw_evenly_and_apart() -> None:
    """Also those that differ in little: every draw of a decision hangs on its id alone."""
    ids = [f"{number:032x}" for number in range(20_000)]
    first = np.array([generator(each).random() for each in ids])
    assert kstest(first, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.03


async def test_a_broken_system_is_shown_with_what_to_mend_and_hurts_no_other(world: World) -> None:
    async with world.client() as client:
        listed = {each["name"]: each for each in (await client.get("/v1/systems")).json()["systems"]}
        broken = await client.post("/v1/systems/wreck/predictions", json=world.request())
        sound = await client.post(PREDICTIONS, json=world.request())
    assert listed["wreck"]["status"] == "broken"
    assert listed["wreck"]["message"] == "System 'wreck' has no task.py; add it."
    assert listed["ad_click"]["status"] == "ready"
    assert broken.status_code == 503
    assert broken.json()["error"]["code"] == "broken_system"
    assert sound.status_code == 200


async def test_a_system_is_described(world: World) -> None:
    async with world.client() as client:
        described = (await client.get("/v1/systems/ad_click")).json()
    assert described["features"] == list(world.system.features.names)
    assert described["requirements"]["deadline"] == "PT0.25S"
    assert described["example"] == world.system.task.example
    assert "ads" in described["request_schema"]["properties"]
