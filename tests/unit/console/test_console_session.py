"""Nobody gets in without the key or a fresh link, and no other page can post in a user's name."""

import re

import httpx
import pytest

from services.console.session import COOKIE, LASTS, LINK_LASTS, Sessions
from tests.unit.console.conftest import CONSOLE, Desk
from tests.unit.gateway.conftest import KEY

pytestmark = pytest.mark.anyio
REVIEWS = "/systems/payments/reviews"


def token(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


@pytest.mark.parametrize("path", ["/", REVIEWS])
async def test_without_a_session_every_page_leads_to_the_login(desk: Desk, path: str) -> None:
    async with desk.stranger() as client:
        for answer in (
            await client.get(path),
            await client.get(path, headers={"cookie": f"{COOKIE}=9e9.x.{'0' * 64}"}),
        ):
            assert (answer.status_code, answer.headers["location"]) == (303, f"/login?to={path}")
        posted = await client.post(REVIEWS, data={"label": "1"})
    assert posted.headers["location"].startswith("/login")
    assert not desk.world.logged()


async def test_the_key_opens_a_session_and_leads_to_where_one_wanted_to_go(desk: Desk) -> None:
    async with desk.stranger() as client:
        asked = await client.get("/login", params={"to": REVIEWS})
        assert f'name="to" value="{REVIEWS}"' in asked.text
        entered = await client.post("/login", data={"key": f" {KEY}\n", "to": REVIEWS})
        assert (entered.status_code, entered.headers["location"]) == (303, REVIEWS)
        assert (await client.get(REVIEWS)).status_code == 200
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert KEY not in entered.headers["set-cookie"]


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY.upper(), "ключ"])
async def test_another_key_opens_nothing(desk: Desk, key: str) -> None:
    async with desk.stranger() as client:
        answer = await client.post("/login", data={"key": key})
        assert answer.status_code == 403
        assert "not this stack" in answer.text
        assert "set-cookie" not in answer.headers
        assert (await client.get("/")).status_code == 303


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil", "/login", "/systems/a/../x"])
async def test_a_login_leads_nowhere_else(desk: Desk, to: str) -> None:
    async with desk.stranger() as client:
        assert (await client.post("/login", data={"key": KEY, "to": to})).headers["location"] == "/"


async def test_the_key_is_on_no_page(desk: Desk) -> None:
    await desk.predict()
    async with desk.browser() as browser:
        for path in ("/", REVIEWS, "/login", "/nowhere"):
            answer = await browser.get(path)
            assert KEY not in answer.text + str(answer.headers)


async def test_a_form_without_this_sessions_token_is_refused(desk: Desk) -> None:
    prediction_id = await desk.predict()
    async with desk.browser() as browser, desk.browser() as other:
        sent = {"prediction_id": prediction_id, "label": "1"}
        for stolen in ({}, {"token": ""}, {"token": "0" * 64}, {"token": token(await other.get(REVIEWS))}):
            answer = await browser.post(REVIEWS, data={**sent, **stolen})
            assert answer.status_code == 403
            assert "not of your session" in answer.text
    assert len(desk.world.logged()) == 1


async def test_a_form_from_another_origin_is_refused_even_with_the_token(desk: Desk) -> None:
    prediction_id = await desk.predict()
    async with desk.browser() as browser:
        sent = {"prediction_id": prediction_id, "label": "1", "token": token(await browser.get(REVIEWS))}
        for origin in ("http://127.0.0.1:5000", "null", "http://evil.example"):
            assert (await browser.post(REVIEWS, data=sent, headers={"origin": origin})).status_code == 403
        assert (await browser.post(REVIEWS, data=sent, headers={"origin": CONSOLE})).status_code == 303
    assert len(desk.world.logged()) == 2


async def test_signing_out_needs_a_form_and_ends_the_session_in_this_browser(desk: Desk) -> None:
    async with desk.browser() as browser:
        page = await browser.get("/")
        assert (await browser.get("/logout")).status_code == 405
        assert (await browser.post("/logout", data={})).status_code == 403
        await browser.post("/logout", data={"token": token(page)})
        assert (await browser.get("/")).status_code == 303


async def test_a_session_ends_after_half_a_day(desk: Desk) -> None:
    async with desk.browser() as browser:
        desk.now += LASTS - 1
        assert (await browser.get("/")).status_code == 200
        desk.now += 2
        assert (await browser.get("/")).status_code == 303


async def test_a_link_opens_one_session_within_a_minute(desk: Desk) -> None:
    printed = Sessions(KEY, lambda: desk.now).link()
    async with desk.stranger() as client:
        entered = await client.get("/enter", params={"link": printed})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert (await client.get("/")).status_code == 200
        again = await client.get("/enter", params={"link": printed})
        assert (again.status_code, "used already" in again.text) == (403, True)
        late = Sessions(KEY, lambda: desk.now).link()
        desk.now += LINK_LASTS + 1
        assert (await client.get("/enter", params={"link": late})).status_code == 403
    assert KEY not in printed


async def test_a_cookie_is_no_link_and_a_link_no_cookie() -> None:
    sessions, another = Sessions(KEY), Sessions("another stack's key")
    assert sessions.find(sessions.begin())
    assert not sessions.find(sessions.link())
    assert not sessions.takes(sessions.begin())
    assert not another.find(sessions.begin())
    assert not sessions.find(sessions.begin()[:-1])
    assert not sessions.find("")


async def test_every_answer_forbids_all_scripts_but_the_consoles_own_and_frames(desk: Desk) -> None:
    async with desk.browser() as browser:
        for path in ("/", "/login", "/nowhere", "/systems/payments", "/loop.json", "/static/console.css", "/healthz"):
            policy = (await browser.get(path)).headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
        assert "no-store" in (await browser.get("/")).headers["cache-control"]


async def test_health_is_open_and_other_files_are_not_reachable(desk: Desk) -> None:
    async with desk.stranger() as client:
        assert (await client.get("/healthz")).text == "ok\n"
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/templates/page.html"):
            assert (await client.get(path)).status_code in (404, 405)


async def test_a_form_of_megabytes_is_refused(desk: Desk) -> None:
    async with desk.stranger() as client:
        assert (await client.post("/login", content=b"key=" + b"x" * 1_000_000)).status_code == 422
        assert (await client.post("/login", content=b"key=\xff\xfe")).status_code == 422
        assert (await client.post("/login", content=b"a=1&" * 50)).status_code == 422
