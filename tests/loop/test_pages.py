"""The pages that the README sends people to, in a real Chromium: they show what is there, and ask nobody else."""

import json
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from infra import wiring
from tests.conftest import poll
from tests.loop.conftest import Living

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
SECONDS = 30_000  # milliseconds; the first look at a page compiles it

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: apt install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may speak to this machine alone; whatever else it asks for fails the test."""
    abroad: list[str] = []

    def note(request: Request) -> None:
        if urlsplit(request.url).scheme in ("http", "https", "ws", "wss"):
            abroad.extend([request.url] if urlsplit(request.url).hostname != "127.0.0.1" else [])

    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("request", note)
    page.set_default_timeout(SECONDS)
    yield page
    page.close()
    assert not abroad


def test_the_api_can_be_tried_in_its_documents(living: Living, page: Page) -> None:
    page.goto(f"{living.settings.gateway}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".modal-ux input").fill(living.settings.secret("api_key"))
    page.locator(".modal-ux").get_by_role("button", name="Authorize").click()
    page.locator(".modal-ux").get_by_role("button", name="Close").click()
    operation = page.locator(".opblock-post", has_text="/v1/systems/ad_click/predictions")
    operation.click()
    operation.get_by_role("button", name="Execute").click()
    shown = operation.locator(".live-responses-table .response-col_description .microlight").first
    expect(shown).to_contain_text("prediction_id", timeout=SECONDS)
    assert json.loads(shown.inner_text())["variant"] == "champion"


def test_mlflow_shows_the_model_and_its_alias(living: Living, page: Page) -> None:
    page.goto(f"{living.settings.mlflow}/#/models/ad_click")
    expect(page.get_by_text("champion").first).to_be_visible(timeout=SECONDS)


def test_prefect_shows_the_deployments(living: Living, page: Page) -> None:
    page.goto(f"{living.settings.prefect}/deployments")
    for name in ("ingest", "materialize", "train", "promote", "retrain", "monitor", "metrics", "parity"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=SECONDS)


def test_evidently_shows_a_project_for_the_system(living: Living, page: Page) -> None:
    with living.simulation(rate=60) as clients:
        clients.check()
        window(living)
    living.run("monitor")
    page.goto(living.settings.evidently)
    page.get_by_text("ad_click").first.click()
    expect(page.get_by_text("Columns that drifted").first).to_be_visible(timeout=SECONDS)


def window(living: Living) -> None:
    """Let the clients fill a window, so that there is something to judge."""
    least, began = living.system.monitoring.min_rows, living.clock.now()

    def served() -> bool:
        return len(wiring.archive(living.settings).predictions(living.system, began, living.clock.now())) > least

    poll(served, 60.0, f"{least} served rows")
