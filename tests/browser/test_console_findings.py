"""A system's page in a real Chromium: what monitoring found, drawn; and in words where it found nothing yet."""

from dataclasses import replace

from playwright.sync_api import Page, expect

from tests.browser.test_console import Stack, enter, fits, stack
from tests.browser.test_reviews import browser, page, pytestmark
from tests.unit.console.conftest import desk
from tests.unit.console.lived import live
from tests.unit.gateway.conftest import NOW

__all__ = ["browser", "desk", "page", "pytestmark", "stack"]  # fixtures, and when to skip


def test_all_that_monitoring_found_is_drawn_and_stays_as_it_was_unfolded(stack: Stack, page: Page) -> None:
    lived = live(stack.desk.settings, "payments", NOW)
    stack.found.kept["payments"] = lived
    stack.desk.champions["payments"]["model_version"] = lived[-1].model_version
    enter(page, stack, "/systems/payments")
    for name in ("quality", "estimates", "calibration", "concept", "shifts"):
        expect(page.locator(f"#chart-{name} .main-svg").first).to_be_visible()
    expect(page.locator("#chart-shifts .heatmaplayer image")).to_be_visible()
    expect(page.locator("#chart-calibration .scatterlayer .point")).to_have_count(10)
    expect(page.get_by_text("The estimate cannot see concept drift")).to_be_visible()
    columns = page.locator("#columns > li")
    expect(columns.first).to_contain_text("missing 2.1%, usually 1.9%")
    expect(columns.first.locator("rect.now")).to_have_count(10)
    expect(page.locator("#online tbody tr")).to_have_count(5)
    expect(page.locator("#parity tbody")).to_contain_text("served 1000 times")
    expect(page.locator("#events tbody")).to_contain_text("It is no better than version 1.")
    assert fits(page)
    expect(page.locator("#columns > li:visible")).to_have_count(8)
    page.get_by_role("button", name="Show 4 more columns").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#columns > li:visible")).to_have_count(12)
    stack.found.kept["payments"] = [*lived, replace(lived[-1], harmed=True)]
    expect(page.locator("#box-monitoring .word")).to_have_text("quality fell", timeout=15_000)
    expect(page.locator("#columns > li:visible")).to_have_count(12)
    expect(page.get_by_role("button", name="Fold 4 columns away")).to_be_focused()


def test_what_was_not_judged_is_said_in_words_and_drawn_once_it_is(stack: Stack, page: Page) -> None:
    enter(page, stack, "/systems/payments")
    expect(page.locator("#no-chart-quality")).to_have_text("No window has been judged yet.")
    expect(page.locator("#said-window")).to_have_text("No window has been judged in detail yet.")
    expect(page.locator("#no-events")).to_be_visible()
    for each in page.locator(".chart").all():
        expect(each).to_be_hidden()
    stack.found.kept["payments"] = live(stack.desk.settings, "payments", NOW)
    expect(page.locator("#chart-concept .main-svg").first).to_be_visible(timeout=15_000)
    expect(page.locator("#no-chart-quality")).to_be_hidden()
    expect(page.locator("#columns > li").first).to_contain_text("bid")
