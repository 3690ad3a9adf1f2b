"""The import in a real browser: files or an account, preview, confirm, secrets, under the policy.

What an uploaded file says stays text: no planted script, handler, Alpine or htmx attribute acts,
and the console shows no violation. An account is read by the worker of a whole instance.
``SCREENSHOTS=/some/folder`` keeps pictures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests import factories
from tests import vapi_account as vapi
from tests.acceptance.test_browser_admin import PLANTED, page
from tests.platform import Platform
from tests.unit.house.source_tree import ROOT
from tests.vapi_account_server import AccountServer, served

__all__ = ["page"]

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


def keep(page: Page, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.fixture
def operator(transactional_db: None, settings: Any) -> str:
    """Make a person; before the browser, whose event loop forbids Django's database."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    factories.make_superuser("operator")
    return "operator"


@pytest.fixture
def account() -> Iterator[AccountServer]:
    """Serve an account: tools and a webhook whose secrets no answer holds."""
    webhook = {"serverUrl": "http://127.0.0.1:9/events", "isServerUrlSecretSet": True}
    objects = {
        "tool": [vapi.tool(1)],
        "assistant": [vapi.assistant(number, **webhook) for number in (1, 2)],
        "campaign": [{"id": vapi.object_id(4, 1), "createdAt": vapi.at(1)}],
    }
    with served(vapi.VapiAccount(objects)) as server:
        server.gate.clear()
        yield server


def sign_in(page: Page, base_url: str, person: str, password: str = "pass-Word-1") -> list[str]:
    """Sign in; return a list that collects what the console complains about."""
    complaints: list[str] = []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.goto(f"{base_url}/admin/login/")
    page.fill("input[name=username]", person)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    return complaints


def test_files_are_uploaded_looked_at_and_imported(
    operator: str, page: Page, live_server: Any, tmp_path: Path
) -> None:
    complaints = sign_in(page, live_server.url, operator)
    planted = {"name": PLANTED, "voice": {"provider": PLANTED}, PLANTED: PLANTED}
    (tmp_path / "planted.json").write_text(json.dumps(planted))
    (tmp_path / "broken.json").write_text("{")
    page.goto(f"{live_server.url}/admin/assistants/assistant/")
    page.click("text=Import from Vapi")
    keep(page, "import-upload")
    demo = sorted((ROOT / "calls" / "demo").glob("*.json"))
    page.set_input_files("input[type=file]", [*demo, *sorted(tmp_path.glob("*.json"))])
    page.click("text=Show what would happen")
    page.wait_for_selector("text=Harbour Dental reception")
    assert "Nothing has been written" in page.inner_text("body")
    keep(page, "import-preview")
    page.click("text=Import 5 objects")
    page.wait_for_selector("text=Imported:")
    keep(page, "import-done")
    page.click("section:has-text('Harbour Dental reception') >> text=Show every field")
    page.wait_for_selector("code[title='$.model.messages[0].content']")
    keep(page, "import-object")
    page.go_back()
    planted_card = page.locator("section", has=page.locator("h2", has_text="window.planted"))
    planted_card.locator("text=Show every field").click()
    page.wait_for_selector("text=Back to the import")
    page.goto(f"{live_server.url}/admin/assistants/assistant/")
    assert "Harbour Dental reception" in page.inner_text("body")
    page.goto(f"{live_server.url}/admin/assistants/importrun/")
    keep(page, "import-list")
    assert page.evaluate("window.planted") is None
    assert complaints == []


def test_an_account_is_read_with_progress_and_a_secret_entered_once_fills_two_places(
    account: AccountServer, shared_platform: Platform, page: Page
) -> None:
    platform = shared_platform
    password = (platform.var_dir / "keys" / "admin_password").read_text().strip()
    complaints = sign_in(page, platform.base_url, "admin", password)
    page.goto(f"{platform.base_url}/admin/assistants/assistant/import/")
    page.fill("input[name=api_key]", vapi.KEY)
    page.fill("input[name=base_url]", account.base_url)
    page.click("text=Read the account")
    page.wait_for_selector("[data-job-words]:has-text('running')")
    assert vapi.KEY not in page.content()
    keep(page, "import-job")
    account.gate.set()
    page.wait_for_url("**/importrun/*/change/")
    assert "the account uses campaigns" in page.inner_text("body")
    page.click("text=Import 3 objects")
    page.wait_for_selector("text=Enter the missing secrets")
    keep(page, "import-account")
    page.click("text=Enter the missing secrets")
    card = page.locator("section", has=page.locator("h2", has_text="127.0.0.1:9"))
    assert "2 places" in card.inner_text()
    keep(page, "missing-secrets")
    card.locator("input[name=value]").fill("the-secret-of-the-parrot")
    card.locator("text=Store and try").click()
    page.wait_for_selector("text=Stored in 2 places")
    assert "could not be reached" in page.inner_text("#tried")
    assert "the-secret-of-the-parrot" not in page.content()
    assert complaints == []
