"""The import in a real browser: upload, preview, confirm, under the real policy.

What an uploaded file says stays text: no planted script, handler, Alpine or htmx attribute acts,
and the console shows no violation. ``SCREENSHOTS=/some/folder`` keeps pictures.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests import factories
from tests.acceptance.test_browser_admin import PLANTED, page
from tests.unit.house.source_tree import ROOT

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


def test_files_are_uploaded_looked_at_and_imported(
    operator: str, page: Page, live_server: Any, tmp_path: Path
) -> None:
    complaints: list[str] = []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    planted = {"name": PLANTED, "voice": {"provider": PLANTED}, PLANTED: PLANTED}
    (tmp_path / "planted.json").write_text(json.dumps(planted))
    (tmp_path / "broken.json").write_text("{")
    page.goto(f"{live_server.url}/admin/login/")
    page.fill("input[name=username]", operator)
    page.fill("input[name=password]", "pass-Word-1")
    page.click("button[type=submit]")
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
    page.goto(f"{live_server.url}/admin/assistants/assistant/")
    assert "Harbour Dental reception" in page.inner_text("body")
    page.goto(f"{live_server.url}/admin/assistants/importrun/")
    keep(page, "import-list")
    assert page.evaluate("window.planted") is None
    assert complaints == []
