"""The documentation cannot lie: the OpenAPI document, the page that shows it, and the table of metrics."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.gateway import __file__ as package
from services.gateway.metrics import Metrics
from services.gateway.openapi import in_3_0
from tests.unit.gateway.conftest import World, outcome

pytestmark = pytest.mark.anyio


async def test_each_system_has_typed_paths(world: World) -> None:
    async with world.client() as client:
        document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.0.")  # the installed Swagger UI reads no 3.1
    for name in ("ad_click", "single"):
        for what in ("predictions", "outcomes"):
            operation = document["paths"][f"/v1/systems/{name}/{what}"]["post"]
            assert operation["security"] == [{"bearer": []}]
            assert {"401", "404", "413", "415", "422", "429", "503"} <= operation["responses"].keys()
    assert {"/v1/systems", "/v1/systems/{system}", "/healthz", "/readyz"} <= document["paths"].keys()
    assert not any("wreck" in path for path in document["paths"])


async def test_every_reference_in_the_document_leads_somewhere(world: World) -> None:
    async with world.client() as client:
        document = (await client.get("/openapi.json")).json()
    references = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(document)))
    assert references
    assert references <= document["components"]["schemas"].keys()


async def test_the_example_of_an_outcome_is_accepted(world: World) -> None:
    async with world.client() as client:
        document = (await client.get("/openapi.json")).json()
        operation = document["paths"]["/v1/systems/ad_click/outcomes"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        answer = await client.post("/v1/systems/ad_click/outcomes", json=example)
    assert answer.status_code == 202, answer.text


async def test_the_page_loads_nothing_from_outside(world: World) -> None:
    async with world.client() as client:
        page = (await client.get("/docs")).text
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(loaded) == 3
        for path in loaded:
            assert path.startswith("/docs/")
            assert (await client.get(path)).status_code == 200
    assert "://" not in re.sub(r"window\.location\.\S+", "", page)


async def test_no_other_file_is_reachable_through_the_page(world: World) -> None:
    async with world.client() as client:
        for name in ("index.html", "..%2f__init__.py", "%2e%2e/__init__.py", "swagger-ui.js"):
            assert (await client.get(f"/docs/{name}")).status_code == 404


def test_words_of_openapi_3_1_are_said_in_those_of_3_0() -> None:
    newer: dict[str, Any] = {
        "properties": {
            "name": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}], "title": "Name"},
            "kind": {"const": "ad"},
            "bid": {"type": "number", "exclusiveMinimum": 0},
        }
    }
    assert in_3_0(newer)["properties"] == {
        "name": {"type": "string", "minLength": 1, "title": "Name", "nullable": True},
        "kind": {"enum": ["ad"]},
        "bid": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
    }


async def test_every_metric_is_explained_in_the_readme(world: World) -> None:
    readme = (Path(package).parent / "README.md").read_text()
    explained = set(re.findall(r"^\| `(flywheel_gateway_\w+)", readme, re.MULTILINE))
    families = {family.name + ("_total" if family.type == "counter" else "") for family in Metrics().registry.collect()}
    assert families == explained


async def test_metrics_follow_requests(world: World) -> None:
    async with world.client() as client:
        await client.post("/v1/systems/ad_click/predictions", json=world.request())
        await client.post("/v1/systems/ad_click/predictions", json={})
        await client.post("/v1/systems/ad_click/outcomes", json=outcome("0" * 32))
        await client.get("/v1/systems/some-stranger")
        metrics = (await client.get("/metrics")).text
    for sample in (
        'flywheel_gateway_requests_total{endpoint="predictions",status="200",system="ad_click"} 1.0',
        'flywheel_gateway_requests_total{endpoint="predictions",status="422",system="ad_click"} 1.0',
        'flywheel_gateway_requests_total{endpoint="outcomes",status="202",system="ad_click"} 1.0',
        'flywheel_gateway_seconds_count{stage="features",system="ad_click"} 1.0',
        'flywheel_gateway_seconds_count{stage="predictions",system="ad_click"} 2.0',
        'flywheel_gateway_candidates_sum{system="ad_click"} 3.0',
        "flywheel_gateway_in_flight 1.0",
    ):
        assert sample in metrics
    assert "stranger" not in metrics
