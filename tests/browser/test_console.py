"""The console's loop in a real Chromium: it keeps itself up to date, says what is down, and retrains when told to."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from contracts.records import Verdict
from infra.memory_registry import MemoryRegistry
from services.console.app import Parts, build
from services.console.gateway import Gateway
from services.console.session import Sessions
from services.gateway.app import build as gateway_of
from tests.browser.test_reviews import browser, by_keyboard, page, pytestmark
from tests.unit.console.conftest import Desk, Found, Prefect, desk, serving, stores_of
from tests.unit.gateway.conftest import KEY, NOW

__all__ = ["browser", "desk", "page", "pytestmark"]  # fixtures, and when to skip
CALM = Verdict("payments", NOW, NOW, NOW, "7", 900, 0.25, 0.24, 0.26, False, 2000, (), 0.0, False)


@dataclass
class Stack:
    """A console over HTTP, the gateway behind it, and the stores that a test changes."""

    console: str
    gateway: str
    desk: Desk
    registry: MemoryRegistry
    prefect: Prefect
    found: Found

    def predict(self, times: int) -> None:
        for _ in range(times):
            headers = {"Authorization": f"Bearer {KEY}"}
            asked = f"{self.gateway}/v1/systems/payments/predictions"
            httpx.post(asked, json=self.desk.world.request(), headers=headers).raise_for_status()

    def register(self, gate: str) -> None:
        made = self.registry.register("payments", gate.encode(), "run", ("a",), {"log_loss": 0.25})
        self.registry.annotate("payments", made.version, {"gate": gate, "trained_at": NOW.isoformat()})
        for alias in ("challenger", "champion"):
            self.registry.point("payments", alias, made.version)


@pytest.fixture
def stack(desk: Desk) -> Iterator[Stack]:
    registry, prefect, found = MemoryRegistry(), Prefect(), Found()
    gateway = gateway_of(desk.world.platform(), desk.world.catalogue, desk.world.limits).app
    with serving(gateway) as url:
        stores = stores_of(registry, prefect, found, desk.settings)
        parts = Parts(desk.settings, Gateway(url, KEY), desk.serving(), desk.world.clock, stores)
        with serving(build(parts, Sessions(KEY))) as address:
            made = Stack(address, url, desk, registry, prefect, found)
            made.register("passed")
            yield made


def enter(page: Page, stack: Stack, path: str = "/") -> None:
    page.goto(f"{stack.console}/login")
    by_keyboard(page)
    expect(page.get_by_role("heading", name="The loop")).to_be_visible()
    if path != "/":
        page.goto(f"{stack.console}{path}")


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_the_loop_keeps_itself_up_to_date(stack: Stack, page: Page) -> None:
    enter(page, stack)
    gateway, monitoring = page.locator("#box-gateway"), page.locator("#box-monitoring")
    expect(gateway.locator(".word")).to_have_text("idle")
    expect(monitoring.locator(".word")).to_have_text("unknown")
    stack.found.kept["payments"] = [replace(CALM, harmed=True)]
    stack.predict(20)
    expect(gateway.locator(".word")).to_have_text(re.compile("on time|slow"), timeout=10_000)
    expect(gateway.locator("dl")).to_contain_text("ms of 50 ms")
    expect(page.locator("#arrow-client .flow")).not_to_have_text("0/s requests")
    expect(page.locator("#row-payments [data-cell=requests]")).not_to_have_text("0/s")
    expect(monitoring.locator(".word")).to_have_text("quality fell", timeout=10_000)
    expect(page.locator("#state-payments")).to_have_text("quality fell")
    expect(page.get_by_role("status")).to_contain_text("Quality of payments fell.")
    expect(gateway.locator(".spark path")).to_have_attribute("d", re.compile("^M.*L"), timeout=10_000)
    assert fits(page)


def test_what_is_down_is_said_on_its_box_and_the_others_go_on(stack: Stack, page: Page) -> None:
    enter(page, stack)
    recorder = page.locator("#box-log")
    expect(recorder.locator(".word")).to_have_text("down")
    expect(recorder.locator(".fault")).to_contain_text("The recorder at http://127.0.0.1")
    expect(page.locator("#box-serving .word")).not_to_have_text("down")
    stack.desk.champions, stack.prefect.down = None, True
    expect(page.locator("#box-serving .fault")).to_contain_text("Serving at http://serving", timeout=10_000)
    expect(page.locator("#box-training .fault")).to_contain_text("Prefect at http://prefect", timeout=10_000)
    expect(page.locator("#box-training dl")).to_contain_text("version 1")
    assert fits(page)


def test_a_hidden_page_asks_for_nothing(stack: Stack, page: Page) -> None:
    page.clock.install()
    enter(page, stack)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_request(lambda request: "loop.json" in request.url):
        page.clock.run_for(2_500)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.clock.run_for(2_500)
    asked.clear()
    page.clock.run_for(60_000)
    assert not asked
    page.evaluate("Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
    with page.expect_request(lambda request: "loop.json" in request.url):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_one_system_is_chosen_by_keyboard(stack: Stack, page: Page) -> None:
    enter(page, stack)
    tab = page.get_by_label("Whose figures").get_by_role("link", name="payments")
    for _ in range(8):
        page.keyboard.press("Tab")
        if tab.evaluate("each => each === document.activeElement"):
            break
    expect(tab).to_be_focused()
    assert tab.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="payments", exact=True).and_(page.locator("[aria-current]"))).to_be_visible()
    expect(page.locator("#box-serving dl")).to_contain_text("version 7")


def test_a_systems_page_draws_its_history_and_retrains_when_told_to(stack: Stack, page: Page) -> None:
    every = timedelta(minutes=15)
    stack.found.kept["payments"] = [
        replace(CALM, at=NOW - every * (8 - i), harmed=i == 5, drifted_columns=("hour", "device") if i > 3 else ())
        for i in range(9)
    ]
    enter(page, stack, "/systems/payments")
    expect(page.locator("#chart-quality .main-svg").first).to_be_visible()
    expect(page.locator("#chart-quality .legendtext")).to_have_count(5)
    expect(page.locator("#chart-shifts")).to_contain_text("device")
    expect(page.locator("#chart-shifts .scatterlayer .point")).to_have_count(10)
    assert fits(page)
    page.get_by_role("button", name="Retrain…").click()
    expect(page.get_by_role("heading", name="Retrain payments now?")).to_be_visible()
    assert not stack.prefect.started
    page.get_by_role("button", name="Retrain").click()
    expect(page.get_by_role("status").first).to_contain_text("A retraining was started")
    assert stack.prefect.started == [("retrain", {"system": "payments", "reason": "asked for in the console"})]
    runs = page.locator("#runs tbody tr")
    expect(runs).to_have_count(1)
    expect(runs.first).to_contain_text("running")
    finish(stack)
    expect(runs.first).to_contain_text("version 2 is champion", timeout=15_000)
    expect(page.locator("#versions tbody")).to_contain_text("version 2 (serves)", timeout=15_000)


def finish(stack: Stack) -> None:
    """The retraining ends well."""
    stack.register("passed again")
    ended: dict[str, Any] = {"state": "completed", "message": "version 2 is champion", "ended_at": datetime.now(UTC)}
    stack.prefect.kept[:] = [(name, system, replace(run, **ended)) for name, system, run in stack.prefect.kept]
