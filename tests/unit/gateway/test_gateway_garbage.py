"""Whatever is sent, the gateway refuses it or answers; it never fails."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.gateway.conftest import World, outcome

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("user_id", "device", "placement", "slots", "ads", "prediction_id", "item_id", "label", "occurred_at")
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def status(world: World, path: str, content: bytes) -> int:
    async def once() -> int:
        async with world.client() as client:
            return (await client.post(path, content=content)).status_code

    return asyncio.run(once())


@MANY
@given(content=st.binary(max_size=200))
def test_bytes_never_make_it_fail(world: World, content: bytes) -> None:
    assert status(world, "/v1/systems/ad_click/predictions", content) in (400, 422)


@MANY
@given(field=st.sampled_from(FIELDS), value=JSON)
def test_a_strange_value_in_a_field_never_makes_it_fail(world: World, field: str, value: object) -> None:
    requests = {
        "/v1/systems/ad_click/predictions": world.request(**{field: value}),
        "/v1/systems/ad_click/outcomes": {**outcome("0" * 32), field: value},
    }
    for path, body in requests.items():
        assert status(world, path, json.dumps(body).encode()) in (200, 202, 400, 422)


@MANY
@given(field=st.sampled_from(("ad_id", "campaign_id", "advertiser_id", "category", "bid")), value=JSON)
def test_a_strange_value_in_a_candidate_never_makes_it_fail(world: World, field: str, value: object) -> None:
    body = world.request(ads=[{**world.request()["ads"][0], field: value}])
    assert status(world, "/v1/systems/ad_click/predictions", json.dumps(body).encode()) in (200, 400, 422)


@pytest.mark.parametrize(
    "content", [b'{"a":' * 4000 + b"1" + b"}" * 4000, b'{"slots":' + b"9" * 6000 + b"}", b"[" * 190 + b"]" * 190]
)
def test_depth_and_length_never_make_it_fail(world: World, content: bytes) -> None:
    assert status(world, "/v1/systems/ad_click/predictions", content) in (400, 422)
