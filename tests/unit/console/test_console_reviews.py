"""The review queue as a person works through it: cases in words, and a label that reaches the log."""

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from contracts.records import OutcomeRecord
from tests.unit.console.conftest import Desk
from tests.unit.gateway.conftest import NOW

pytestmark = pytest.mark.anyio
REVIEWS = "/systems/payments/reviews"


def token(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


def form(page: httpx.Response, prediction: str, **changed: Any) -> dict[str, str]:
    return {"token": token(page), "prediction_id": prediction, "label": "1", **changed}


async def test_a_case_is_shown_with_score_decision_reasons_and_request(desk: Desk) -> None:
    prediction_id = await desk.predict()
    async with desk.browser() as browser:
        page = (await browser.get(REVIEWS)).text
    assert prediction_id in page
    for shown in ("0.734", "review", "version 7", "A much higher amount", ">Fraud<", ">Not fraud<", "2026-03-01 12:00"):
        assert shown in page
    assert desk.world.request()["user_id"] in page


async def test_what_came_from_outside_is_text_and_never_markup(desk: Desk) -> None:
    await desk.predict()
    async with desk.world.client() as client:
        body = desk.world.request(user_id="<script>alert(1)</script>")
        assert (await client.post("/v1/systems/payments/predictions", json=body)).status_code == 200
    async with desk.browser() as browser:
        page, systems = (await browser.get(REVIEWS)).text, (await browser.get("/")).text
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>ones</b>" not in page
    assert "&lt;task.py&gt;" in systems


async def test_a_persons_label_is_in_the_log_as_a_reviewers_and_the_case_is_gone(desk: Desk) -> None:
    first, second = await desk.predict(), await desk.predict()
    async with desk.browser() as browser:
        page = await browser.get(REVIEWS)
        answer = await browser.post(REVIEWS, data=form(page, first))
        assert answer.status_code == 303
        after = (await browser.get(answer.headers["location"])).text
    assert desk.world.logged()[-1] == OutcomeRecord(first, "payments", None, 1.0, NOW, NOW, "review")
    assert "Recorded" in after
    assert "“fraud”" in after
    assert f'value="{first}"' not in after
    assert f'value="{second}"' in after


async def test_the_other_button_says_the_opposite(desk: Desk) -> None:
    prediction_id = await desk.predict()
    async with desk.browser() as browser:
        page = await browser.get(REVIEWS)
        await browser.post(REVIEWS, data=form(page, prediction_id, label="0"))
        assert "No case waits" in (await browser.get(REVIEWS)).text
    assert desk.world.logged()[-1].label == 0.0


async def test_the_moment_is_the_platforms_whose_clock_may_run_ahead_or_behind(desk: Desk) -> None:
    prediction_id = await desk.predict()
    desk.world.clock.advance(timedelta(days=1_000))
    async with desk.browser() as browser:
        await browser.post(REVIEWS, data=form(await browser.get(REVIEWS), prediction_id))
    assert desk.world.logged()[-1].occurred_at == NOW + timedelta(days=1_000)


async def test_of_a_system_with_items_the_item_is_asked_for(desk: Desk) -> None:
    prediction_id = "0123456789abcdef" * 2
    async with desk.browser() as browser:
        sent = form(await browser.get(REVIEWS), prediction_id)
        lacking = await browser.post("/systems/ad_click/reviews", data=sent)
        whole = await browser.post("/systems/ad_click/reviews", data={**sent, "item": "a7"})
    assert lacking.status_code == 422
    assert "item_id is missing" in lacking.text
    assert whole.status_code == 303
    assert desk.world.logged()[-1].item == "a7"


@pytest.mark.parametrize("changed", [{"label": "2"}, {"label": ""}, {"prediction_id": "x"}, {"prediction_id": ""}])
async def test_a_form_that_says_nothing_is_refused_and_nothing_is_logged(desk: Desk, changed: dict[str, str]) -> None:
    prediction_id = await desk.predict()
    async with desk.browser() as browser:
        page = await browser.get(REVIEWS)
        answer = await browser.post(REVIEWS, data=form(page, prediction_id, **changed))
    assert answer.status_code == 422
    assert len(desk.world.logged()) == 1


async def test_a_gateway_that_is_down_is_said_in_a_sentence(desk: Desk) -> None:
    desk.gateway_down = True
    async with desk.browser() as browser:
        page = await browser.get(REVIEWS)
    assert page.status_code == 503
    assert "The gateway at http://gateway does not answer" in page.text
    assert "All systems" in page.text


@pytest.mark.parametrize(("system", "status"), [("unheard_of", 404), ("wreck", 503), ("a%2Fb", 404)])
async def test_of_strange_and_broken_systems_the_page_says_so(desk: Desk, system: str, status: int) -> None:
    async with desk.browser() as browser:
        assert (await browser.get(f"/systems/{system}/reviews")).status_code == status
