"""The console in a real Chromium: a person signs in, works through the review queue, and asks nobody outside."""

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright
from starlette.responses import HTMLResponse

from services.console.app import Parts, build
from services.console.gateway import Gateway
from services.console.session import Sessions
from services.gateway.app import build as gateway_of
from tests.unit.console.conftest import Desk, desk, serving
from tests.unit.gateway.conftest import KEY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
REFUSED = "status of 403"  # what a browser says of a page that refuses: meant here
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

__all__ = ["desk"]  # a fixture
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: apt install chromium"),
    pytest.mark.filterwarnings(
        "ignore:websockets.legacy:DeprecationWarning"
    ),  # uvicorn imports what it never uses here
    pytest.mark.filterwarnings("ignore:websockets.server:DeprecationWarning"),
]


@pytest.fixture
def console(desk: Desk) -> Iterator[str]:
    """The console's address; behind it a gateway over HTTP."""
    gateway = gateway_of(desk.world.platform(), desk.world.catalogue, desk.world.limits).app
    with serving(gateway) as url:
        parts = Parts(desk.settings, Gateway(url, KEY), desk.serving(), desk.world.clock)
        with serving(build(parts, Sessions(KEY))) as address:
            yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(params=["light on a desktop", "dark on a phone"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page that may speak to this machine alone; whatever else it asks for, or complains of, fails the test."""
    abroad: list[str] = []

    def note(asked: Request) -> None:
        abroad.extend([] if urlsplit(asked.url).hostname == "127.0.0.1" else [asked.url])

    small = "phone" in request.param
    page = browser.new_page(viewport=PHONE if small else DESKTOP, color_scheme="dark" if small else "light")  # type: ignore[arg-type]  # playwright's TypedDict
    page.on("request", note)
    page.on(
        "console", lambda said: abroad.append(said.text) if said.type == "error" and REFUSED not in said.text else None
    )
    yield page
    page.close()
    assert not abroad


def predictions(desk: Desk, count: int) -> list[str]:
    """Cases, the newest last."""

    async def made() -> list[str]:
        return [await desk.predict() for _ in range(count)]

    with ThreadPoolExecutor() as pool:  # in this thread playwright's own event loop runs
        return pool.submit(lambda: asyncio.run(made())).result()


def by_keyboard(page: Page) -> None:
    """Sign in where the page has put the focus."""
    expect(page.get_by_label("The stack's API key")).to_be_focused()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")


def test_a_person_signs_in_and_labels_a_case(desk: Desk, console: str, page: Page, tmp_path: Path) -> None:
    predictions(desk, 3)
    page.goto(f"{console}/systems/payments/reviews")
    page.get_by_label("The stack's API key").fill("not the key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not this stack's key")
    page.get_by_label("The stack's API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{console}/")
    page.screenshot(path=tmp_path / "systems.png", full_page=True)
    page.get_by_role("listitem").filter(has_text="payments").get_by_role("link", name="Cases to review").click()
    expect(page.get_by_role("article")).to_have_count(3)
    page.screenshot(path=tmp_path / "reviews.png", full_page=True)
    first = page.get_by_role("article").first
    prediction_id = first.locator("input[name=prediction_id]").get_attribute("value")
    first.get_by_role("button", name="Not fraud").click()
    expect(page.get_by_role("status")).to_contain_text(str(prediction_id)[:8])
    expect(page.get_by_role("article")).to_have_count(2)
    outcome = desk.world.logged()[-1]
    assert (outcome.prediction_id, outcome.label, outcome.source) == (prediction_id, 0.0, "review")
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{console}/systems/payments/reviews")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_everything_can_be_done_by_keyboard_and_nothing_is_cut_off(desk: Desk, console: str, page: Page) -> None:
    predictions(desk, 2)
    page.goto(f"{console}/systems/payments/reviews")
    by_keyboard(page)
    expect(page.get_by_role("article")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    fraud = page.get_by_role("article").first.get_by_role("button", name="Fraud", exact=True)
    for _ in range(12):
        page.keyboard.press("Tab")
        if fraud.evaluate("each => each === document.activeElement"):
            break
    expect(fraud).to_be_focused()
    assert fraud.bounding_box()["height"] >= 44  # type: ignore[index]  # a finger's width
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("fraud")
    assert desk.world.logged()[-1].label == 1.0


def test_a_form_that_another_page_of_this_machine_posts_changes_nothing(desk: Desk, console: str, page: Page) -> None:
    """The same site to a browser, for a site has no port: the cookie is sent along, and the form is refused."""
    (prediction_id,) = predictions(desk, 1)
    page.goto(f"{console}/login")
    by_keyboard(page)
    expect(page.get_by_role("heading", name="Systems", exact=True)).to_be_visible()

    given = {"prediction_id": prediction_id, "label": "1"}
    fields = "".join(f'<input name="{name}" value="{value}">' for name, value in given.items())
    form = f'<form method="post" action="{console}/systems/payments/reviews">{fields}<button>Win</button></form>'
    with serving(HTMLResponse(f'<link rel="icon" href="data:,">{form}')) as address:
        page.goto(address)
        with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
            page.get_by_role("button", name="Win").click()
        assert "flywheel_console=" in str(posted.value.request.all_headers().get("cookie"))
        expect(page.get_by_role("alert")).to_contain_text("not from the console")
    assert len(desk.world.logged()) == 1
