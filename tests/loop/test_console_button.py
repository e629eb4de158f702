"""A person presses Retrain in the console, in a real Chromium: a real run starts in Prefect, and the page follows it to
its new version."""

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from contracts.records import RunState
from infra import wiring
from infra.registry_rest import RestModelSource
from tests.conftest import poll
from tests.loop.conftest import Living

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
SECONDS = 300.0  # for a retraining on two cores that do everything else as well

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: apt install chromium")


@pytest.fixture
def page(living: Living) -> Iterator[Page]:
    """A browser that has signed in, and has asked nobody but this stack."""
    abroad: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        own = living.settings.console
        page.on("request", lambda asked: None if asked.url.startswith((own, "data:")) else abroad.append(asked.url))
        page.goto(f"{own}/login")
        page.get_by_label("key").fill(living.settings.secret("api_key"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="The loop")).to_be_visible()
        yield page
        browser.close()
    assert not abroad


def test_the_retrain_button_starts_a_real_run_and_the_new_version_appears(living: Living, page: Page) -> None:
    system, before = living.system.name, latest(living)
    page.goto(f"{living.settings.console}/systems/{system}")
    page.get_by_role("button", name="Retrain…").click()
    expect(page.get_by_role("heading", name=f"Retrain {system} now?")).to_be_visible()
    page.get_by_role("button", name="Retrain", exact=True).click()
    said = page.locator(".done")
    expect(said).to_contain_text("A retraining was started")
    run_id = said.locator("code").inner_text()
    assert poll(lambda: started(living, run_id), 30.0, "the run in Prefect").name
    expect(page.locator("#runs tbody tr").first).to_contain_text(re.compile("scheduled|running"), timeout=30_000)
    ended = poll(lambda: (run := started(living, run_id)) and run.finished and run, SECONDS, "the run's end")
    assert ended.state == "completed", ended.message
    expect(page.locator("#runs tbody tr").first).to_contain_text("completed", timeout=30_000)
    version = latest(living)
    assert version != before
    expect(page.locator("#versions tbody tr").first).to_contain_text(f"version {version}", timeout=30_000)
    (*_, kept) = wiring.retrainings(living.settings).read(system)
    assert (kept.run_id, kept.reason, kept.retraining.automatic) == (run_id, "asked for in the console", False)
    expect(page.locator("#events tbody")).to_contain_text(f"retraining {kept.retraining.end}", timeout=30_000)


def started(living: Living, run_id: str) -> RunState | None:
    """The run of that id among the retrainings that Prefect knows of."""
    since = datetime.now(UTC) - timedelta(hours=1)
    runs = wiring.dispatcher(living.settings).runs("retrain", living.system.name, since)
    return next((run for run in runs if run.run_id == run_id), None)


def latest(living: Living) -> str:
    """The version that was registered last."""
    with closing(RestModelSource(living.settings.mlflow)) as source:
        return source.versions(living.system.name)[-1].version
