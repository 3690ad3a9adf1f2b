"""``/docs`` in a real browser: it works under the strict content policy and asks nobody else."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect, sync_playwright

from tests import factories
from tests.acceptance.own_server import _call_database_template, _database_in_a_file, live_server
from tests.acceptance.test_browser_admin import CHROMIUM, FLAGS

__all__ = [
    "_call_database_template",
    "_database_in_a_file",
    "live_server",
]

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


def test_docs_show_the_surface_and_try_it_with_a_key(live_server: object) -> None:
    organisation = factories.make_organisation()
    factories.make_tool(organisation, name="book_table")
    _, clear = factories.make_api_key(organisation)
    url = str(live_server)
    said: list[str] = []
    elsewhere: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((url, "data:", "blob:"))
                else elsewhere.append(request.url)
            ),
        )
        page.goto(f"{url}/docs")
        expect(page.locator(".opblock").first).to_be_visible(timeout=30_000)
        page.get_by_role("button", name="Authorize").click()
        page.locator(".auth-container input").fill(clear)
        page.locator(".auth-btn-wrapper .authorize").click()
        page.locator(".auth-btn-wrapper .btn-done").click()
        listed = page.locator("#operations-Tool-get_tool")
        listed.locator(".opblock-summary-control").click()
        listed.get_by_role("button", name="Try it out").click()
        listed.get_by_role("button", name="Execute").click()
        expect(listed.locator(".live-responses-table")).to_contain_text("book_table")
        browser.close()
    assert said == []
    assert elsewhere == []
